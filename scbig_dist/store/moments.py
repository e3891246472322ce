"""Per-gene sums over the kept cells of a spool, one pass each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from scbig_dist.store.jit import jit
from scbig_dist.store.spool import SpoolPart
from scbig_dist.store.workers import Run

Advance = Callable[[int], None]  # told how many cells are done


class Moments(NamedTuple):
    n_cells: np.ndarray  # int64, cells in which the gene is detected
    sums: np.ndarray  # float64
    squares: np.ndarray


class MomentsItem(NamedTuple):
    spool: SpoolPart
    kept: np.ndarray  # bool per cell
    scale: np.ndarray | None  # float64 per cell


class Pass(NamedTuple):
    """The cells to sum over, and the workers that do it."""

    run: Run
    spool: Sequence[SpoolPart]
    kept: np.ndarray  # bool, per cell of all files
    n_genes: int
    advance: Advance

    def total(self, function: Callable, shared: object, scale: np.ndarray | None = None) -> Moments:
        """The sum of the parts' moments, always in the order of the parts: the same bits whoever does it."""
        cuts = [slice(part.first, part.first + part.n_cells) for part in self.spool]
        items = (
            MomentsItem(part, self.kept[cut], None if scale is None else scale[cut])
            for part, cut in zip(self.spool, cuts, strict=True)
        )
        whole = _zeros(self.n_genes)
        for part, found in zip(self.spool, self.run(function, shared, items), strict=True):
            for total, own in zip(whole, found, strict=True):
                total += own
            self.advance(part.n_cells)
        return whole


def gene_moments(cells: Pass, scale: np.ndarray | None) -> Moments:
    """Moments of count × scale[cell]; of the counts where `scale` is None."""
    return cells.total(part_moments, cells.n_genes, scale)


def clipped_moments(cells: Pass, clip: np.ndarray) -> Moments:
    """Moments of min(count, clip[gene])."""
    return cells.total(part_clipped, clip)


def part_moments(n_genes: int, item: MomentsItem) -> Moments:
    moments = _zeros(n_genes)
    scale = np.ones(item.spool.n_cells) if item.scale is None else item.scale
    _add(*item.spool.rows(), item.kept, scale, *moments)
    return moments


def part_clipped(clip: np.ndarray, item: MomentsItem) -> Moments:
    moments = _zeros(len(clip))
    _add_clipped(*item.spool.rows(), item.kept, clip, *moments)
    return moments


def _zeros(n_genes: int) -> Moments:
    return Moments(np.zeros(n_genes, dtype=np.int64), np.zeros(n_genes), np.zeros(n_genes))


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
def _add_clipped(pointer, genes, counts, kept, clip, n_cells, sums, squares):
    for row in range(len(kept)):
        if kept[row]:
            for i in range(pointer[row], pointer[row + 1]):
                value = min(np.float64(counts[i]), clip[genes[i]])
                n_cells[genes[i]] += 1
                sums[genes[i]] += value
                squares[genes[i]] += value * value
