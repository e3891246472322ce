"""The searcher by itself: what it suggests, when it stops a trial, how it goes on after an interruption."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from training_cases import make_store, write_study

from scbig_dist.cluster.plan import Plan, make_plan
from scbig_dist.cluster.search import StudySearch, open_optuna
from scbig_dist.cluster.study import read_study
from scbig_dist.cluster.trials import STOP_FILE, Row, make_row, read_json, trial_dir, write_row

SEARCH: dict[str, Any] = {
    "axes": {"flow.lr": {"low": 1e-4, "high": 1e-2, "log": True}, "grc.n_modules": {"low": 2, "high": 8}},
    "points": {"mine": {"flow.lr": 1e-3, "grc.n_modules": 4}},
    "n_trials": 5,
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_store(tmp_path_factory.mktemp("store")))


class Sitting:
    """One process's worth of a study: a searcher, and the rows it was told of."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.folder, self.rows = folder, list[Row]()
        (folder / "trials").mkdir(parents=True, exist_ok=True)
        self.search = StudySearch(plan, folder, open_optuna(plan, folder), self.rows.append)

    def begin(self, tune_id: str) -> dict[str, Any]:
        task = self.search.suggest(tune_id)
        assert isinstance(task, dict)
        trial_dir(self.folder, task["trial"]).mkdir(exist_ok=True)
        return task

    def end(self, tune_id: str, task: dict[str, Any], score: float, status: str = "finished", **more: float) -> None:
        row = make_row(trial_dir(self.folder, task["trial"]), task["name"], task["values"], status)
        write_row(self.folder, row | {"val_pearson_delta": score, **more})
        self.search.on_trial_complete(tune_id)


def plan_of(folder: Path, store: str, **fields: Any) -> Plan:
    path = write_study(folder / "s.py", **fields)
    return make_plan(read_study(path), path, {"store": store})


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_the_same_study_suggests_the_same_trials_in_one_sitting_or_two(tmp_path, store, sampler):
    plan = plan_of(tmp_path, store, sampler=sampler, **SEARCH)
    seen: dict[str, list[dict[str, Any]]] = {"one": [], "two": []}
    for name, breaks in (("one", ()), ("two", (2, 3))):
        sitting = Sitting(tmp_path / name, plan)
        for number in range(5):
            if number in breaks:
                sitting = Sitting(tmp_path / name, plan)
            task = sitting.begin(f"t{number}")
            sitting.end(f"t{number}", task, score=number / 10)
            seen[name].append(task["values"])
        assert sitting.search.suggest("more") == "FINISHED" and sitting.search.n_left == 0
    assert seen["one"] == seen["two"]
    assert seen["one"][0] == SEARCH["points"]["mine"]
    assert len({tuple(values.values()) for values in seen["one"]}) == 5
    assert all(1e-4 <= v["flow.lr"] <= 1e-2 and isinstance(v["grc.n_modules"], int) for v in seen["one"])


def test_trials_that_had_begun_go_on_and_those_that_ended_are_not_redone(tmp_path, store):
    plan = plan_of(tmp_path, store, axes={"flow.lr": [1e-3, 2e-3, 3e-3, 4e-3]})
    first = Sitting(tmp_path / "out", plan)
    tasks = [first.begin(f"t{number}") for number in range(3)]
    first.end("t0", tasks[0], 0.1)
    # The second ended on disk, but the process died before the searcher was told.
    row = make_row(trial_dir(tmp_path / "out", "0001"), "", tasks[1]["values"], "finished")
    write_row(tmp_path / "out", row | {"val_pearson_delta": 0.2})
    second = Sitting(tmp_path / "out", plan)
    assert second.search.n_left == 2
    resumed, fresh = second.begin("u0"), second.begin("u1")
    assert (resumed["trial"], resumed["values"]) == ("0002", {"flow.lr": 3e-3})
    assert (fresh["trial"], fresh["values"]) == ("0003", {"flow.lr": 4e-3})
    assert second.search.suggest("u2") == "FINISHED"


def test_rungs_outlive_an_interruption(tmp_path, store):
    points = {str(number): {"flow.lr": 1e-3 * (number + 1)} for number in range(4)}
    plan = plan_of(tmp_path, store, points=points, stopping={"rule": "asha", "grace": 20, "reduction": 2})
    first = Sitting(tmp_path / "out", plan)
    for number, score in enumerate([0.5, 0.6]):
        task = first.begin(f"t{number}")
        first.search.on_trial_result(f"t{number}", {"micro_step": 20, "val_pearson_delta": score})
        assert not (trial_dir(tmp_path / "out", task["trial"]) / STOP_FILE).exists()  # the best so far goes on
        first.end(f"t{number}", task, score)
    second = Sitting(tmp_path / "out", plan)
    task = second.begin("u0")
    second.search.on_trial_result("u0", {"micro_step": 10})  # nothing to judge by
    second.search.on_trial_result("u0", {"micro_step": 20, "val_pearson_delta": 0.55})
    stop = read_json(trial_dir(tmp_path / "out", task["trial"]) / STOP_FILE)
    assert stop["rung"] == 0 and stop["micro_step"] == 20 and "val_pearson_delta=0.55" in stop["reason"]
    second.end("u0", task, 0.55, status="stopped")
    assert [t.state.name for t in second.search._optuna.trials] == ["COMPLETE", "COMPLETE", "PRUNED", "WAITING"]
    # No trial is stopped at its very end: nothing would be saved.
    task = second.begin("u1")
    second.search.on_trial_result("u1", {"micro_step": 80, "val_pearson_delta": 0.0})
    assert not (trial_dir(tmp_path / "out", task["trial"]) / STOP_FILE).exists()


def test_a_combination_that_no_single_value_betrays_fails_alone(tmp_path, store):
    axes = {"gcae.width": [8, 6], "gcae.n_heads": [2, 1, 8]}
    plan = plan_of(tmp_path, store, axes=axes, sampler="random", n_trials=12)
    sitting = Sitting(tmp_path / "out", plan)
    tasks = [sitting.begin(f"t{number}") for number in range(12)]
    bad = [task for task in tasks if task["values"] == {"gcae.width": 6, "gcae.n_heads": 8}]
    assert bad and all(task["config"] is None and "not a multiple" in task["error"] for task in bad)
