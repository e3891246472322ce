"""Counts and annotations of an .h5ad file, read in blocks of cells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import h5py
import numpy as np
import pandas as pd
from anndata.io import read_elem
from scipy import sparse

from scbig_dist.errors import UserError, suggest
from scbig_dist.store.csc import csc_blocks

BLOCK_ENTRIES = 8_000_000  # values held at once: about 100 MB
BLOCK_CELLS = 65_536


@dataclass(frozen=True)
class Matrix:
    """The counts in the file: where they lie and how they are laid out."""

    path: Path
    name: str  # X, layers/NAME or raw/X
    layout: str  # csr, csc or dense
    n_cells: int
    n_genes: int
    layers: tuple[str, ...]
    log_flag: bool  # scanpy's log1p left its mark in `uns`


@dataclass(frozen=True)
class SourceFile:
    """An .h5ad file that has been looked over; nothing but its annotations is in memory."""

    path: Path
    obs: pd.DataFrame
    var: pd.DataFrame
    matrix: Matrix
    data_label: Literal["semi-synthetic", "simulated"] | None


def open_source(path: Path, counts_layer: str | None) -> SourceFile:
    """Check the file and read its annotations; UserError where it is no readable .h5ad."""
    if not path.exists():
        raise UserError(f"{path}: no such file; give the path of an .h5ad file")
    if path.is_dir():
        raise UserError(f"{path}: a directory, not an .h5ad file; give the file inside it")
    try:
        with h5py.File(path, "r") as file:
            matrix = _find_matrix(file, path, counts_layer)
            data_label = _data_label(file)
            obs = _frame(file, "obs", path)
            var = _frame(file, "raw/var" if matrix.name == "raw/X" else "var", path)
    except PermissionError:
        raise UserError(f"{path}: permission denied; make the file readable") from None
    except (OSError, KeyError, RuntimeError) as error:
        raise _unreadable(path, error) from None
    if (len(obs), len(var)) != (matrix.n_cells, matrix.n_genes):
        raise UserError(
            f"{path}: {matrix.name} is {matrix.n_cells} × {matrix.n_genes}, but obs has {len(obs)} rows"
            f" and var {len(var)}; write the file again with anndata"
        )
    if not matrix.n_cells or not matrix.n_genes:
        raise UserError(f"{path}: {matrix.n_cells} cells × {matrix.n_genes} genes; nothing to build from")
    return SourceFile(path, obs, var, matrix, data_label)


def _unreadable(path: Path, error: BaseException) -> UserError:
    text = str(error)
    if "truncated" in text:
        return UserError(f"{path}: cut short (truncated HDF5 file); copy or download it again")
    if "signature" in text or "unable to determine" in text:
        return UserError(f"{path}: not an .h5ad file (no HDF5 signature); convert it with anndata's write_h5ad")
    reason = " ".join(text.split())[:120]
    return UserError(f"{path}: damaged or not an .h5ad file ({reason}); copy or download it again")


def _frame(file: h5py.File, name: str, path: Path) -> pd.DataFrame:
    if name not in file:
        raise UserError(f"{path}: HDF5, but without '{name}': not an .h5ad file; write it with anndata's write_h5ad")
    if not isinstance(file[name], h5py.Group):
        raise UserError(f"{path}: '{name}' has the layout of anndata < 0.7; read and write the file once with anndata")
    try:
        return read_elem(file[name])
    except UserError:
        raise
    except Exception as error:  # anndata raises many kinds, each naming the element
        raise _unreadable(path, error) from None


def _find_matrix(file: h5py.File, path: Path, counts_layer: str | None) -> Matrix:
    layers = tuple(file["layers"]) if "layers" in file else ()
    if counts_layer is None:
        name = "X"
        if name not in file:
            hint = (
                f"data.counts_layer can name one of its layers: {', '.join(layers)}" if layers else "it has no layers"
            )
            raise UserError(f"{path}: no matrix 'X', so no .h5ad file with counts; {hint}")
    elif counts_layer in layers:
        name = f"layers/{counts_layer}"
    elif counts_layer == "raw" and "raw/X" in file:
        name = "raw/X"
    else:
        hint = (
            suggest(counts_layer, layers) if layers else "the file has no layers; leave data.counts_layer out to read X"
        )
        raise UserError(f"data.counts_layer={counts_layer}: no such layer in {path}; {hint}")
    log_flag = "uns" in file and "log1p" in file["uns"]
    element = file[name]
    if isinstance(element, h5py.Dataset):
        if element.ndim != 2 or element.dtype.kind not in "biuf":
            raise UserError(f"{path}: {name} is no table of numbers ({element.ndim} dimensions, {element.dtype})")
        return Matrix(path, name, "dense", int(element.shape[0]), int(element.shape[1]), layers, log_flag)
    kind = str(element.attrs.get("encoding-type", element.attrs.get("h5sparse_format", "")))
    shape = element.attrs.get("shape", element.attrs.get("h5sparse_shape"))
    layout = kind[:3]
    if layout not in ("csr", "csc") or shape is None or not {"data", "indices", "indptr"} <= set(element):
        raise UserError(f"{path}: {name} is neither a dense nor a CSR or CSC matrix; write the file with anndata")
    if element["data"].dtype.kind not in "biuf":
        raise UserError(f"{path}: {name} holds {element['data'].dtype}, not numbers")
    return Matrix(path, name, layout, int(shape[0]), int(shape[1]), layers, log_flag)


def _data_label(file: h5py.File) -> Literal["semi-synthetic", "simulated"] | None:
    """What the file says about itself: `uns['data_label']`, else the word in `uns['source']`."""
    for name in ("uns/data_label", "uns/source"):
        element = file.get(name)
        if isinstance(element, h5py.Dataset) and element.shape == () and h5py.check_string_dtype(element.dtype):
            text = element.asstr()[()].lower()
            if "semi-synthetic" in text:
                return "semi-synthetic"
            if "simulated" in text:
                return "simulated"
    return None


def blocks(matrix: Matrix, scratch: Path) -> Iterator[tuple[int, sparse.csr_matrix]]:
    """(first cell, CSR block in canonical form without stored zeros), in file order.

    CSC matrices pass through bucket files under `scratch`. UserError where the file is damaged.
    """
    reader = {"csr": _csr_blocks, "csc": _csc_blocks, "dense": _dense_blocks}[matrix.layout]
    with h5py.File(matrix.path, "r") as file:
        for start, block in reader(file[matrix.name], matrix, scratch):
            block.sum_duplicates()
            block.eliminate_zeros()
            yield start, block


def read(dataset: h5py.Dataset, start: int, stop: int, path: Path) -> np.ndarray:
    """A slice of a dataset; a damaged one is the user's file, not a full disk."""
    try:
        return dataset[start:stop]
    except (OSError, RuntimeError) as error:
        raise _unreadable(path, error) from None


