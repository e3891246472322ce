"""Successive halving and the median rule: against Optuna's own pruners, and over a restart at every report."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from scbig_dist.cluster.stopping import decide, rung_at
from scbig_dist.cluster.study import Asha, Median

STEPS = range(10, 90, 10)
ASHA = Asha(rule="asha", grace=20, reduction=2)
MEDIAN = Median(rule="median", grace=30, others=2)


def study_at(path: Path, direction: str) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        storage=f"sqlite:///{path}", study_name="s", direction=direction, load_if_exists=True,
        pruner=optuna.pruners.NopPruner(),
    )  # fmt: skip


def curves(seed: int, n: int = 9) -> list[list[float]]:
    """Noisy curves of validation scores, of which some are told apart early and one breaks."""
    rng = np.random.default_rng(seed)
    level, rise = rng.normal(0, 1, (n, 1)), np.log(np.array(STEPS)) * rng.uniform(0, 0.5, (n, 1))
    values = level + rise + rng.normal(0, 0.2, (n, len(STEPS)))
    values[5, 4:] = np.nan
    return values.tolist()


def run_through(
    path: Path, rule: Asha | Median, mode: str, values: Sequence[Sequence[float]], restarts: bool = False
) -> list[int | None]:
    """Where each trial was stopped, one trial after the other.

    With `restarts` the process dies right after every decision, before anyone heard of it, and
    again after the report: each time the trial goes on from a checkpoint two reports back.
    """
    sign = 1 if mode == "max" else -1
    study = study_at(path, "maximize" if mode == "max" else "minimize")
    stops = list[int | None]()
    for curve in values:
        trial, stop, at = study.ask(), None, 0
        died = set[tuple[int, str]]()
        while at < len(STEPS) and stop is None:
            step, value = STEPS[at], curve[at]
            decision = decide(rule, trial, value, step, study.get_trials(deepcopy=False), sign)
            if restarts and (step, "decided") not in died:
                died.add((step, "decided"))
            else:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", UserWarning)
                    trial.report(value, step)
                if not restarts or (step, "reported") in died:
                    stop = step if decision is not None and not decision.goes_on else None
                    at += 1
                    continue
                died.add((step, "reported"))
            study = study_at(path, "maximize")
            trial = optuna.trial.Trial(study, trial._trial_id)
            at = max(at - 2, 0)
        study.tell(trial, **({"values": curve[-1]} if stop is None else {"state": optuna.trial.TrialState.PRUNED}))
        stops.append(stop)
    return stops


@pytest.mark.parametrize("mode", ["max", "min"])
def test_successive_halving_stops_what_optunas_pruner_stops(tmp_path, mode):
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=20, reduction_factor=2)
    study = optuna.create_study(direction="maximize" if mode == "max" else "minimize", pruner=pruner)
    theirs = list[int | None]()
    for curve in curves(0):
        trial, stop = study.ask(), None
        for step, value in zip(STEPS, curve, strict=True):
            trial.report(value, step)
            if trial.should_prune():
                stop = step
                break
        study.tell(trial, **({"values": curve[-1]} if stop is None else {"state": optuna.trial.TrialState.PRUNED}))
        theirs.append(stop)
    ours = run_through(tmp_path / "s.db", ASHA, mode, curves(0))
    at_rungs = [stop for stop in theirs if stop is not None]
    assert ours == theirs and set(at_rungs) <= {20, 40, 80} and 3 <= len(at_rungs) < 9


@pytest.mark.parametrize("mode", ["max", "min"])
def test_the_median_rule_stops_what_optunas_stops_beside_trials_that_all_finished(tmp_path, mode):
    """Optuna measures by finished trials alone; ours by all that came as far. With no trial stopped, they agree."""
    pruner = optuna.pruners.MedianPruner(n_startup_trials=0, n_warmup_steps=30, n_min_trials=2)
    theirs_study = optuna.create_study(direction="maximize" if mode == "max" else "minimize", pruner=pruner)
    ours_study = study_at(tmp_path / "s.db", "maximize" if mode == "max" else "minimize")
    n_stops = 0
    for curve in curves(1):
        theirs, ours = theirs_study.ask(), ours_study.ask()
        for step, value in zip(STEPS, np.nan_to_num(curve).tolist(), strict=True):
            theirs.report(value, step)
            others = ours_study.get_trials(deepcopy=False)
            decision = decide(MEDIAN, ours, value, step, others, 1 if mode == "max" else -1)
            ours.report(value, step)
            assert theirs.should_prune() == (decision is not None and not decision.goes_on)
            n_stops += theirs.should_prune()
        theirs_study.tell(theirs, 0.0)
        ours_study.tell(ours, 0.0)
    assert n_stops > 5


@pytest.mark.parametrize("rule", [ASHA, MEDIAN], ids=["asha", "median"])
def test_a_study_that_dies_at_every_report_decides_as_the_undisturbed_one(tmp_path, rule):
    undisturbed = run_through(tmp_path / "one.db", rule, "max", curves(2))
    disturbed = run_through(tmp_path / "two.db", rule, "max", curves(2), restarts=True)
    assert disturbed == undisturbed
    assert undisturbed[5] is not None, "a score that is not a number ends the trial"
    assert 3 <= sum(stop is not None for stop in undisturbed) < 9


def test_a_decision_to_stop_outlives_the_death_between_it_and_the_trial(tmp_path):
    study = study_at(tmp_path / "s.db", "maximize")
    for value in (0.9, 0.5):
        trial = study.ask()
        decision = decide(ASHA, trial, value, 20, study.get_trials(deepcopy=False), 1)
    assert decision is not None and not decision.goes_on
    # Since then the better one has gone, and a worse one come: the decision stands.
    study = study_at(tmp_path / "s.db", "maximize")
    again = decide(ASHA, optuna.trial.Trial(study, trial._trial_id), 0.5, 20, [], 1)
    assert again == decision


def test_trials_that_reached_a_rung_at_other_micro_steps_are_not_compared(tmp_path):
    study = study_at(tmp_path / "s.db", "maximize")
    first, second = study.ask(), study.ask()
    decide(ASHA, first, 0.9, 30, [], 1)
    decision = decide(ASHA, second, 0.1, 20, study.get_trials(deepcopy=False), 1)
    assert decision is not None and decision.goes_on and decision.rung == 0


def test_rungs_lie_a_factor_apart():
    found: list[Any] = [rung_at(ASHA, step) for step in (10, 20, 39, 40, 80, 159, 160)]
    assert found == [None, 0, 0, 1, 2, 2, 3]
