"""How sure a mean over conditions is: standard error, bootstrap interval, paired test, spread over seeds.

Values are (condition,), or (condition, repeat) where conditions were scored more than once (in
several splits, say); NaN where there is no value. A condition is what is resampled and what is
paired: cells of one condition, and repeats of it, are no independent evidence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LEVEL = 0.95
N_RESAMPLES = 10_000
_BLOCK = 4_000_000  # weights in memory at a time


@dataclass(frozen=True)
class Estimate:
    """A mean over conditions, its standard error, and its percentile bootstrap interval at LEVEL.

    `n` conditions have a value, `n_undefined` have none and are in nothing here. The mean is NaN
    without a value, the others are with fewer than two.
    """

    mean: float
    se: float
    low: float
    high: float
    n: int
    n_undefined: int


@dataclass(frozen=True)
class PairedTest:
    """Wilcoxon's two-sided p of `n` pairs, of which `n_ties` are equal; `n_undefined` lack a side."""

    p: float
    n: int
    n_ties: int
    n_undefined: int


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation (n − 1) over repeats; the latter NaN for one."""

    mean: float
    sd: float
    n: int


def estimates(
    table: Mapping[str, Array], rng: np.random.Generator, n_resamples: int = N_RESAMPLES
) -> dict[str, Estimate]:
    """An `Estimate` for every column of {name: (condition,) or (condition, repeat)}, all over the same conditions.

    All columns share the resampled conditions, so their intervals are those of one experiment.
    A resample's mean leaves undefined values out, like the mean itself. Where conditions have
    several values, all values count equally and a condition is drawn with all of its own: the
    cluster bootstrap, and the linearised standard error of a ratio (SD/√n for one value each).
    """
    if not table:
        return {}
    columns = [values[:, None] if values.ndim == 1 else values for values in table.values()]
    sums = np.stack([np.nansum(values, axis=1) for values in columns], axis=1)
    counts = np.stack([(~np.isnan(values)).sum(axis=1) for values in columns], axis=1).astype(np.float64)
    n = (counts > 0).sum(axis=0)
    means = _ratio(sums.sum(axis=0), counts.sum(axis=0))
    residuals = sums - means * counts
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = np.sqrt(n / (n - 1.0) * (residuals**2).sum(axis=0)) / counts.sum(axis=0)
    low, high = _percentiles(_resampled_means(sums, counts, rng, n_resamples))
    few = n < 2
    for values in (errors, low, high):
        values[few] = np.nan
    return {
        name: Estimate(
            float(means[i]), float(errors[i]), float(low[i]), float(high[i]), int(n[i]), int(len(sums) - n[i])
        )
        for i, name in enumerate(table)
    }


def paired_test(a: Array, b: Array) -> PairedTest:
    """Wilcoxon's signed-rank test of a − b over conditions; (condition, repeat) is averaged over repeats first.

    Equal pairs are left out (Wilcoxon's own rule) and counted; all equal is p 1. Up to 50 pairs
    without ties the p is exact, else the normal approximation. NaN without a pair.
    """
    difference = (a - b)[:, None] if a.ndim == 1 else a - b
    difference = _ratio(np.nansum(difference, axis=1), (~np.isnan(difference)).sum(axis=1))
    known = difference[~np.isnan(difference)]
    moved = known[known != 0]
    from scipy.stats import wilcoxon  # half a second, which a reader without pairs does not wait for

    p = float(wilcoxon(moved).pvalue) if len(moved) else 1.0 if len(known) else np.nan
    return PairedTest(p, len(known), len(known) - len(moved), len(difference) - len(known))


def holm(p: Sequence[float] | Array) -> Array:
    """Holm's step-down correction over all comparisons made; NaN stays NaN and counts as none."""
    p = np.asarray(p, dtype=np.float64)
    adjusted = np.full(len(p), np.nan)
    order = np.argsort(p)[: int((~np.isnan(p)).sum())]  # NaN sorts last
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def over_repeats(values: Sequence[float | None] | Array) -> Spread:
    """Mean ± SD of one score per seed; seeds without a value are left out of `n`."""
    known = np.array([value for value in values if value is not None and not np.isnan(value)])
    if not len(known):
        return Spread(np.nan, np.nan, 0)
    return Spread(float(known.mean()), float(known.std(ddof=1)) if len(known) > 1 else np.nan, len(known))


def _resampled_means(sums: Array, counts: Array, rng: np.random.Generator, n_resamples: int) -> Array:
    """(resample, column): means of conditions drawn with replacement, as many as there are."""
    n = len(sums)
    if n == 0:
        return np.full((1, sums.shape[1]), np.nan)
    means, rows = [], max(_BLOCK // n, 1)
    for start in range(0, n_resamples, rows):
        times = rng.multinomial(n, np.full(n, 1.0 / n), size=min(rows, n_resamples - start)).astype(np.float64)
        means.append(_ratio(times @ sums, times @ counts))
    return np.concatenate(means)


def _percentiles(means: Array) -> tuple[Array, Array]:
    """The interval's ends per column; resamples that drew no defined condition are left out."""
    ends = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    low, high = np.quantile(means, ends, axis=0)
    for column in np.flatnonzero(np.isnan(means).any(axis=0)):
        known = means[~np.isnan(means[:, column]), column]
        low[column], high[column] = np.quantile(known, ends) if len(known) else (np.nan, np.nan)
    return low, high


def _ratio(top: Array, below: Array) -> Array:
    return np.divide(top, below, out=np.full(np.shape(top), np.nan), where=np.asarray(below) > 0)
