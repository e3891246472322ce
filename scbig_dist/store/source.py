"""An .h5ad file looked over: where its counts and annotations lie, without reading the counts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import h5py
import numpy as np
import pandas as pd
from anndata.io import read_elem

from scbig_dist.errors import UserError, suggest
from scbig_dist.store.matrix import Matrix, unreadable
from scbig_dist.store.table import FrameTable, H5Table, Table

DataLabel = Literal["semi-synthetic", "simulated"]


@dataclass(frozen=True)
class SourceFile:
    """A file that has been looked over; of its cells nothing is in memory."""

    path: Path
    cells: Table
    var: pd.DataFrame  # by gene
    is_gene: np.ndarray  # bool per row of `var`: False for guides, antibodies and other features
    matrix: Matrix
    data_label: DataLabel | None
    beside: Path | None = None  # the table of cells, where it is a file of its own


def open_h5ad(path: Path, counts_layer: str | None) -> SourceFile:
    """Check the file and find its parts; UserError where it is no readable .h5ad."""
    try:
        with h5py.File(path, "r") as file:
            matrix = _find_matrix(file, path, counts_layer)
            data_label = _data_label(file)
            cells = _cells(file, path)
            var = _frame(file, "raw/var" if matrix.name == "raw/X" else "var", path)
    except PermissionError:
        raise UserError(f"{path}: permission denied; make the file readable") from None
    except (OSError, KeyError, RuntimeError) as error:
        raise unreadable(path, error) from None
    if (cells.n_cells, len(var)) != (matrix.n_cells, matrix.n_genes):
        raise UserError(
            f"{path}: {matrix.name} is {matrix.n_cells} × {matrix.n_genes}, but obs has {cells.n_cells} rows"
            f" and var {len(var)}; write the file again with anndata"
        )
    if not matrix.n_cells or not matrix.n_genes:
        raise UserError(f"{path}: {matrix.n_cells} cells × {matrix.n_genes} genes; nothing to build from")
    return SourceFile(path, cells, var, np.ones(len(var), dtype=bool), matrix, data_label)


def _cells(file: h5py.File, path: Path) -> Table:
    """`obs`, its columns unread; as a whole where it was written by an old anndata."""
    _require_group(file, "obs", path)
    group = file["obs"]
    index = group.attrs.get("_index")
    if index is None or "column-order" not in group.attrs or index not in group:
        return FrameTable(path, _frame(file, "obs", path))
    element = group[index]
    n_cells = element.shape[0] if isinstance(element, h5py.Dataset) else element["values"].shape[0]
    return H5Table(path, int(n_cells), tuple(map(str, group.attrs["column-order"])), str(index))


def _require_group(file: h5py.File, name: str, path: Path) -> None:
    if name not in file:
        raise UserError(f"{path}: HDF5, but without '{name}': not an .h5ad file; write it with anndata's write_h5ad")
    if not isinstance(file[name], h5py.Group):
        raise UserError(f"{path}: '{name}' has the layout of anndata < 0.7; read and write the file once with anndata")


def _frame(file: h5py.File, name: str, path: Path) -> pd.DataFrame:
    _require_group(file, name, path)
    try:
        return read_elem(file[name])
    except UserError:
        raise
    except Exception as error:  # anndata raises many kinds, each naming the element
        raise unreadable(path, error) from None


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


def _data_label(file: h5py.File) -> DataLabel | None:
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
