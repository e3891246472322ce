"""Methods against each other, condition by condition: intervals of differences, and tests corrected for their number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from scbig_dist.metrics.statistics import Estimate, PairedTest, Spread, estimates, holm, over_repeats, paired_test
from scbig_dist.metrics.summary import best
from scbig_dist.report.compared_runs import Array, Entry

SEED = 0


@dataclass(frozen=True)
class Against:
    """An entry minus the reference over the conditions that both have."""

    difference: Estimate
    test: PairedTest
    p_holm: float
    """The test's p, corrected for all tests of the comparison."""
    pairs: Array
    """(condition,), the differences, NaN where a side is undefined."""


@dataclass(frozen=True)
class Line:
    """One entry on one metric; `against` None for the reference itself."""

    metric: str
    name: str
    value: Estimate
    runs: Spread
    against: Against | None


@dataclass(frozen=True)
class Comparison:
    """Lines by metric in the order asked for, then by entry; `references` is {metric: the entry that others are held against}."""

    lines: list[Line]
    references: dict[str, str]
    n_conditions: int
    n_splits: int

    @property
    def n_tests(self) -> int:
        """Tests that Holm's correction counts: those with a p."""
        return sum(line.against is not None and not math.isnan(line.against.test.p) for line in self.lines)

    def of(self, metric: str) -> list[Line]:
        return [line for line in self.lines if line.metric == metric]

    def as_json(self) -> dict[str, Any]:
        """Everything but the single pairs; None where undefined."""
        rows = []
        for line in self.lines:
            row = asdict(line)
            if row["against"] is not None:
                row["against"].pop("pairs")
            rows.append(_finite(row))
        return {
            "references": self.references,
            "n_conditions": self.n_conditions,
            "n_splits": self.n_splits,
            "lines": rows,
        }


def compare(entries: Sequence[Entry], metrics: Sequence[str], to_best: bool = False) -> Comparison:
    """Every entry with its interval on every metric, and its paired difference to the first entry or to the best one.

    Conditions are the units: of resampling, and of Wilcoxon's signed-rank test, whose p-values are
    Holm-corrected over all tests made here. A condition in several splits is one unit.
    """
    index = entries[0].conditions
    lines, references = [], {}
    for metric in metrics:
        values = {entry.name: entry.values(metric, index) for entry in entries}
        means = estimates(values, np.random.default_rng(SEED))
        winner = min(best({name: value.mean for name, value in means.items()}, metric), default=entries[0].name)
        reference = references[metric] = winner if to_best else entries[0].name
        others = {name: value - values[reference] for name, value in values.items() if name != reference}
        differences = estimates(others, np.random.default_rng(SEED))
        for entry in entries:
            against = None
            if entry.name in others:
                test = paired_test(values[entry.name], values[reference])
                against = Against(differences[entry.name], test, math.nan, _mean_over_splits(others[entry.name]))
            lines.append(
                Line(metric, entry.name, means[entry.name], over_repeats(entry.macro[metric].to_numpy()), against)
            )
    n_splits = len(entries[0].scores.index.get_level_values("split").unique())
    return Comparison(_corrected(lines), references, len(index), n_splits)


def _corrected(lines: list[Line]) -> list[Line]:
    tested = [line.against for line in lines if line.against is not None]
    p = iter(holm([against.test.p for against in tested]))
    return [
        line if line.against is None else replace(line, against=replace(line.against, p_holm=float(next(p))))
        for line in lines
    ]


def _mean_over_splits(values: Array) -> Array:
    known = ~np.isnan(values)
    return np.divide(
        np.nansum(values, axis=1), known.sum(axis=1), out=np.full(len(values), np.nan), where=known.any(axis=1)
    )


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value
