"""Differential expression: Wilcoxon rank-sum with tie correction by the engine of pdex, Benjamini–Hochberg by scipy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.stats import false_discovery_control

Array = NDArray[np.float64]

ALPHA = 0.05
METHOD = (
    "Wilcoxon rank-sum (numba-mwu), normal approximation, tie-corrected, without continuity correction, two-sided; "
    "Benjamini-Hochberg over panel genes"
)


def index_control(control: NDArray[np.float32]) -> Any:
    """Control cells (cell, gene), none negative, as `rank_sum_p` takes them: each gene sorted, once for all conditions."""
    from numba_mwu import sparse_column_index  # compiled anew in every process: what is kept spares it

    return sparse_column_index(_sparse(control))


def rank_sum_p(cells: NDArray[np.float32], control: Any, threads: int = 1) -> Array:
    """Two-sided p per gene of a condition's cells (cell, gene), none negative, against `index_control(control)`.

    The normal approximation without continuity correction, its variance corrected for ties:
    scanpy's `rank_genes_groups(method="wilcoxon", tie_correct=True)`, and scipy's
    `mannwhitneyu(method="asymptotic", use_continuity=False)`. pdex, and so cell-eval, corrects
    for continuity, which makes every p a little larger. A gene that is constant over all cells
    has p 1. NaN where a side is empty. Not for several Python threads at once.
    """
    from numba_mwu import mannwhitneyu_sparse

    if min(len(cells), control.n_rows) == 0:
        return np.full(control.n_cols, np.nan)
    with _threads(threads):
        p = mannwhitneyu_sparse(_sparse(cells), control, use_continuity=False).pvalue
    return np.where(np.isnan(p), 1.0, p)


def significant_genes(p: Array, alpha: float = ALPHA) -> NDArray[np.bool_]:
    """(condition, gene): adjusted p below alpha, adjusted over genes within each condition."""
    known = np.where(np.isnan(p), 1.0, p)
    return false_discovery_control(known, axis=1, method="bh") < alpha


def _sparse(cells: NDArray[np.float32]) -> csr_matrix:
    return csr_matrix(cells.astype(np.float64))


@contextmanager
def _threads(n: int) -> Iterator[None]:
    """At most n of numba's threads, genes side by side."""
    before = numba.get_num_threads()
    numba.set_num_threads(min(n, before))
    try:
        yield
    finally:
        numba.set_num_threads(before)
