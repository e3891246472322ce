"""Whether a trial goes on: successive halving and the median rule, each decision taken once and kept.

A decision lies in Optuna's storage with the value that it was taken on, in one write and before
anything is done about it. A trial that reports the same step again, because its process died
or the study went on another day, is answered from there: it meets the decision of before. What
a trial is compared with are decisions of others at the *same micro-step*, whatever became of them
since, so budgets are never mixed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from optuna.trial import FrozenTrial, Trial

from scbig_dist.cluster.study import Asha, Median


@dataclass(frozen=True)
class Decision:
    """What was decided on a trial at a micro-step. `value` is as reported; `rung` is None by the median rule."""

    micro_step: int
    value: float
    goes_on: bool
    rung: int | None


def rung_at(rule: Asha, micro_step: int) -> int | None:
    """The highest rung that lies at or before a micro-step, counted from 0."""
    rung, at = None, rule.grace
    while at <= micro_step:
        rung, at = 0 if rung is None else rung + 1, at * rule.reduction
    return rung


def decide(
    rule: Asha | Median, trial: Trial, value: float, micro_step: int, others: Sequence[FrozenTrial], sign: int
) -> Decision | None:
    """The decision on a trial's report, from the storage where there is one, and kept there; None between rungs.

    `sign` is 1 where high values are good, else -1. A value that is not a number ends the trial.
    """
    rung = rung_at(rule, micro_step) if isinstance(rule, Asha) else None
    if micro_step < rule.grace:
        return None
    key = f"check {micro_step}" if rung is None else f"rung {rung}"
    if (kept := trial.user_attrs.get(key)) is not None:
        decision = Decision(**kept)
        return decision if decision.micro_step == micro_step or not decision.goes_on else None
    known = [each.user_attrs[key] for each in others if each.number != trial.number and key in each.user_attrs]
    values = [sign * each["value"] for each in known if each["micro_step"] == micro_step]
    if math.isnan(value):
        goes_on = False
    elif isinstance(rule, Asha):
        goes_on = _is_promoted(sign * value, values, rule.reduction)
    else:
        own = [sign * v for step, v in _reports(trial).items() if step < micro_step and not math.isnan(v)]
        goes_on = len(values) < rule.others or not max([*own, sign * value]) < _median(values)
    decision = Decision(micro_step, value, goes_on, rung)
    trial.set_user_attr(key, asdict(decision))
    return decision


def _is_promoted(value: float, others: Sequence[float], reduction: int) -> bool:
    """Among the best 1/reduction of those that have come to the rung; while they are few, the best of them."""
    ranked = sorted([*(-math.inf if math.isnan(v) else v for v in others), value], reverse=True)
    return value >= ranked[max(len(ranked) // reduction, 1) - 1]


def _median(values: Sequence[float]) -> float:
    return float(np.median([-math.inf if math.isnan(v) else v for v in values]))


def _reports(trial: Trial) -> dict[int, float]:
    return trial.storage.get_trial(trial._trial_id).intermediate_values


def stop_record(rule: Asha | Median, metric: str, decision: Decision) -> dict[str, Any]:
    """What a trial is told, and its row says, of a decision to stop it."""
    place = f"micro-step {decision.micro_step}"
    where = place if decision.rung is None else f"rung {decision.rung} ({place})"
    than = "" if decision.rung is not None else ": below the median"
    return {
        "reason": f"{rule.rule}: {metric}={decision.value:.4g} at {where}{than}",
        "stopped_by": rule.rule,
        "rung": decision.rung,
        "micro_step": decision.micro_step,
    }
