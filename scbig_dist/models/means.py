"""Mean profiles of conditions, straight from the cell store."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scbig_dist.conditions import Condition
from scbig_dist.store.reader import Store

BLOCK = 1024  # cells that are dense in memory at a time


def mean_of_cells(store: Store, cells: NDArray[np.int64], n_genes: int) -> NDArray[np.float64]:
    """Mean log-normalised expression of the cells, (gene,); NaN where there are none."""
    if len(cells) == 0:
        return np.full(n_genes, np.nan)
    total = np.zeros(n_genes)
    for start in range(0, len(cells), BLOCK):
        total += store.dense(cells[start : start + BLOCK], n_genes).sum(axis=0, dtype=np.float64)
    return total / len(cells)


def mean_profiles(store: Store, conditions: Sequence[Condition], n_genes: int) -> NDArray[np.float64]:
    """Mean log-normalised expression over all cells of each condition, (condition, gene)."""
    profiles = [mean_of_cells(store, store.cells(condition), n_genes) for condition in conditions]
    return np.array(profiles).reshape(len(conditions), n_genes)


def control_profiles(store: Store, conditions: Sequence[Condition], n_genes: int) -> NDArray[np.float64]:
    """The control mean of each condition's own context, (condition, gene)."""
    contexts = sorted({condition.context for condition in conditions})
    profiles = mean_profiles(store, [store.control(context) for context in contexts], n_genes)
    return profiles[[contexts.index(condition.context) for condition in conditions]]


def target_columns(store: Store, condition: Condition, n_genes: int) -> NDArray[np.int64]:
    """Panel columns of the condition's own targets; targets outside the panel are left out."""
    genes = store.genes[:n_genes]
    return np.array([genes.index(target) for target in condition.targets if target in genes], dtype=np.int64)
