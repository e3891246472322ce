"""Per-gene sums over the kept cells of a spool, one pass each."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from scbig_dist.store.jit import jit
from scbig_dist.store.spool import Spool

Advance = Callable[[int], None]  # told how many cells are done


class Moments(NamedTuple):
    n_cells: np.ndarray  # int64, cells in which the gene is detected
    sums: np.ndarray  # float64
    squares: np.ndarray


def gene_moments(spool: Spool, kept: np.ndarray, scale: np.ndarray | None, n_genes: int, advance: Advance) -> Moments:
    """Moments of count × scale[cell] over cells with `kept`; of the counts where `scale` is None."""
    scale = np.ones(len(kept)) if scale is None else scale
    moments = Moments(np.zeros(n_genes, dtype=np.int64), np.zeros(n_genes), np.zeros(n_genes))
    for start, rows in spool.chunks():
        n_rows = len(rows.pointer) - 1
        part = slice(start, start + n_rows)
        _add(*rows, kept[part], scale[part], *moments)
        advance(n_rows)
    return moments


def clipped_moments(
    spool: Spool, kept: np.ndarray, clip: np.ndarray, advance: Advance
) -> tuple[np.ndarray, np.ndarray]:
    """Sums and sums of squares of min(count, clip[gene])."""
    sums, squares = np.zeros(len(clip)), np.zeros(len(clip))
    for start, rows in spool.chunks():
        n_rows = len(rows.pointer) - 1
        _add_clipped(*rows, kept[start : start + n_rows], clip, sums, squares)
        advance(n_rows)
    return sums, squares


@jit
def _add(pointer, genes, counts, kept, scale, n_cells, sums, squares):
    for row in range(len(kept)):
        if kept[row]:
            for i in range(pointer[row], pointer[row + 1]):
                value = counts[i] * scale[row]
                n_cells[genes[i]] += 1
                sums[genes[i]] += value
                squares[genes[i]] += value * value


@jit
def _add_clipped(pointer, genes, counts, kept, clip, sums, squares):
    for row in range(len(kept)):
        if kept[row]:
            for i in range(pointer[row], pointer[row + 1]):
                value = min(np.float64(counts[i]), clip[genes[i]])
                sums[genes[i]] += value
                squares[genes[i]] += value * value
