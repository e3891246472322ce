"""Study files, their plans and their tables: everything that is known without Ray."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from training_cases import make_store, write_study

from scbig_dist.cli import main
from scbig_dist.cluster import tune
from scbig_dist.cluster.objectives import best_row
from scbig_dist.cluster.plan import make_plan
from scbig_dist.cluster.resources import Needs, check_placeable, n_concurrent, n_places
from scbig_dist.cluster.storage import choose_storage
from scbig_dist.cluster.study import read_study
from scbig_dist.cluster.trials import make_row, read_rows, rows_for_test, write_row, write_table
from scbig_dist.cluster.tune import run_sweep
from scbig_dist.errors import UserError
from scbig_dist.store.reader import open_store

STUDIES = Path(__file__).resolve().parents[1] / "tune"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_store(tmp_path_factory.mktemp("store")))


def plan_of(path: Path, store: str, **kwargs):
    return make_plan(read_study(path, **kwargs), path, {"store": store})


def test_grid_lists_every_combination_and_named_points_first(tmp_path, store):
    path = write_study(
        tmp_path / "s.py",
        axes={"grc.n_modules": [4, 6], "flow.lr": [1e-3, 1e-2]},
        points={"mine": {"grc.n_modules": 4, "flow.lr": 1e-2}},
    )
    plan = plan_of(path, store)
    assert [(p.name, p.values["grc.n_modules"], p.values["flow.lr"]) for p in plan.points] == [
        ("mine", 4, 1e-2),
        ("", 4, 1e-3),
        ("", 6, 1e-3),
        ("", 6, 1e-2),
    ]
    assert plan.n_trials == 4
    assert plan.config(plan.points[2].values).grc.n_modules == 6
    assert plan.base.data.total_counts is None and plan.base.qc.min_genes == 10  # from the store


def test_a_point_names_only_what_differs_from_the_base(tmp_path, store):
    points = {"full": {}, "few": {"grc.n_modules": 2}, "none": {"grc.clustering": "none"}}
    path = write_study(tmp_path / "s.py", points=points)
    plan = make_plan(read_study(path), path, {"store": store, "grc.n_modules": 6})
    assert [(p.name, p.values["grc.n_modules"], p.values["grc.clustering"]) for p in plan.points] == [
        ("full", 6, "grc"),
        ("few", 2, "grc"),
        ("none", 6, "none"),
    ]
    assert plan.study.points["full"] == plan.points[0].values
    points["full"] = {"grc.n_modules": 4}
    points["none"] = {"grc.n_modules": 3}
    path = write_study(tmp_path / "s.py", points=points)
    with pytest.raises(UserError, match=r"--set grc\.n_modules=6: an axis"):
        make_plan(read_study(path), path, {"store": store, "grc.n_modules": 6})


@pytest.mark.parametrize("name", sorted(path.name for path in STUDIES.glob("*.py")))
def test_every_study_file_reads_at_every_scale(name):
    study = read_study(STUDIES / name)
    assert study.addresses and study.metric == "val_pearson_delta"
    assert (STUDIES / study.base).resolve().is_file()
    for scale in study.scales:
        small = read_study(STUDIES / name, scale=scale)
        assert (small.base != study.base or scale != "cpu") and (STUDIES / small.base).resolve().is_file()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"axes": {"flow.learning_rate": [1]}}, "unknown axis 'flow.learning_rate'"),
        ({"axes": {"flow.lr": [1e-3, -1.0]}}, "flow.lr=-1.0"),
        ({"axes": {"flow.lr": ["fast"]}}, "flow.lr='fast'"),
        ({"axes": {"grc.n_modules": [4, 4000]}}, "grc.n_modules=4000 is above the panel's"),
        ({"axes": {"gcae.n_heads": [2, 3]}}, "not a multiple of gcae.n_heads=3"),
        ({"axes": {"qc.min_cells": [1, 2]}}, "settled by the store"),
        ({"axes": {"panel.n_hvg": [60, 5000]}}, "panel.n_hvg=5000"),
        ({"axes": {"flow.lr": []}}, "empty list"),
        ({"axes": {"flow.lr": {"low": 1e-3, "high": 1e-2}}}, "a grid cannot list"),
        (
            {"axes": {"flow.lr": {"low": 0.0, "high": 1e-2, "log": True}}, "sampler": "tpe", "n_trials": 2},
            "0 < low < high",
        ),
        (
            {"axes": {"align.lambda_corr": {"low": -1.0, "high": 1.0}}, "sampler": "tpe", "n_trials": 2},
            "align.lambda_corr=-1",
        ),
        ({"axes": {"flow.lr": {"low": 1e-3, "high": 1e-2}}, "sampler": "tpe"}, "give n_trials"),
        ({"axes": {"flow.lr": [1e-3]}, "n_trials": 2}, "there are 1 points"),
        ({"axes": {"flow.lr": [1e-3]}, "metric": "test_pearson_delta"}, "chosen by validation"),
        ({"axes": {"flow.lr": [1e-3]}, "stopping": {"rule": "asha", "grace": 4000}}, "stopping.grace=4000"),
        ({"axes": {"flow.lr": [1e-3]}, "fixed": {"split.n_val": 0}}, "split.n_val=0"),
        ({"axes": {"flow.lr": [1e-3]}, "fixed": {"split.n_test": 999}}, "split.n_test=999"),
        ({"axes": {"flow.lr": [1e-3, 2e-3, 1e-3]}}, "axis 'flow.lr' lists 0.001 twice"),
        (
            {"axes": {"flow.lr": [1e-3]}, "fixed": {"priors.target_embedding": "pathways"}},
            "give priors.pathways a file",
        ),
        (
            {"axes": {"flow.lr": [1e-3]}, "fixed": {"split.kind": "holdout"}},
            "of validation or test and of no training condition",
        ),
        ({"axes": {"flow.lr": [1e-3]}, "sampler": "grd"}, "sampler='grd': did you mean 'grid'?"),
        ({"axes": {"flow.lr": [1e-3]}, "n_trials": "many"}, "n_trials='many': should be a whole number"),
        ({"axes": {"flow.lr": [1e-3]}, "seeds": 0}, "seeds=0: should be 1 or more"),
        ({"axes": {"flow.lr": [1e-3]}, "stopping": {"rule": "asha"}}, "stopping.asha.grace is missing"),
        ({"axes": {"flow.lr": [1e-3]}, "stopping": {"rule": "medial", "grace": 1}}, "did you mean 'median'?"),
        ({"axes": {"flow.lr": {"low": 1e-3, "high": "x"}}}, "axes.flow.lr.high='x': should be a number"),
        ({"axes": {"flow.lr": [1e-3]}, "scales": [1]}, "scales=[1]: should be a dictionary, {name: value}"),
        ({"axes": {"flow.lr": 1e-3}}, 'axes.flow.lr=0.001: should be a list of values, or {"low": …, "high": …}'),
        ({"axes": {"flow.lr": [1e-3]}, "axis": 3}, "unknown field 'axis'; did you mean 'axes'?"),
        ({"axes": {"flow.lr": [1e-3]}, "points": {"a": {"grc.n_modules": 4}}}, "does not name flow.lr"),
        ({}, "nothing to try"),
    ],
)
def test_study_rejects(tmp_path, store, fields, message):
    path = write_study(tmp_path / "s.py", **fields)
    with pytest.raises(UserError) as error:
        plan_of(path, store)
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text", ["import os", "axes = {'a': range(3)}", "axes = open('x')", "axes =", "axes = {['a']: 1}", "axes = {[1]}"]
)
def test_study_file_is_data_and_never_run(tmp_path, text):
    path = tmp_path / "s.py"
    path.write_text(text)
    with pytest.raises(UserError, match=r"data only|not Python"):
        read_study(path)


def test_study_file_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_study(tmp_path / "none.py")


def test_unknown_scale_names_those_there_are(tmp_path):
    path = write_study(tmp_path / "s.py", axes={"flow.lr": [1e-3]}, scales={"cpu": {"n_trials": 1}})
    with pytest.raises(UserError, match="no scale 'gpu'; did you mean 'cpu'"):
        read_study(path, scale="gpu")
    assert read_study(path, scale="cpu").n_trials == 1


def test_setting_an_axis_is_refused(tmp_path, store):
    path = write_study(tmp_path / "s.py", axes={"flow.lr": [1e-3]})
    with pytest.raises(UserError, match=r"--set flow\.lr=0\.1: an axis"):
        make_plan(read_study(path), path, {"store": store, "flow.lr": 0.1})


def test_dry_run_prints_the_trials_and_touches_nothing(tmp_path, store, capsys):
    path = write_study(tmp_path / "s.py", axes={"grc.n_modules": [4, 6], "flow.lr": [1e-3, 1e-2]})
    run_sweep(path, tmp_path / "out", {"store": store}, dry_run=True)
    text = capsys.readouterr().out
    assert "4 trials" in text and "0003" in text and "grc.n_modules" in text and "80 micro-steps" in text
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", ["-o", "--artifacts"])
def test_a_place_that_is_no_folder_is_known_before_ray_starts(tmp_path, store, monkeypatch, option):
    monkeypatch.setattr(tune, "ray_session", lambda *_, **__: pytest.fail("Ray was started"))
    path = write_study(tmp_path / "s.py", axes={"flow.lr": [1e-3]})
    for wrong in (path, path / "beneath"):
        places = {"-o": (wrong, None), "--artifacts": (tmp_path / "out", str(wrong))}[option]
        with pytest.raises(UserError, match=rf"{option} .*s\.py.* is no folder; name another place") as error:
            run_sweep(path, places[0], {"store": store}, artifacts=places[1])
        assert "\n" not in str(error.value) and not (tmp_path / "out").exists()


def test_fewer_trials_than_have_ended_are_refused(tmp_path, store):
    path = write_study(tmp_path / "s.py", axes={"flow.lr": {"low": 1e-4, "high": 1e-2}}, sampler="random", n_trials=4)
    out = tmp_path / "out"
    plan = make_plan(read_study(path), path, {"store": store})
    with tune._claimed(out, plan, None, choose_storage(None, out)):
        for number in range(3):
            (out / f"trials/{number:04d}").mkdir()
            (out / f"trials/{number:04d}/trial.json").write_text("{}")
    before = (out / "study.yaml").read_text()
    with pytest.raises(UserError, match="3 trials have ended there; name as many or more, not 2"):
        run_sweep(path, out, {"store": store}, resume=True, n_trials=2)
    assert (out / "study.yaml").read_text() == before


def test_a_study_that_cannot_be_placed_says_what_is_missing(tmp_path, store):
    path = write_study(tmp_path / "s.py", axes={"flow.lr": [1e-3]}, fixed={"train.threads": 4000})
    with pytest.raises(UserError, match=r"missing 4000 CPUs on one node .*lower train\.workers"):
        run_sweep(path, tmp_path / "out", {"store": store})
    assert not (tmp_path / "out").exists()


def test_placement_counts_workers_node_by_node():
    nodes = [{"CPU": 4.0, "memory": 8e9}, {"CPU": 2.0, "memory": 8e9}, {"memory": 8e9}]
    assert n_places(Needs(1, 3.0, 0.0, 0.0), nodes) == 1
    assert n_places(Needs(1, 2.0, 0.0, 0.0), nodes) == 3
    assert n_places(Needs(1, 1.0, 0.0, 3.0), nodes) == 4
    assert n_concurrent([Needs(1, 1.0, 0.0, 0.0), Needs(2, 1.0, 0.0, 0.0)], nodes) == 3
    check_placeable([Needs(3, 2.0, 0.0, 0.0)], nodes, "a trial")
    for needs, message in (
        (Needs(1, 5.0, 0.0, 0.0), "missing 5 CPUs on one node"),
        (Needs(4, 2.0, 0.0, 0.0), "missing 8 CPUs"),
        (Needs(1, 1.0, 1.0, 0.0), "missing 1 GPUs on one node"),
        (Needs(1, 1.0, 0.0, 9.0), "missing 9 GB of memory"),
        (Needs(2, 3.0, 0.0, 0.0), "room for 1"),
    ):
        with pytest.raises(UserError, match=message):
            check_placeable([needs], nodes, "a trial")


def test_rows_become_a_table_and_the_best_is_chosen_among_finished(tmp_path):
    study = read_study(write_study(tmp_path / "s.py", axes={"flow.lr": [1e-3, 1e-2, 1e-1]}))
    for number, (status, value) in enumerate([("finished", 0.5), ("stopped", 0.9), ("failed", None)]):
        run = tmp_path / "trials" / f"{number:04d}"
        run.mkdir(parents=True)
        records = [{"stage": "flow", "micro_step": 20, "step_ms": 3.0, "seconds": 1.5, "val_pearson_delta": 0.1}]
        (run / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records) + '{"stage": "fl')
        row = make_row(run, "", {"flow.lr": 0.1**number}, status)
        write_row(tmp_path, row | ({} if value is None else {"val_pearson_delta": value}))
    rows = write_table(tmp_path, study)
    assert best_row(rows, study)["trial"] == "0000"
    assert [row["trial"] for row in rows_for_test(rows, study)] == ["0000"]
    table = pd.read_parquet(tmp_path / "trials.parquet")
    assert list(table["status"]) == ["finished", "stopped", "failed"]
    assert list(table["trial"]) == ["0000", "0001", "0002"]
    assert table["val_pearson_delta"].tolist() == [0.5, 0.9, 0.1]
    assert table["budget"].tolist() == [20, 20, 20] and table["seconds_flow"].tolist() == [1.5] * 3
    assert table["n_parameters"].isna().all() and table["flow.lr"].dtype == float
    assert len(read_rows(tmp_path)) == 3


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"metric": "val_pearson_delt"}, "did you mean 'val_pearson_delta'"),
        ({"metric": "test_pearson_delta"}, "chosen by validation"),
        (
            {"metric": "val_e_dist", "stopping": {"rule": "asha", "grace": 10}},
            "stage 2 reports val_pearson_delta or val_mse",
        ),
    ],
)
def test_metric_that_nothing_reports_is_refused(tmp_path, fields, message):
    with pytest.raises(UserError, match=message):
        read_study(write_study(tmp_path / "s.py", axes={"flow.lr": [1e-3]}, **fields))


def test_low_is_good_for_an_error(tmp_path):
    assert read_study(write_study(tmp_path / "s.py", axes={"flow.lr": [1e-3]}, metric="val_mse")).mode == "min"
    assert read_study(write_study(tmp_path / "s.py", axes={"flow.lr": [1e-3]})).mode == "max"


def test_resume_of_what_is_no_study_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["scbig", "sweep", "s.py", "--resume", "-o", str(tmp_path / "typo")])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2 and not (tmp_path / "typo").exists()


def test_a_split_file_without_validation_leaves_nothing_to_choose_by(tmp_path, store):
    names = [condition.name for condition in open_store(store).conditions if not condition.is_control]
    (tmp_path / "mine.json").write_text(json.dumps({"train": names[1:], "test": names[:1]}))
    path = write_study(tmp_path / "s.py", axes={"flow.lr": [1e-3]}, fixed={"split.file": str(tmp_path / "mine.json")})
    with pytest.raises(UserError, match=r"mine\.json has no validation conditions.*; name some under 'val'"):
        plan_of(path, store)
