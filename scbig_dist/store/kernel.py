"""Rows of memory-mapped shards, gathered or scattered into dense buffers: the loops that training waits for.

What makes them fast: all shards in one call by base address; the first cache lines of a row are asked for while rows
before it are written (random rows are never in a cache); a line is zeroed a piece at a time, just before the piece
is written to, so that it is still in the nearest cache; genes rise, so eight entries take one test for the piece's
end; the values of small counts come from a table, whose logarithms are computed once per row.
"""

from __future__ import annotations

import numpy as np
from numba import carray

from scbig_dist.store.jit import jit
from scbig_dist.store.memory import bits, memory, number, prefetch

PIECE = 2048  # columns zeroed at a time: 8 KB
AHEAD = 8  # rows
AHEAD_LINES = 8  # cache lines of genes and of counts; the processor asks for those that follow
N_TABLE = 32  # counts below it are looked up
LN2 = 0.6931471805599453
ROOT_HALF = 0x3FE6A09E667F3BCD  # the bits of sqrt(1/2)


@jit
def log1p(x):
    """log(1 + x) for x ≥ 0, within 2e-8 of the true value for x ≥ 1e-8; without a branch, so that loops vectorise."""
    one_more = bits(1.0 + x)
    exponent = (one_more - ROOT_HALF) >> 52
    mantissa = number(one_more - (exponent << 52))  # between sqrt(1/2) and sqrt(2)
    s = (mantissa - 1.0) / (mantissa + 1.0)
    z = s * s
    series = 2.0 + z * (2 / 3 + z * (2 / 5 + z * (2 / 7 + z * (2 / 9 + z * (2 / 11)))))
    return exponent * LN2 + s * series


@jit
def locate(cells, first, addresses, target_sum):
    """Where the rows of `cells` lie, int64 (row, 4): addresses of the shard's genes and counts, first entry, entries; and target_sum / total.

    cells: int64 positions in store order, checked by the caller. first: int64 (shard + 1,), the first cell of each
    shard. addresses: int64 (shard, 4), where a shard's row pointer, genes, counts and totals begin.
    A cell without counts has the scale 0.
    """
    n = len(cells)
    rows = np.empty((n, 4), dtype=np.int64)
    scales = np.empty(n, dtype=np.float64)
    for row in range(n):
        shard = np.searchsorted(first, cells[row], side="right") - 1
        rows[row, 0] = shard
        prefetch(addresses[shard, 0] + 8 * (cells[row] - first[shard]))
        prefetch(addresses[shard, 3] + 8 * (cells[row] - first[shard]))
    for row in range(n):
        shard = rows[row, 0]
        cell = cells[row] - first[shard]
        pointer = carray(memory(addresses[shard, 0] + 8 * cell), (2,), np.int64)
        total = carray(memory(addresses[shard, 3] + 8 * cell), (1,), np.float64)[0]
        rows[row, 0], rows[row, 1] = addresses[shard, 1], addresses[shard, 2]
        rows[row, 2], rows[row, 3] = pointer[0], pointer[1] - pointer[0]
        scales[row] = target_sum / total if total > 0 else 0.0
    return rows, scales


@jit
def _ask(rows, row, size):
    """Prefetch the head of a row's genes (uint16) and counts (of `size` bytes)."""
    if row < len(rows):
        genes, counts = rows[row, 0] + 2 * rows[row, 2], rows[row, 1] + size * rows[row, 2]
        for k in range(min(AHEAD_LINES, (2 * rows[row, 3] + 63) >> 6)):
            prefetch(genes + 64 * k)
        for k in range(min(AHEAD_LINES, (size * rows[row, 3] + 63) >> 6)):
            prefetch(counts + 64 * k)


@jit
def scatter(cells, first, addresses, n_genes, narrow, normalized, target_sum, out):
    """Write the rows of `cells` over the first `n_genes` store columns into `out`.

    Arguments as of `locate`; narrow: whether counts are uint16, else uint32. out: (cell, n_genes), overwritten;
    float32, or for raw counts any type that holds them. Normalised values are log1p(count * target_sum / total).
    """
    rows, scales = locate(cells, first, addresses, target_sum)
    size = 2 if narrow else 4
    table = np.arange(N_TABLE).astype(np.float32)
    for row in range(min(AHEAD, len(rows))):
        _ask(rows, row, size)
    for row in range(len(rows)):
        _ask(rows, row + AHEAD, size)
        begin, length = rows[row, 2], rows[row, 3]
        genes = carray(memory(rows[row, 0] + 2 * begin), (length,), np.uint16)
        if normalized:
            for count in range(N_TABLE):
                table[count] = log1p(count * scales[row])
        if narrow:
            counts = carray(memory(rows[row, 1] + 2 * begin), (length,), np.uint16)
            _row(genes, counts, n_genes, normalized, scales[row], table, out[row])
        else:
            wide = carray(memory(rows[row, 1] + 4 * begin), (length,), np.uint32)
            _row(genes, wide, n_genes, normalized, scales[row], table, out[row])


@jit
def _row(genes, counts, n_genes, normalized, scale, table, line):
    i, start, length = 0, 0, len(genes)
    while start < n_genes:
        stop = min(start + PIECE, n_genes)
        line[start:stop] = 0
        while i + 8 <= length and genes[i + 7] < stop:
            for j in range(i, i + 8):
                line[genes[j]] = _value(counts[j], normalized, scale, table)
            i += 8
        while i < length and genes[i] < stop:
            line[genes[i]] = _value(counts[i], normalized, scale, table)
            i += 1
        start = stop


@jit
def _value(count, normalized, scale, table):
    if count < N_TABLE:
        return table[count]
    return np.float32(log1p(count * scale)) if normalized else np.float32(count)


@jit
def pointers(rows, n_genes):
    """int64 (row + 1,): where each row begins once rows are cut to the first `n_genes` columns and joined."""
    pointer = np.zeros(len(rows) + 1, dtype=np.int64)
    for row in range(len(rows)):
        low, high = 0, rows[row, 3]
        genes = carray(memory(rows[row, 0] + 2 * rows[row, 2]), (high,), np.uint16)
        while low < high:
            middle = (low + high) >> 1
            if genes[middle] < n_genes:
                low = middle + 1
            else:
                high = middle
        pointer[row + 1] = pointer[row] + low
    return pointer


@jit
def gather(rows, pointer, genes, counts):
    """Copy rows that `locate` found, cut by `pointers`, to genes (uint16) and counts (the shards' type)."""
    for row in range(len(rows)):
        _ask(rows, row + AHEAD, counts.itemsize)
        begin, length = rows[row, 2], pointer[row + 1] - pointer[row]
        genes[pointer[row] : pointer[row + 1]] = carray(memory(rows[row, 0] + 2 * begin), (length,), np.uint16)
        source = carray(memory(rows[row, 1] + counts.itemsize * begin), (length,), counts.dtype)
        counts[pointer[row] : pointer[row + 1]] = source
