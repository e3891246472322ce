"""What trials are ranked by, and which of them may be ranked together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from scbig_dist.metrics.pareto import pareto_front
from scbig_dist.metrics.summary import HIGHER_IS_BETTER

if TYPE_CHECKING:
    from scbig_dist.cluster.study import Study

COSTS = (
    "step_ms",
    "autoencoder_step_ms",
    "cells_per_s",
    "peak_mem_gb",
    "peak_gpu_gb",
    "n_parameters",
    "seconds_to_first_step",
    "seconds_autoencoder",
    "seconds_flow",
    "seconds_total",
)
"""Columns of every trial beside its scores. All but the speed are the better the lower."""
BUDGETS = ("flow.steps", "autoencoder.epochs", "baseline.steps")
"""What a trial is given. Trials that differ here are not ranked together."""
CHECKPOINTS = (
    *BUDGETS,
    "flow.accumulate",
    "flow.validate_every",
    "baseline.validate_every",
    "train.workers",
    "model.name",
)
"""What decides when a trial reports: alike in every trial of a study that stops some early."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Objective:
    """A column of the table of trials, and whether high or low is good in it."""

    name: str
    mode: Literal["max", "min"]

    @property
    def sign(self) -> int:
        return 1 if self.mode == "max" else -1


def usual_mode(metric: str) -> Literal["max", "min"]:
    """Whether a high or a low value of a score or a cost is good."""
    if metric in COSTS:
        return "max" if metric == "cells_per_s" else "min"
    return "max" if HIGHER_IS_BETTER.get(metric.removeprefix("val_"), True) else "min"


def ranked_rows(rows: Sequence[Row], study: Study) -> list[Row]:
    """Trials that compete: finished, with every objective known, at the largest budget that any of them was given.

    A trial stopped early had less, and so had one whose point names fewer steps.
    """
    able = [
        row
        for row in rows
        if row["status"] == "finished" and all(row.get(each.name) is not None for each in study.objectives)
    ]
    most = max((budget(row) for row in able), default=())
    return [row for row in able if budget(row) == most]


def budget(row: Mapping[str, Any]) -> tuple[float, ...]:
    """What a trial was given, as far as its study varies it."""
    return tuple(row.get(address) or 0 for address in BUDGETS)


def best_row(rows: Sequence[Row], study: Study) -> Row | None:
    """The best of the trials that compete, by the first objective (of a front: its end of highest score)."""
    first = study.objectives[0]
    return max(ranked_rows(rows, study), key=lambda row: first.sign * row[first.name], default=None)


def front_rows(rows: Sequence[Row], study: Study) -> list[Row]:
    """The trials that no other beats in one objective without losing in the other; of one objective: the best."""
    if len(study.objectives) == 1:
        best = best_row(rows, study)
        return [] if best is None else [best]
    able = ranked_rows(rows, study)
    values = np.array([[each.sign * row[each.name] for each in study.objectives] for row in able], float)
    return [row for row, on in zip(able, pareto_front(values), strict=True) if on]
