"""Several runs that differ in their seed, scored together: mean ± SD over seeds."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from scbig_dist.artifacts import write_text
from scbig_dist.evaluate.record import Table
from scbig_dist.metrics.statistics import Spread, over_repeats

FILE = "seed_scores.json"

Spreads = dict[str, dict[str, Spread]]


def evaluate_seeds(folder: Path, runs: Sequence[Path], score: Callable[[Path], Table]) -> Spreads:
    """Score every run of a directory of seeds, and write `seed_scores.json` beside them."""
    tables = {run.name: score(run) for run in runs}
    spreads = spread_of(list(tables.values()))
    text = {
        method: {
            name: {
                "mean": _known(spread.mean),
                "sd": _known(spread.sd),
                "n": spread.n,
                "runs": _values(tables, method, name),
            }
            for name, spread in row.items()
        }
        for method, row in spreads.items()
    }
    write_text(folder / FILE, json.dumps(text, indent=1, allow_nan=False))
    return spreads


def spread_of(tables: Sequence[Table]) -> Spreads:
    """Mean ± SD of every method's metrics over tables; a method stands where the first table has it."""
    return {
        method: {name: over_repeats([table.get(method, {}).get(name) for table in tables]) for name in row}
        for method, row in tables[0].items()
    }


def most_undefined(runs: Sequence[Path]) -> dict[str, dict[str, int]]:
    """Conditions without a value by method and metric, in the run that has most of them."""
    most: dict[str, dict[str, int]] = {}
    for run in runs:
        for method, counts in json.loads((run / "scores_meta.json").read_text())["undefined"].items():
            for name, n in counts.items():
                row = most.setdefault(method, {})
                row[name] = max(n, row.get(name, 0))
    return most


def _values(tables: Mapping[str, Table], method: str, name: str) -> dict[str, float | None]:
    return {run: table.get(method, {}).get(name) for run, table in tables.items()}


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
