"""Which trials of a study may be ranked together, and which of them no other beats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from scbig_dist.cluster.objectives import BUDGETS, Objective, budget
from scbig_dist.metrics.pareto import pareto_front
from scbig_dist.report.wording import is_missing


def competing(trials: pd.DataFrame, columns: Sequence[str]) -> pd.Series:
    """Whether each trial is ranked: finished, with a value in every column, at the largest budget that one of these had.

    A trial stopped early had less training, and so had one with fewer steps: neither stands beside the others.
    """
    rows = [{str(k): v for k, v in row.items()} for row in trials.to_dict("records")]
    able = [row.get("status") == "finished" and not any(is_missing(row.get(c)) for c in columns) for row in rows]
    given = [budget({a: None if is_missing(row.get(a)) else row[a] for a in BUDGETS}) for row in rows]
    most = max((each for each, is_able in zip(given, able, strict=True) if is_able), default=None)
    return pd.Series([is_able and each == most for each, is_able in zip(given, able, strict=True)], trials.index, bool)


def front_of(trials: pd.DataFrame, objectives: Sequence[Objective]) -> list[dict[str, Any]]:
    """The ranked trials that no other beats in one objective without losing in another, by the second of them."""
    able = trials[competing(trials, [each.name for each in objectives])]
    signed = np.array([[each.sign * float(row[each.name]) for each in objectives] for _, row in able.iterrows()])
    on_front = able[pareto_front(signed)].sort_values(objectives[-1].name, kind="stable")
    return [{str(k): v for k, v in row.items()} for row in on_front.to_dict("records")]
