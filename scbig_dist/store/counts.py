"""Counts must be counts: the one pass that reads a source checks every value and makes it small."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import sparse

from scbig_dist.errors import UserError
from scbig_dist.store.jit import jit
from scbig_dist.store.matrix import Matrix, RawRows
from scbig_dist.store.spool import Rows

MAX_COUNT = 2**32 - 1
FINE, UNSORTED, NO_COUNT = 0, 1, 2

Where = Callable[[int, int], str]  # names a cell and a gene of the block


def to_rows(raw: RawRows, column_of: np.ndarray, matrix: Matrix, where: Where) -> tuple[Rows, np.ndarray]:
    """(checked non-zero counts, their sum per cell).

    `column_of`: place of each gene of the file among the genes in use, -1 where it is not.
    Entries that stand twice are added. UserError at the first value that is no count.
    """
    values = raw.values.view(np.uint8) if raw.values.dtype.kind == "b" else raw.values
    n_cells, n_entries = len(raw.pointer) - 1, len(values)
    pointer, sums = np.zeros(n_cells + 1, dtype=np.int64), np.zeros(n_cells)
    genes = np.empty(n_entries, dtype=np.uint16 if column_of.max() < 2**16 else np.uint32)
    counts = np.empty(n_entries, dtype=np.uint32)
    status, largest = _narrow(raw.pointer, raw.genes, values, column_of, pointer, genes, counts, sums)
    if status != FINE:
        block = sparse.csr_matrix((values, raw.genes, raw.pointer), shape=(n_cells, len(column_of)))
        block.sum_duplicates()
        _refuse(block, matrix, where)
        assert status == UNSORTED, "a value was refused and is a count"
        raw = RawRows(block.indptr.astype(np.int64), block.indices, block.data)
        status, largest = _narrow(raw.pointer, raw.genes, raw.values, column_of, pointer, genes, counts, sums)
        assert status == FINE
    kept = slice(0, pointer[-1])
    return Rows(pointer, genes[kept], counts[kept].astype(np.uint16) if largest < 2**16 else counts[kept]), sums


def _refuse(block: sparse.csr_matrix, matrix: Matrix, where: Where) -> None:
    """UserError at the first value of the block that is no count."""
    values = block.data
    bad = ~((values >= 0) & (values <= MAX_COUNT) & (values == np.floor(values)))
    if not bad.any():
        return
    place = int(np.argmax(bad))
    row = int(np.searchsorted(block.indptr, place, side="right")) - 1
    named, value = where(row, int(block.indices[place])), values[place]
    if np.isfinite(value) and value > MAX_COUNT:
        raise UserError(f"{matrix.path}: {matrix.name} holds {value:g} ({named}), beyond any count; mend the file")
    raise UserError(_refusal(value, named, float(values.max()), matrix))


def _refusal(value: float, where: str, high: float, matrix: Matrix) -> str:
    if np.isnan(value):
        what = "NaN"
    elif np.isinf(value):
        what = "an infinite value"
    elif value < 0:
        what = f"the negative value {value:g}"
    else:
        what = f"the fractional value {value:g}"
    looks = ""
    if np.isfinite(value) and value > 0:
        looks = "; it looks log-normalised" if matrix.log_flag or high < 20 else "; it looks normalised"
    others = [name for name in matrix.layers if f"layers/{name}" != matrix.name]
    if others:
        remedy = f"name raw counts with data.counts_layer (layers: {', '.join(others)})"
    else:
        remedy = "give a file with raw counts (this one has no other layer for data.counts_layer)"
    return f"{matrix.path}: {matrix.name} holds {what} ({where}), not counts{looks}; {remedy}"


@jit
def _narrow(pointer, genes, values, column_of, out_pointer, out_genes, out_counts, sums):
    """Copy what is in use and not zero; stop where a row is out of order or a value is no count."""
    place, largest = 0, 0
    for row in range(len(sums)):
        last = -1
        total = 0.0
        for i in range(pointer[row], pointer[row + 1]):
            gene, value = genes[i], values[i]
            if gene <= last:
                return UNSORTED, largest
            last = gene
            if not (value >= 0 and value <= MAX_COUNT and value == np.floor(value)):
                return NO_COUNT, largest
            column = column_of[gene]
            if value > 0 and column >= 0:
                out_genes[place] = column
                out_counts[place] = value
                largest = max(largest, int(value))
                total += value
                place += 1
        out_pointer[row + 1] = place
        sums[row] = total
    return FINE, largest
