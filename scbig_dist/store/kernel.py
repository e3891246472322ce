"""Rows of memory-mapped shards scattered into a dense buffer: the one loop that training waits for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, types
from numba.core import cgutils
from numba.extending import intrinsic

from scbig_dist.store.jit import jit

N_TABLE = 64  # counts below it share one logarithm per cell


def _memory(typing_context, address):
    """The memory at an integer address."""

    def build(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(address), build


_pointer: Any = intrinsic(_memory)


@jit
def scatter(cells, first, addresses, n_genes, narrow, normalized, target_sum, out):
    """Write the rows of `cells` over the first `n_genes` store columns into `out`.

    cells: int64 positions in store order, checked by the caller. first: int64 (shard + 1,), the first
    cell of each shard. addresses: int64 (shard, 4), where a shard's row pointer, genes, counts and
    totals begin. narrow: whether counts are uint16. out: float32 (cell, n_genes), overwritten.
    Normalised values are log1p(count * target_sum / total); raw ones the counts.
    """
    table = np.empty(N_TABLE, dtype=np.float32)
    known = np.full(N_TABLE, -1, dtype=np.int64)  # the row that a logarithm was computed for
    for row in range(len(cells)):
        line = out[row]
        line[:] = 0
        shard = np.searchsorted(first, cells[row], side="right") - 1
        n_cells = first[shard + 1] - first[shard]
        cell = cells[row] - first[shard]
        rows = carray(_pointer(addresses[shard, 0]), (n_cells + 1,), np.int64)
        begin, length = rows[cell], rows[cell + 1] - rows[cell]
        genes = carray(_pointer(addresses[shard, 1] + 2 * begin), (length,), np.uint16)
        total = carray(_pointer(addresses[shard, 3]), (n_cells,), np.float64)[cell]
        scale = target_sum / total if total > 0 else 0.0
        if narrow:
            counts = carray(_pointer(addresses[shard, 2] + 2 * begin), (length,), np.uint16)
            _row(genes, counts, length, n_genes, normalized, scale, row, table, known, line)
        else:
            wide = carray(_pointer(addresses[shard, 2] + 4 * begin), (length,), np.uint32)
            _row(genes, wide, length, n_genes, normalized, scale, row, table, known, line)


@jit
def _row(genes, counts, length, n_genes, normalized, scale, row, table, known, line):
    for i in range(length):
        gene = genes[i]
        if gene >= n_genes:  # genes rise: the rest lies outside the panel
            break
        count = counts[i]
        if not normalized:
            line[gene] = count
        elif count < N_TABLE:
            if known[count] != row:
                known[count] = row
                table[count] = np.log1p(count * scale)
            line[gene] = table[count]
        else:
            line[gene] = np.log1p(count * scale)
