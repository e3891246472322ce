"""Differential expression: Wilcoxon rank-sum with tie correction, Benjamini–Hochberg."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr
from scipy.stats import false_discovery_control

from scbig_dist.metrics.jit import jit

Array = NDArray[np.float64]

ALPHA = 0.05
METHOD = "Wilcoxon rank-sum, normal approximation, tie-corrected, two-sided; Benjamini-Hochberg over panel genes"


def sort_control(control: NDArray[np.float32]) -> NDArray[np.float32]:
    """Control cells (cell, gene) as `rank_sum_p` takes them: (gene, cell), each gene ascending."""
    return np.sort(np.ascontiguousarray(control.T), axis=1)


def rank_sum_p(cells: NDArray[np.float32], sorted_control: NDArray[np.float32]) -> Array:
    """Two-sided p per gene of a condition's cells (cell, gene) against `sort_control(control)`.

    The normal approximation without continuity correction, its variance corrected for ties:
    scanpy's `rank_genes_groups(method="wilcoxon", tie_correct=True)`, and scipy's
    `mannwhitneyu(method="asymptotic", use_continuity=False)`. pdex, and so cell-eval, corrects
    for continuity, which makes every p a little larger. A gene that is constant over all cells
    has p 1. NaN where a side is empty.
    """
    n, m = len(cells), sorted_control.shape[1]
    if min(n, m) == 0:
        return np.full(len(sorted_control), np.nan)
    rank_sum, ties = _merge(np.sort(np.ascontiguousarray(cells.T), axis=1), sorted_control)
    total = n + m
    expected = n * (total + 1) / 2.0
    variance = n * m / 12.0 * ((total + 1) - ties / (total * (total - 1.0)))
    z = np.zeros(len(rank_sum))
    np.divide(np.abs(rank_sum - expected), np.sqrt(np.maximum(variance, 0.0)), out=z, where=variance > 1e-9)
    return np.minimum(2.0 * ndtr(-z), 1.0)


def significant_genes(p: Array, alpha: float = ALPHA) -> NDArray[np.bool_]:
    """(condition, gene): adjusted p below alpha, adjusted over genes within each condition."""
    known = np.where(np.isnan(p), 1.0, p)
    return false_discovery_control(known, axis=1, method="bh") < alpha


@jit
def _merge(x, y):
    """Rank sum of x among x and y, and Σ(t³ − t) over groups of t equal values, per row.

    Both (gene, cell), rows ascending: one walk over two sorted rows, no joint sort.
    """
    n_genes, n = x.shape
    m = y.shape[1]
    rank_sum = np.zeros(n_genes)
    ties = np.zeros(n_genes)
    for gene in range(n_genes):
        i, j = 0, 0
        while i < n or j < m:
            from_x = j >= m or (i < n and x[gene, i] <= y[gene, j])
            value = x[gene, i] if from_x else y[gene, j]
            before = i + j
            start = i
            while i < n and x[gene, i] == value:
                i += 1
            while j < m and y[gene, j] == value:
                j += 1
            t = float(i + j - before)
            rank_sum[gene] += (i - start) * (before + (t + 1.0) / 2.0)
            ties[gene] += t * t * t - t
    return rank_sum, ties