def _pointer(group: h5py.Group, length: int, matrix: Matrix) -> np.ndarray:
    pointer = read(group["indptr"], 0, length + 1, matrix.path).astype(np.int64)
    n_entries = group["data"].shape[0]
    sound = len(pointer) == length + 1 and pointer[0] == 0 and pointer[-1] == n_entries == group["indices"].shape[0]
    if not sound or (np.diff(pointer) < 0).any():
        raise UserError(
            f"{matrix.path}: {matrix.name} is damaged (its row pointer does not fit its data); write it again"
        )
    return pointer


def _check_indices(indices: np.ndarray, limit: int, matrix: Matrix) -> None:
    if len(indices) and (indices.min() < 0 or indices.max() >= limit):
        raise UserError(f"{matrix.path}: {matrix.name} is damaged (an index outside 0…{limit - 1}); write it again")


def _csr_blocks(group: h5py.Group, matrix: Matrix, scratch: Path) -> Iterator[tuple[int, sparse.csr_matrix]]:
    pointer = _pointer(group, matrix.n_cells, matrix)
    start = 0
    while start < matrix.n_cells:
        stop = int(np.searchsorted(pointer, pointer[start] + BLOCK_ENTRIES, side="right")) - 1
        stop = min(max(stop, start + 1), start + BLOCK_CELLS, matrix.n_cells)
        low, high = int(pointer[start]), int(pointer[stop])
        indices = read(group["indices"], low, high, matrix.path)
        _check_indices(indices, matrix.n_genes, matrix)
        values = read(group["data"], low, high, matrix.path)
        shape = (stop - start, matrix.n_genes)
        yield start, sparse.csr_matrix((values, indices, pointer[start : stop + 1] - low), shape=shape)
        start = stop


def _dense_blocks(dataset: h5py.Dataset, matrix: Matrix, scratch: Path) -> Iterator[tuple[int, sparse.csr_matrix]]:
    n_rows = max(1, BLOCK_ENTRIES // matrix.n_genes)
    for start in range(0, matrix.n_cells, n_rows):
        stop = min(start + n_rows, matrix.n_cells)
        yield start, sparse.csr_matrix(read(dataset, start, stop, matrix.path))


def _csc_blocks(group: h5py.Group, matrix: Matrix, scratch: Path) -> Iterator[tuple[int, sparse.csr_matrix]]:
    pointer = _pointer(group, matrix.n_genes, matrix)

    def pieces() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        for low in range(0, int(pointer[-1]), BLOCK_ENTRIES):
            high = min(low + BLOCK_ENTRIES, int(pointer[-1]))
            rows = read(group["indices"], low, high, matrix.path)
            _check_indices(rows, matrix.n_cells, matrix)
            columns = np.searchsorted(pointer, np.arange(low, high), side="right") - 1
            yield rows, columns.astype(np.int32), read(group["data"], low, high, matrix.path)

    yield from csc_blocks(pieces(), (matrix.n_cells, matrix.n_genes), int(pointer[-1]), BLOCK_ENTRIES, scratch)
