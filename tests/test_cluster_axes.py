"""Axes that some trials lack, two objectives, repeats over seeds: from the study file to the table, without Ray."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from test_cluster_search import Sitting, plan_of
from training_cases import make_store, write_study

from scbig_dist.cluster.objectives import best_row, front_rows
from scbig_dist.cluster.resources import needs_of
from scbig_dist.cluster.seed_rows import over_seeds
from scbig_dist.cluster.show import print_plan
from scbig_dist.cluster.study import read_study
from scbig_dist.cluster.trials import rows_for_test, write_row, write_table
from scbig_dist.errors import UserError
from scbig_dist.metrics.pareto import pareto_front

CONDITIONAL: dict[str, Any] = {
    "axes": {"gcae.encoder": ["gcae", "mlp"], "gcae.n_inducing": [2, 4, 8], "flow.lr": [1e-3, 1e-2]},
    "when": {"gcae.n_inducing": {"gcae.encoder": "gcae"}},
}
LR = {"flow.lr": {"low": 1e-4, "high": 1e-2, "log": True}}
TWO: dict[str, Any] = {"metric": ["val_pearson_delta", "step_ms"]}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_store(tmp_path_factory.mktemp("store")))


def test_a_grid_has_each_combination_once_without_the_axes_that_it_lacks(tmp_path, store):
    plan = plan_of(tmp_path, store, **CONDITIONAL)
    values = [point.values for point in plan.points]
    assert len(values) == 3 * 2 + 2 and len({tuple(sorted(v.items())) for v in values}) == 8
    assert all(("gcae.n_inducing" in v) == (v["gcae.encoder"] == "gcae") for v in values)


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_sampler_gives_an_axis_only_where_it_exists_and_an_interrupted_trial_the_rest(tmp_path, store, sampler):
    plan = plan_of(tmp_path, store, sampler=sampler, n_trials=18, **CONDITIONAL)
    seen: dict[str, list[dict[str, Any]]] = {"one": [], "two": []}
    for name in seen:
        sitting = Sitting(tmp_path / name, plan)
        for number in range(18):
            if name == "two" and number in (3, 15):  # the process dies between the axes of a trial
                sitting.search._optuna.sampler = optuna.samplers.RandomSampler()
                trial = sitting.search._optuna.ask()
                sitting = Sitting(tmp_path / name, plan)
                assert trial.number == number
            task = sitting.begin(f"t{number}")
            assert task["trial"] == f"{number:04d}"
            sitting.end(f"t{number}", task, score=number % 7 / 10)
            seen[name].append(task["values"])
    assert seen["one"] == seen["two"]
    encoders = [v["gcae.encoder"] for v in seen["one"]]
    assert {"gcae", "mlp"} == set(encoders)
    assert all(("gcae.n_inducing" in v) == (v["gcae.encoder"] == "gcae") for v in seen["one"])


def test_an_axis_that_a_trial_lacks_is_empty_in_the_table(tmp_path):
    study = read_study(write_study(tmp_path / "s.py", **CONDITIONAL))
    for number, values in enumerate([{"gcae.encoder": "gcae", "gcae.n_inducing": 4}, {"gcae.encoder": "mlp"}]):
        write_row(tmp_path, row(number, **values))
    write_table(tmp_path, study)
    column = pd.read_parquet(tmp_path / "trials.parquet")["gcae.n_inducing"]
    assert column[0] == 4 and isinstance(column[0], np.integer | int) and pd.isna(column[1])


def row(number: int, status: str = "finished", **values: Any) -> dict[str, Any]:
    return {"trial": f"{number:04d}", "name": "", "status": status, "reason": "", "error": "", "budget": 80, **values}


def test_front_against_every_pair_in_turn():
    values = np.random.default_rng(0).integers(0, 6, (40, 2)).astype(float)
    beaten = [
        any((other >= own).all() and (other > own).any() for other in values) for own in values
    ]  # fmt: skip
    assert pareto_front(values).tolist() == [not each for each in beaten]
    assert pareto_front(np.zeros((2, 2))).all() and len(pareto_front(np.zeros((0, 2)))) == 0


def test_the_front_of_score_and_cost_is_recorded_and_scored_on_test(tmp_path):
    study = read_study(write_study(tmp_path / "s.py", axes={"flow.lr": [1e-3]}, **TWO))
    assert [each.mode for each in study.objectives] == ["max", "min"]
    for number, (score, cost, status) in enumerate(
        [(0.5, 3.0, "finished"), (0.6, 9.0, "finished"), (0.4, 4.0, "finished"), (0.9, 1.0, "stopped"), (0.6, 9.5, "finished")]
    ):  # fmt: skip
        write_row(tmp_path, row(number, status, val_pearson_delta=score, step_ms=cost))
    rows = write_table(tmp_path, study)
    assert [each["trial"] for each in front_rows(rows, study)] == ["0000", "0001"]
    assert [each["trial"] for each in rows_for_test(rows, study)] == ["0000", "0001"]
    assert pd.read_parquet(tmp_path / "trials.parquet")["on_front"].tolist() == [True, True, False, False, False]


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_two_objectives_are_searched_and_go_on_as_they_were(tmp_path, store, sampler):
    plan = plan_of(tmp_path, store, axes=LR, sampler=sampler, n_trials=20, **TWO)
    seen: dict[str, list[float]] = {"one": [], "two": []}
    for name in seen:
        sitting = Sitting(tmp_path / name, plan)
        for number in range(20):
            if name == "two" and number % 6 == 5:
                sitting = Sitting(tmp_path / name, plan)
            task = sitting.begin(f"t{number}")
            lr = task["values"]["flow.lr"]
            sitting.search.on_trial_result(f"t{number}", {"micro_step": 20, "val_pearson_delta": 0.1})
            sitting.end(f"t{number}", task, score=-abs(np.log10(lr) + 3), step_ms=lr)
            seen[name].append(lr)
    assert seen["one"] == seen["two"] and len(set(seen["one"])) > 15
    assert len(sitting.search._optuna.best_trials) >= 2


def test_trials_of_another_budget_do_not_compete(tmp_path):
    points = {"short": {"flow.steps": 40}, "long": {"flow.steps": 80}}
    study = read_study(write_study(tmp_path / "s.py", points=points))
    rows = [row(0, val_pearson_delta=0.9, **{"flow.steps": 40}), row(1, val_pearson_delta=0.5, **{"flow.steps": 80})]
    best = best_row(rows, study)
    assert best is not None and best["trial"] == "0001"


def test_a_trial_of_several_seeds_is_their_mean_with_its_deviation():
    seeds = [
        {"trial": f"seed-{i}", "status": "finished", "val_mse": v, "val_acc": None if i else 0.5, "step_ms": 2.0 + i,
         "peak_mem_gb": 1.0 + i, "seconds_total": 10.0, "n_parameters": 7}
        for i, v in enumerate([0.1, 0.2, 0.6])
    ]  # fmt: skip
    one = over_seeds("0004", seeds, 3)
    assert one["trial"] == "0004" and one["seeds"] == 3
    assert one["val_mse"] == pytest.approx(0.3) and one["val_mse_sd"] == pytest.approx(np.std([0.1, 0.2, 0.6], ddof=1))
    assert one["val_acc"] is None and one["val_acc_sd"] is None, "a mean over fewer seeds would not compare"
    assert (one["step_ms"], one["peak_mem_gb"], one["seconds_total"], one["n_parameters"]) == (3.0, 3.0, 30.0, 7)
    failed = seeds[0] | {"trial": "seed-1", "status": "failed", "reason": "see error.txt"}
    one = over_seeds("0004", [seeds[0], failed], 3)
    assert one["status"] == "failed" and one["reason"] == "seed-1: see error.txt" and one["seconds_total"] == 20.0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({**CONDITIONAL, "when": {"gcae.n_inducin": {"gcae.encoder": "gcae"}}}, "is no axis; did you mean 'gcae.n_inducing'"),
        ({**CONDITIONAL, "when": {"gcae.n_inducing": {"gcae.encodr": "gcae"}}}, "did you mean 'gcae.encoder'"),
        ({**CONDITIONAL, "when": {"gcae.n_inducing": {"gcae.encoder": "pca"}}}, "gcae.encoder='pca' is never tried"),
        (
            {**CONDITIONAL, "when": {"gcae.n_inducing": {"gcae.encoder": "gcae"}, "gcae.encoder": {"gcae.n_inducing": 2}}},
            "in a circle",
        ),
        (
            {**CONDITIONAL, "points": {"p": {"gcae.encoder": "mlp", "gcae.n_inducing": 2, "flow.lr": 1e-3}}},
            "names gcae.n_inducing, which exists only where gcae.encoder in ['gcae']",
        ),
        ({**CONDITIONAL, "points": {"p": {"gcae.encoder": "gcae", "flow.lr": 1e-3}}}, "does not name gcae.n_inducing"),
        (
            {**CONDITIONAL, "axes": {**CONDITIONAL["axes"], "gcae.n_inducing": [2, 0]}},
            "gcae.n_inducing=0",
        ),
        ({"axes": {"flow.lr": [1e-3]}, "metric": ["val_mse", "val_mse"]}, "two that differ"),
        ({"axes": {"flow.lr": [1e-3]}, "metric": ["step_ms", "val_mse"]}, "trials are chosen by validation"),
        ({"axes": {"flow.lr": [1e-3]}, "metric": ["val_mse", "test_mse"]}, "a validation score or a cost"),
        ({"axes": {"flow.lr": [1e-3]}, "metric": ["val_mse", "step_ms"], "mode": "min"}, "'max' and 'min' for each"),
        ({"axes": {"flow.lr": [1e-3]}, **TWO, "stopping": {"rule": "asha", "grace": 20}}, "stopping with two metrics"),
        ({"axes": LR, "sampler": "nsga2", "n_trials": 4}, "a front of two metrics"),
        ({"axes": {"flow.lr": [1e-3]}, "stopping": {"rule": "best", "grace": 20}}, "stopping="),
        ({"axes": {"flow.validate_every": [20, 40]}, "stopping": {"rule": "median", "grace": 20}}, "at equal micro-steps"),
        ({"axes": {**LR, "flow.steps": [40, 80]}, "sampler": "tpe", "n_trials": 4}, "learns from trials of equal budget"),
        ({"axes": {"train.seed": [0, 1]}, "seeds": 3}, "both say which seeds"),
        ({"axes": {"flow.lr": [1e-3]}, "seeds": 0}, "seeds=0"),
    ],
)  # fmt: skip
def test_study_rejects(tmp_path, store, fields, message):
    with pytest.raises(UserError) as error:
        plan_of(tmp_path, store, **fields)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_how_long_is_trained_may_be_searched_where_time_is_the_other_objective(tmp_path, store):
    metric = ["val_pearson_delta", "seconds_total"]
    plan = plan_of(tmp_path, store, axes={**LR, "flow.steps": [40, 80]}, sampler="tpe", n_trials=4, metric=metric)
    assert plan.n_trials == 4


def test_the_plan_shows_what_is_searched(tmp_path: Path, store: str, capsys: pytest.CaptureFixture[str]):
    plan = plan_of(tmp_path, store, seeds=3, stopping={"rule": "median", "grace": 20}, **CONDITIONAL)
    print_plan(plan, [needs_of(plan.base)], None)
    text = capsys.readouterr().out
    assert "8 trials" in text and "3 times" in text and "below the median" in text and "–" in text
