"""Counts must be counts: the one pass that reads the source checks every value."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from scbig_dist.errors import UserError
from scbig_dist.store.source import SourceFile

MAX_COUNT = 2**32 - 1


def check_counts(
    block: sparse.csr_matrix, start: int, source: SourceFile, cells: np.ndarray, genes: np.ndarray
) -> None:
    """UserError at the first value of the block that is no count; `start` is its first cell."""
    values = block.data
    if values.dtype.kind == "b" or not len(values):
        return
    low, high = values.min(), values.max()  # NaN comes through both
    if values.dtype.kind == "f":
        bad = ~np.isfinite(values) | (values < 0) | (values != np.rint(values))
    elif low < 0:
        bad = values < 0
    else:
        bad = np.zeros(0, dtype=bool)
    if bad.any():
        place = int(np.argmax(bad))
        raise UserError(_refusal(values[place], _where(block, place, start, cells, genes), float(high), source))
    if high > MAX_COUNT:
        where = _where(block, int(np.argmax(values)), start, cells, genes)
        raise UserError(
            f"{source.path}: {source.matrix.name} holds {high:g} ({where}), beyond any count; mend the file"
        )


def _where(block: sparse.csr_matrix, place: int, start: int, cells: np.ndarray, genes: np.ndarray) -> str:
    row = int(np.searchsorted(block.indptr, place, side="right")) - 1
    return f"cell {cells[start + row]}, gene {genes[block.indices[place]]}"


def _refusal(value: float, where: str, high: float, source: SourceFile) -> str:
    matrix = source.matrix
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
    return f"{source.path}: {matrix.name} holds {what} ({where}), not counts{looks}; {remedy}"
