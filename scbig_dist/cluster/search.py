"""What Ray Tune asks between trials: the next point, and whether one should stop. Optuna answers.

All state lies in Optuna's storage (`STUDY/study.db`, or where `--storage` says), decisions to stop a trial included, so a
study that goes on after a stop takes the decisions it would have taken.

A trial stopped early is told as PRUNED, with what it reported on the way. Optuna's TPE (5.0,
`_split_trials`) puts finished trials before stopped ones whatever their values, and sorts the
stopped by their last step, the later the better, before it looks at a value: values of unequal
budgets never meet. As COMPLETE they would. NSGA-II reads finished trials alone.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, Trial, TrialState
from ray.tune.search import Searcher

from scbig_dist.artifacts import write_text
from scbig_dist.cluster.plan import Plan, full_budget
from scbig_dist.cluster.space import distributions, suggest_values
from scbig_dist.cluster.stopping import decide, stop_record
from scbig_dist.cluster.storage import kept_storage, open_storage
from scbig_dist.cluster.study import Study
from scbig_dist.cluster.trials import STOP_FILE, Row, read_row, trial_dir, watched_run
from scbig_dist.errors import UserError

POPULATION = 16  # of NSGA-II's generations: Optuna's 50 are more trials than most studies have


def open_optuna(plan: Plan, study_dir: Path) -> optuna.Study:
    """The study's Optuna half, begun with the points known beforehand, or as it was left."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = kept_storage(study_dir)
    found = optuna.create_study(
        storage=open_storage(storage, study_dir),
        study_name=storage.name,
        directions=["maximize" if each.mode == "max" else "minimize" for each in plan.study.objectives],
        pruner=optuna.pruners.NopPruner(),  # what stops trials is stopping.py
        load_if_exists=True,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        found.set_metric_names([each.name for each in plan.study.objectives])
    for point in plan.points[len(found.get_trials(deepcopy=False)) :]:
        found.enqueue_trial(point.values, user_attrs={"name": point.name})
    return found


class StudySearch(Searcher):
    """Tune's view of the study. `ended` is called with every row, once."""

    def __init__(self, plan: Plan, study_dir: Path, optuna_study: optuna.Study, ended: Callable[[Row], None]) -> None:
        super().__init__()
        self._plan, self._dir, self._optuna, self._ended = plan, study_dir, optuna_study, ended
        self._space = distributions(plan.study)
        self._running: dict[str, Trial] = {}  # by Tune's name for it
        self._interrupted = self._settle()

    @property
    def n_left(self) -> int:
        """Trials that have not ended."""
        over = [t for t in self._optuna.get_trials(deepcopy=False) if t.state.is_finished()]
        return max(self._plan.n_trials - len(over), 0)

    def _settle(self) -> list[FrozenTrial]:
        """Tell Optuna of trials whose end it missed; the others that had begun are to go on."""
        going_on = []
        for trial in self._optuna.get_trials(states=[TrialState.RUNNING]):
            row = read_row(self._dir, trial_name(trial.number))
            if row is None:
                going_on.append(trial)
            else:
                self._tell(trial.number, row)
        return going_on

    def suggest(self, trial_id: str) -> dict[str, Any] | str:  # type: ignore[override]  # Ray's own annotation lacks FINISHED
        if self._interrupted:
            interrupted = self._interrupted.pop(0)
            self._optuna.sampler = _sampler(self._plan.study, interrupted.number)
            trial = Trial(self._optuna, interrupted._trial_id)
        else:
            begun = [t for t in self._optuna.get_trials(deepcopy=False) if t.state != TrialState.WAITING]
            if len(begun) >= self._plan.n_trials:
                return Searcher.FINISHED
            # A sampler of its own per trial: the same study gives the same points, resumed or not.
            self._optuna.sampler = _sampler(self._plan.study, len(begun))
            trial = self._optuna.ask()
        self._running[trial_id] = trial
        name = trial.user_attrs.get("name", "")
        values = suggest_values(trial, self._space, self._plan.study.when)
        task: dict[str, Any] = {
            "study": str(self._dir),
            "trial": trial_name(trial.number),
            "name": name,
            "values": values,
            "timed": self._plan.study.timed,
            "seeds": self._plan.study.seeds,
        }
        task["asked"] = time.time()
        try:
            return task | {"config": self._plan.config(values).model_dump_json()}
        except UserError as error:  # a combination that no check of single values can foresee
            return task | {"config": None, "error": str(error)}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Stop a trial that does not pass: the file is there before its report returns."""
        study, trial = self._plan.study, self._running.get(trial_id)
        objective, step = study.objectives[0], result.get("micro_step")
        value = result.get(objective.name)
        if trial is None or step is None or value is None or len(study.objectives) > 1:
            return  # of two objectives Optuna keeps none on the way
        value, step, rule = float(value), int(step), study.stopping
        config = self._plan.config(trial.params)
        decision = None
        if rule is not None and step < full_budget(config)[1]:
            decision = decide(rule, trial, value, step, self._optuna.get_trials(deepcopy=False), objective.sign)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a step that is reported again: the first value stands
            trial.report(value, step)
        if rule is not None and decision is not None and not decision.goes_on:
            run = watched_run(trial_dir(self._dir, trial_name(trial.number)), config, study.seeds)
            write_text(run / STOP_FILE, json.dumps(stop_record(rule, objective.name, decision)))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        trial = self._running.get(trial_id)
        row = None if trial is None else read_row(self._dir, trial_name(trial.number))
        if row is not None:  # None: the process died for good, and its row is written after this call
            self.end(trial_id, row)

    def end(self, trial_id: str, row: Row) -> None:
        """Take note of a trial's row, once."""
        trial = self._running.pop(trial_id, None)
        if trial is not None:
            self._tell(trial.number, row)
            self._ended(row)

    def _tell(self, number: int, row: Row) -> None:
        values = [row.get(each.name) for each in self._plan.study.objectives]
        if row["status"] == "finished" and None not in values:
            self._optuna.tell(number, [float(value) for value in values if value is not None])
        else:
            state = TrialState.PRUNED if row["status"] == "stopped" else TrialState.FAIL
            self._optuna.tell(number, state=state)

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its searcher for a restore that we never ask for."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        Path(checkpoint_path).write_text("the state is in Optuna's storage\n")

    def restore(self, checkpoint_path: str) -> None:
        return None


def trial_name(number: int) -> str:
    return f"{number:04d}"


def _sampler(study: Study, number: int) -> optuna.samplers.BaseSampler:
    seed = int(np.random.SeedSequence([study.seed, number]).generate_state(1)[0])
    if study.sampler == "tpe":
        return optuna.samplers.TPESampler(seed=seed, constant_liar=True)
    if study.sampler == "nsga2":
        return optuna.samplers.NSGAIISampler(seed=seed, population_size=POPULATION)
    return optuna.samplers.RandomSampler(seed=seed)
