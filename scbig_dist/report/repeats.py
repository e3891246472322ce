"""Trials that differ in `train.seed` alone: their mean, and how far seeds move them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

import pandas as pd

from scbig_dist.report.wording import is_missing

SEED = "train.seed"


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation (n − 1) over `n` seeds; no deviation for one."""

    mean: float
    sd: float | None
    n: int


def spread(rows: Sequence[dict[str, Any]], column: str) -> Spread | None:
    """Of the rows where the column has a value. A row that is itself a mean over seeds brings its own deviation."""
    values = [float(row[column]) for row in rows if not is_missing(row.get(column))]
    if not values:
        return None
    if len(values) == 1:
        own = rows[0].get(f"{column}_sd")
        return Spread(values[0], None if is_missing(own) else float(own), n_seeds(rows))  # type: ignore[arg-type]
    return Spread(mean(values), stdev(values), len(values))


def n_seeds(rows: Sequence[dict[str, Any]]) -> int:
    """Seeds behind rows that are alike: a row each, or one row that is a mean over several."""
    own = rows[0].get("seeds") if len(rows) == 1 else None
    return len(rows) if is_missing(own) else int(own)  # type: ignore[arg-type]


def alike(trials: pd.DataFrame, axes: Sequence[str], like: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """The finished trials that agree with `like` in name and on every axis but the seed."""
    others = [axis for axis in (*axes, "name") if axis != SEED and axis in trials]
    rows = [{str(k): v for k, v in row.items()} for row in trials.to_dict("records")]
    done = [row for row in rows if row.get("status") == "finished"]
    return done if like is None else [row for row in done if all(_same(row[a], like.get(a)) for a in others)]


def groups(trials: pd.DataFrame, axes: Sequence[str]) -> list[list[dict[str, Any]]]:
    """The finished trials, those that differ in the seed alone together, in the table's order."""
    found: list[list[dict[str, Any]]] = []
    for row in alike(trials, axes):
        if not any(row["trial"] == other["trial"] for group in found for other in group):
            found.append(alike(trials, axes, row))
    return found


def seeded(trials: pd.DataFrame) -> bool:
    """Whether trials were repeated with other seeds, not only given seeds of their own."""
    if "seeds" in trials and (trials["seeds"] > 1).any():
        return True
    return SEED in trials and any(len(group) > 1 for group in groups(trials, [c for c in trials if "." in str(c)]))


def _same(a: Any, b: Any) -> bool:
    return (is_missing(a) and is_missing(b)) or a == b
