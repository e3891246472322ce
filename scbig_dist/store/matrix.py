"""Counts as they lie in an HDF5 file, read by ranges of cells that bound the memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from scipy import sparse

from scbig_dist.errors import UserError
from scbig_dist.store.csc import Piece, fill_buckets, read_bucket

PART_ENTRIES = 4_000_000  # values held at once by a worker: about 60 MB
PART_CELLS = 65_536


@dataclass(frozen=True)
class Matrix:
    """The counts in the file: where they lie and how they are laid out."""

    path: Path
    name: str  # X, layers/NAME or raw/X; of a 10x file: matrix
    layout: str  # csr, csc or dense
    n_cells: int
    n_genes: int
    layers: tuple[str, ...]
    log_flag: bool  # scanpy's log1p left its mark in `uns`


class RawRows(NamedTuple):
    """Values of some cells as the file has them: row i is entries[pointer[i]:pointer[i + 1]]."""

    pointer: np.ndarray  # int64
    genes: np.ndarray  # rows of `var`, in any order
    values: np.ndarray


def plan_parts(matrix: Matrix) -> list[int]:
    """Cells at which the matrix is cut for reading, from 0 to `n_cells`; depends on the file alone.

    UserError where the row pointer of a sparse matrix is damaged.
    """
    if matrix.layout == "dense":
        step = max(1, min(PART_ENTRIES // matrix.n_genes, PART_CELLS))
        return [*range(0, matrix.n_cells, step), matrix.n_cells]
    with h5py.File(matrix.path, "r") as file:
        pointer = _pointer(file[matrix.name], matrix)
    if matrix.layout == "csc":
        n_parts = max(-(-int(pointer[-1]) // PART_ENTRIES), -(-matrix.n_cells // PART_CELLS))
        return [*range(0, matrix.n_cells, -(-matrix.n_cells // n_parts)), matrix.n_cells]
    cuts = [0]
    while cuts[-1] < matrix.n_cells:
        start = cuts[-1]
        stop = int(np.searchsorted(pointer, pointer[start] + PART_ENTRIES, side="right")) - 1
        cuts.append(min(max(stop, start + 1), start + PART_CELLS, matrix.n_cells))
    return cuts


def count_stored(matrix: Matrix) -> int | None:
    """Stored values of a sparse matrix; None where it is dense."""
    if matrix.layout == "dense":
        return None
    with h5py.File(matrix.path, "r") as file:
        return int(file[matrix.name]["data"].shape[0])


def turn_columns(matrix: Matrix, cuts: list[int], folder: Path) -> None:
    """Put the entries of a CSC matrix into a bucket file per part, so that cells can be read."""
    with h5py.File(matrix.path, "r") as file:
        group = file[matrix.name]
        pointer = _pointer(group, matrix)

        def pieces() -> Iterator[Piece]:
            for low in range(0, int(pointer[-1]), PART_ENTRIES):
                high = min(low + PART_ENTRIES, int(pointer[-1]))
                cells = read(group["indices"], low, high, matrix.path)
                _check_indices(cells, matrix.n_cells, matrix)
                yield Piece(low, cells, read(group["data"], low, high, matrix.path))

        fill_buckets(pieces(), pointer, np.asarray(cuts), folder)


def read_rows(matrix: Matrix, start: int, stop: int, folder: Path) -> RawRows:
    """Cells `start` to `stop`, two neighbouring cuts of `plan_parts`. CSC: from the buckets in `folder`."""
    if matrix.layout == "csc":
        cells, genes, values = read_bucket(folder, start)
        shape = (stop - start, matrix.n_genes)
        return _of(sparse.coo_matrix((values, (cells - start, genes)), shape=shape).tocsr())
    with h5py.File(matrix.path, "r") as file:
        if matrix.layout == "dense":
            return _of(sparse.csr_matrix(read(file[matrix.name], start, stop, matrix.path)))
        group = file[matrix.name]
        pointer = read(group["indptr"], start, stop + 1, matrix.path).astype(np.int64)
        low, high = int(pointer[0]), int(pointer[-1])
        genes = read(group["indices"], low, high, matrix.path)
        _check_indices(genes, matrix.n_genes, matrix)
        return RawRows(pointer - low, genes, read(group["data"], low, high, matrix.path))


def read(dataset: h5py.Dataset, start: int, stop: int, path: Path) -> np.ndarray:
    """A slice of a dataset; a damaged one is the user's file, not a full disk."""
    try:
        return dataset[start:stop]
    except (OSError, RuntimeError) as error:
        raise unreadable(path, error) from None


def unreadable(path: Path, error: BaseException) -> UserError:
    text = str(error)
    if "truncated" in text:
        return UserError(f"{path}: cut short (truncated HDF5 file); copy or download it again")
    if "signature" in text or "unable to determine" in text:
        if path.suffix == ".h5":
            return UserError(f"{path}: not a 10x .h5 file (no HDF5 signature); copy or download it again")
        return UserError(f"{path}: not an .h5ad file (no HDF5 signature); convert it with anndata's write_h5ad")
    reason = " ".join(text.split())[:120]
    return UserError(f"{path}: damaged or not an .h5ad file ({reason}); copy or download it again")


def _of(rows: sparse.csr_matrix) -> RawRows:
    return RawRows(rows.indptr.astype(np.int64), rows.indices, rows.data)


def _pointer(group: h5py.Group, matrix: Matrix) -> np.ndarray:
    length = matrix.n_genes if matrix.layout == "csc" else matrix.n_cells
    pointer = read(group["indptr"], 0, length + 1, matrix.path).astype(np.int64, copy=False)
    n_entries = group["data"].shape[0]
    sound = len(pointer) == length + 1 and pointer[0] == 0 and pointer[-1] == n_entries == group["indices"].shape[0]
    if not sound or (pointer[1:] < pointer[:-1]).any():
        raise UserError(
            f"{matrix.path}: {matrix.name} is damaged (its row pointer does not fit its data); write it again"
        )
    return pointer


def _check_indices(indices: np.ndarray, limit: int, matrix: Matrix) -> None:
    if len(indices) and (indices.min() < 0 or indices.max() >= limit):
        raise UserError(f"{matrix.path}: {matrix.name} is damaged (an index outside 0…{limit - 1}); write it again")
