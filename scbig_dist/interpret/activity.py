"""Activity of gene modules in cells: how far each moves, and which move together (table 5 of the paper).

The activity of a module in a cell is the mean of its genes' log-normalised expression. The paper does not define its
coactivation; here it is the Pearson correlation of two modules' activities over cells.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scbig_dist.interpret.bootstrap import Array, interval, resamples

BLOCK = 2_048  # pairs of modules whose resamples are in memory at a time


def module_activity(cells: NDArray[np.float32], module_of_gene: NDArray[np.int64]) -> Array:
    """(cell, module), modules with genes in the order of their labels."""
    _, row, sizes = np.unique(module_of_gene, return_inverse=True, return_counts=True)
    means = np.zeros((len(row), len(sizes)))
    means[np.arange(len(row)), row] = 1 / sizes[row]
    return np.asarray(cells @ means, dtype=np.float64)


def activity_shift(perturbed: Array, control: Array, rng: np.random.Generator) -> pd.DataFrame:
    """Mean activity (cell, module) minus control's, by module, with its bootstrap interval over both groups of cells."""
    drawn = resamples(len(perturbed), rng) @ perturbed - resamples(len(control), rng) @ control
    low, high = interval(drawn)
    return pd.DataFrame({"shift": perturbed.mean(0) - control.mean(0), "shift_low": low, "shift_high": high})


def coactivation(perturbed: Array, control: Array, rng: np.random.Generator) -> pd.DataFrame:
    """Every pair of modules (columns `a`, `b`: their rows), in both groups of cells, (cell, module) each.

    `coactivation` with its interval and `positive_rate`, the share of resamples where it is above 0; `control`, the
    same pair's in the control cells; `change` from there with its interval. NaN where a module does not vary.
    """
    first, second = np.triu_indices(perturbed.shape[1], k=1)
    weights = resamples(len(perturbed), rng), resamples(len(control), rng)
    blocks = []
    for start in range(0, len(first), BLOCK):
        pairs = first[start : start + BLOCK], second[start : start + BLOCK]
        one, other = (_correlations(z, pairs, w) for z, w in zip((perturbed, control), weights, strict=True))
        low, high = interval(one[1:])
        change_low, change_high = interval(one[1:] - other[1:])
        rate = np.where(np.isnan(one).any(0), np.nan, (one[1:] > 0).mean(0))
        blocks.append((one[0], low, high, rate, other[0], one[0] - other[0], change_low, change_high))
    names = ("coactivation", "low", "high", "positive_rate", "control", "change", "change_low", "change_high")
    columns = np.concatenate(blocks, axis=1) if blocks else np.zeros((len(names), 0))
    return pd.DataFrame({"a": first, "b": second} | dict(zip(names, columns, strict=True)))


def _correlations(z: Array, pairs: tuple[NDArray[np.int64], NDArray[np.int64]], weights: Array) -> Array:
    """(1 + resample, pair): Pearson correlations over the cells as they are, then as they are drawn again."""
    whole = np.full((1, len(z)), 1 / len(z))
    centred = z - z.mean(0)
    scale = centred.std(0)
    varies = scale > 1e-6 * np.abs(z).mean(0) + 1e-12
    unit = centred / np.where(varies, scale, np.nan)
    every = np.concatenate([whole, weights])
    means, squares = every @ unit, every @ np.square(unit)
    variances = squares - np.square(means)
    a, b = pairs
    covariances = every @ (unit[:, a] * unit[:, b]) - means[:, a] * means[:, b]
    with np.errstate(divide="ignore", invalid="ignore"):
        # Few cells drawn again may all be one cell: its correlation is 0/0, and so is undefined.
        return np.clip(covariances / np.sqrt(np.maximum(variances[:, a] * variances[:, b], 0)), -1, 1)
