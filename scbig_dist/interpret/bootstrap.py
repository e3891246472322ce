"""Intervals by drawing cells again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

N_BOOTSTRAP = 1_000
LEVEL = 0.95


def resamples(n_cells: int, rng: np.random.Generator, n: int = N_BOOTSTRAP) -> Array:
    """Weights (resample, cell), rows of sum 1: how often each cell is drawn, with replacement, ÷ number of cells."""
    return rng.multinomial(n_cells, np.full(n_cells, 1 / n_cells), size=n) / n_cells


def interval(values: Array) -> tuple[Array, Array]:
    """The 95 % percentile interval over the first axis; NaN where a resample has no value."""
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return low, high
