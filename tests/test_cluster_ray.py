"""Training and studies on a local Ray: one session for the file, tiny trials."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from pathlib import Path

import optuna
import pandas as pd
import pytest
from training_cases import make_store, write_study

from scbig_dist.cluster.plan import Plan, make_plan
from scbig_dist.cluster.session import ray_session
from scbig_dist.cluster.storage import kept_storage
from scbig_dist.cluster.study import read_study
from scbig_dist.cluster.train import train_on_ray
from scbig_dist.cluster.trials import ERROR_FILE, ROW_FILE
from scbig_dist.cluster.tune import run_sweep
from scbig_dist.errors import UserError
from scbig_dist.report.markdown import to_markdown
from scbig_dist.report.reading import read_study as read_report
from scbig_dist.report.study import study_document
from scbig_dist.train.context import LocalContext
from scbig_dist.train.run import train_run

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_store(tmp_path_factory.mktemp("store")))


@pytest.fixture(scope="module", autouse=True)
def session() -> Iterator[None]:
    with ray_session(cpus=2):
        yield


def tiny_plan(folder: Path, store: str) -> Plan:
    path = write_study(folder / "s.py", axes={"flow.lr": [2e-3]})
    return make_plan(read_study(path), path, {"store": store})


def optuna_half(out: Path) -> optuna.Study:
    storage = kept_storage(out)
    return optuna.load_study(study_name=storage.name, storage=storage.at(out))


def curve(run: Path) -> pd.DataFrame:
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    table = pd.DataFrame(records).set_index(["stage", "step"])
    return table[["loss", "val_loss", "val_pearson_delta"]]


def test_two_workers_and_one_process_have_the_same_loss_curve(tmp_path, store):
    plan = tiny_plan(tmp_path, store)
    train_run(plan.base, tmp_path / "one", LocalContext(), progress=False)
    train_on_ray(plan.config({"train.workers": 2}), tmp_path / "two", progress=False)
    one, two = curve(tmp_path / "one"), curve(tmp_path / "two")
    assert json.loads((tmp_path / "two" / "run.json").read_text())["n_nodes"] == 1
    shared = one.index.intersection(two.index)
    assert len(shared) >= 6
    # float32 gradients are summed in another order; nothing else differs.
    pd.testing.assert_frame_equal(one.loc[shared], two.loc[shared], rtol=1e-4, atol=1e-5)


def test_a_workers_user_error_comes_out_as_it_was(tmp_path, store):
    plan = tiny_plan(tmp_path, store)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"taken: .*exists") as error:
        train_on_ray(plan.base, tmp_path / "taken", progress=False)
    assert "\n" not in str(error.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.py", "taken"]


def test_more_workers_than_the_machine_holds_are_refused(tmp_path, store):
    plan = tiny_plan(tmp_path, store)
    with pytest.raises(UserError, match=r"4 workers × \(1 CPU\): missing 4 CPUs \(there are 2\)"):
        train_on_ray(plan.config({"train.workers": 4, "flow.accumulate": 4}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_sweep_of_which_nothing_finished_is_an_error(tmp_path, store, capsys):
    path = write_study(tmp_path / "s.py", axes={"flow.lr": [1e30]}, fixed={"train.workers": 1})
    with pytest.raises(UserError, match=r"every trial failed, the last of them with UserError: flow update"):
        run_sweep(path, tmp_path / "out", {"store": store})
    assert capsys.readouterr().out == ""  # Tune has a line for a trial that reports nothing


def test_sweep_keeps_a_failed_trial_and_scores_the_best_on_test(tmp_path, store):
    path = write_study(
        tmp_path / "s.py",
        axes={"grc.n_modules": [4], "flow.lr": [1e-3, 1e30]},  # the second diverges
        fixed={"train.workers": 1},
    )
    out = tmp_path / "out"
    run_sweep(path, out, {"store": store})
    table = pd.read_parquet(out / "trials.parquet").set_index("trial")
    assert table["status"].to_dict() == {"0000": "finished", "0001": "failed"}
    assert table.loc["0001", "error"].startswith("UserError: flow update ")
    assert "Traceback" in (out / "trials" / "0001" / ERROR_FILE).read_text()
    good = table.loc["0000"]
    assert good["budget"] == 80 and good["n_parameters"] > 0 and good["peak_mem_gb"] > 0.05
    assert -1 <= good["val_pearson_delta"] <= 1 and -1 <= good["test_pearson_delta"] <= 1
    assert (out / "trials" / "0000" / "scores.json").exists() and not (out / "ray").exists()
    # Another process at work in the directory is not disturbed.
    with open(out / ".lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another sweep is at work"):
            run_sweep(path, out, {"store": store}, resume=True)
    # The same again: nothing is redone, and what is not the same study is refused.
    written = (out / "trials" / "0000" / ROW_FILE).stat().st_mtime_ns
    run_sweep(path, out, {"store": store}, resume=True)
    assert (out / "trials" / "0000" / ROW_FILE).stat().st_mtime_ns == written
    with pytest.raises(UserError, match="already holds a study; add --resume"):
        run_sweep(path, out, {"store": store})
    with pytest.raises(UserError, match=r"has changed since it began \(flow\.sigma: 0\.5 → 0\.1\)"):
        run_sweep(path, out, {"store": store, "flow.sigma": 0.1}, resume=True)


def test_asha_stops_the_worse_trial_and_says_where(tmp_path, store):
    path = write_study(
        tmp_path / "s.py",
        # One after the other, the better first: the second meets its score at the first rung.
        points={"good": {"flow.lr": 1e-2}, "bad": {"flow.lr": 1e-7}},
        fixed={"train.threads": 2},
        stopping={"rule": "asha", "grace": 20, "reduction": 2},
    )
    run_sweep(path, tmp_path / "out", {"store": store})
    table = pd.read_parquet(tmp_path / "out" / "trials.parquet").set_index("name")
    assert table["status"].to_dict() == {"good": "finished", "bad": "stopped"}
    assert table.loc["bad", "reason"].startswith("asha: val_pearson_delta=")
    assert "rung 0 (micro-step 20)" in table.loc["bad", "reason"]
    assert table["budget"].to_dict() == {"good": 80, "bad": 20}
    assert table["val_pearson_delta"].notna().all()  # of a stopped trial: what it reported last
    found = optuna_half(tmp_path / "out")
    assert [trial.state.name for trial in found.trials] == ["COMPLETE", "PRUNED"]


def test_trials_with_two_workers_train_on_ray_train(tmp_path, store):
    path = write_study(tmp_path / "s.py", axes={"train.workers": [2]})
    run_sweep(path, tmp_path / "out", {"store": store})
    table = pd.read_parquet(tmp_path / "out" / "trials.parquet")
    assert table["status"].tolist() == ["finished"], table["error"].tolist()
    assert table["val_pearson_delta"].notna().all() and table["test_pearson_delta"].notna().all()
    found = optuna_half(tmp_path / "out")
    assert {20, 80} <= found.trials[0].intermediate_values.keys()  # reports of Ray Train reach the searcher


def test_trials_of_two_seeds_with_two_metrics_end_in_one_row_each_and_on_a_front(tmp_path, store):
    path = write_study(
        tmp_path / "s.py",
        axes={"flow.width": [16, 32]},
        metric=["val_pearson_delta", "n_parameters"],
        seeds=2,
        fixed={"autoencoder.epochs": 1, "flow.steps": 20, "train.seed": 5},
    )
    out, database = tmp_path / "out", f"sqlite:///{tmp_path / 'search.db'}"
    run_sweep(path, out, {"store": store}, storage=database)
    table = pd.read_parquet(out / "trials.parquet")
    assert table["status"].tolist() == ["finished"] * 2 and table["seeds"].tolist() == [2, 2]
    for trial, row in table.set_index("trial").iterrows():
        rows = [json.loads((out / "trials" / trial / f"seed-{seed}" / ROW_FILE).read_text()) for seed in (5, 6)]
        scores = pd.Series([each["val_pearson_delta"] for each in rows])
        assert scores.nunique() == 2  # two trainings, not one twice
        assert row["val_pearson_delta"] == pytest.approx(scores.mean())
        assert row["val_pearson_delta_sd"] == pytest.approx(scores.std())
    # The front: the smaller is on it whatever its score, and what is on it is scored on test.
    assert table.loc[0, "on_front"] and table.loc[0, "n_parameters"] < table.loc[1, "n_parameters"]
    assert table["test_pearson_delta"].notna().tolist() == table["on_front"].tolist()
    assert table.loc[0, "test_pearson_delta_sd"] >= 0
    found = optuna_half(out)
    assert [trial.values for trial in found.trials] == table[["val_pearson_delta", "n_parameters"]].values.tolist()
    assert not (out / "study.db").exists()
    # Going on finds the same search, and nothing left to do.
    run_sweep(path, out, {"store": store}, resume=True)
    assert len(optuna_half(out).trials) == 2
    document = to_markdown(study_document(read_report(out)))
    assert "## Front of two metrics" in document and " ± " in document
