"""What Ray Tune asks between trials: the next point, and whether one should stop. Optuna answers.

All state lies in Optuna's storage (`STUDY/study.db`), the rungs of successive halving
included, so a study that goes on after a stop takes the decisions it would have taken.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, Trial, TrialState
from ray.tune.search import Searcher

from scbig_dist.artifacts import write_text
from scbig_dist.cluster.plan import Plan
from scbig_dist.cluster.study import Range, Study
from scbig_dist.cluster.trials import STOP_FILE, Row, read_row, trial_dir
from scbig_dist.config import Config
from scbig_dist.errors import UserError

OPTUNA_NAME = "study"


def storage_url(study_dir: Path) -> str:
    return f"sqlite:///{(study_dir / 'study.db').resolve()}"


def distributions(study: Study) -> dict[str, BaseDistribution]:
    """The space in Optuna's words; what is only ever named in points is a list of those values."""
    space: dict[str, BaseDistribution] = {}
    for address in study.addresses:
        axis = study.axes.get(address)
        named = [point[address] for point in study.points.values()]
        if isinstance(axis, Range):
            if _is_integer(address):
                space[address] = IntDistribution(int(axis.low), int(axis.high), log=axis.log)
            else:
                space[address] = FloatDistribution(float(axis.low), float(axis.high), log=axis.log)
        else:
            space[address] = CategoricalDistribution(list(dict.fromkeys([*(axis or []), *named])))
    return space


def _is_integer(address: str) -> bool:
    value = Config().get(address)
    return isinstance(value, int) and not isinstance(value, bool)


def open_optuna(plan: Plan, study_dir: Path) -> optuna.Study:
    """The study's Optuna half, begun with the points known beforehand, or as it was left."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = plan.study
    pruner: optuna.pruners.BasePruner = optuna.pruners.NopPruner()
    if study.asha is not None:
        pruner = optuna.pruners.SuccessiveHalvingPruner(
            min_resource=study.asha.grace, reduction_factor=study.asha.reduction
        )
    found = optuna.create_study(
        storage=optuna.storages.RDBStorage(storage_url(study_dir), engine_kwargs={"connect_args": {"timeout": 60}}),
        study_name=OPTUNA_NAME,
        direction="maximize" if study.mode == "max" else "minimize",
        pruner=pruner,
        load_if_exists=True,
    )
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
            trial = Trial(self._optuna, self._interrupted.pop(0)._trial_id)
        else:
            begun = [t for t in self._optuna.get_trials(deepcopy=False) if t.state != TrialState.WAITING]
            if len(begun) >= self._plan.n_trials:
                return Searcher.FINISHED
            # A sampler of its own per trial: the same study gives the same points, resumed or not.
            self._optuna.sampler = _sampler(self._plan.study, len(begun))
            trial = self._optuna.ask(self._space)
        self._running[trial_id] = trial
        name = trial.user_attrs.get("name", "")
        values = dict(trial.params)
        task: dict[str, Any] = {
            "study": str(self._dir),
            "trial": trial_name(trial.number),
            "name": name,
            "values": values,
            "timed": self._plan.study.timed,
        }
        task["asked"] = time.time()
        try:
            return task | {"config": self._plan.config(values).model_dump_json()}
        except UserError as error:  # a combination that no check of single values can foresee
            return task | {"config": None, "error": str(error)}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Stop the trial at a rung that it does not pass: the file is there before its report returns."""
        step, value = result.get("micro_step"), result.get(self._plan.study.metric)
        asha, trial = self._plan.study.asha, self._running.get(trial_id)
        if trial is None or step is None or value is None:
            return
        trial.report(float(value), int(step))
        if asha is None or step >= self._plan.config(trial.params).flow.steps or not trial.should_prune():
            return
        rung = int(np.floor(np.log(step / asha.grace) / np.log(asha.reduction) + 1e-9))
        reason = f"asha: {self._plan.study.metric}={value:.4g} at rung {rung} (micro-step {int(step)})"
        path = trial_dir(self._dir, trial_name(trial.number)) / STOP_FILE
        write_text(path, json.dumps({"reason": reason, "rung": rung, "micro_step": int(step)}))

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
        value = row.get(self._plan.study.metric)
        if row["status"] == "finished" and value is not None:
            self._optuna.tell(number, float(value))
        else:
            state = TrialState.PRUNED if row["status"] == "stopped" else TrialState.FAIL
            self._optuna.tell(number, state=state)

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its searcher for a restore that we never ask for."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        Path(checkpoint_path).write_text("the state is in study.db\n")

    def restore(self, checkpoint_path: str) -> None:
        return None


def trial_name(number: int) -> str:
    return f"{number:04d}"


def _sampler(study: Study, number: int) -> optuna.samplers.BaseSampler:
    seed = int(np.random.SeedSequence([study.seed, number]).generate_state(1)[0])
    if study.sampler == "tpe":
        return optuna.samplers.TPESampler(seed=seed, constant_liar=True)
    return optuna.samplers.RandomSampler(seed=seed)
