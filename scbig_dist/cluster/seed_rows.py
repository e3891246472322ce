"""One row from the rows of a trial's seeds: means, with their standard deviation beside each score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scbig_dist.cluster.objectives import Row
from scbig_dist.metrics.statistics import over_repeats

SUMS = ("seconds_total",)  # what the trial cost in all
PEAKS = ("peak_mem_gb", "peak_gpu_gb")
MEANS = ("step_ms", "autoencoder_step_ms", "cells_per_s", "seconds_autoencoder", "seconds_flow")  # of one training
SCORES = ("val_", "test_")


def mean_scores(tables: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """{score: mean, score_sd: standard deviation (n − 1)} over seeds.

    A score that a seed lacks has no mean: one over fewer seeds would not compare with other trials'.
    """
    means: dict[str, float | None] = {}
    for name in dict.fromkeys(name for table in tables for name in table):
        values = [table.get(name) for table in tables]
        spread = None if None in values else over_repeats(values)
        means[name] = None if spread is None else spread.mean
        means[f"{name}_sd"] = None if spread is None or len(values) < 2 else spread.sd
    return means


def over_seeds(trial: str, rows: Sequence[Row], n_seeds: int) -> Row:
    """The row of a trial from those of its seeds, in their order.

    A seed that failed or was stopped is the trial's end: its row is the trial's. The time to
    the first step is the first seed's.
    """
    last, first = rows[-1], rows[0]
    total = {name: _known(sum, rows, name) for name in SUMS}
    if last["status"] != "finished":
        reason = last["reason"] if last["status"] == "stopped" else f"{last['trial']}: {last['reason']}"
        return last | total | {"trial": trial, "reason": reason, "seeds": len(rows)}
    assert len(rows) == n_seeds
    scores = [{name: value for name, value in row.items() if name.startswith(SCORES)} for row in rows]
    costs = {name: _known(np.mean, rows, name) for name in MEANS} | {name: _known(max, rows, name) for name in PEAKS}
    return first | mean_scores(scores) | costs | total | {"trial": trial, "seeds": n_seeds}


def _known(over: Any, rows: Sequence[Row], name: str) -> float | None:
    values = [row[name] for row in rows if row.get(name) is not None]
    return float(over(values)) if values else None
