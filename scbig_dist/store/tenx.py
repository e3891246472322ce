"""A 10x Genomics .h5 file (Cell Ranger 3 and later), its cells described by a table beside it."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from scbig_dist.errors import UserError
from scbig_dist.store.matrix import Matrix, unreadable
from scbig_dist.store.source import SourceFile
from scbig_dist.store.table import FrameTable

GENES = "Gene Expression"
SUFFIXES = (".csv", ".tsv")


def open_tenx(path: Path) -> SourceFile:
    """Check the file and read the table of cells beside it; UserError where one is not sound.

    The file stores features × barcodes by columns, which is cells × genes by rows. Features
    other than gene expression (guides, antibodies) are no genes: they count nowhere.
    """
    try:
        with h5py.File(path, "r") as file:
            group = file.get("matrix")
            if not isinstance(group, h5py.Group):
                raise UserError(_not_ours(file, path))
            missing = [name for name in ("barcodes", "data", "indices", "indptr", "shape") if name not in group]
            if missing or "features/name" not in group:
                raise UserError(f"{path}: a 10x file without matrix/{(missing or ['features'])[0]}; download it again")
            n_genes, n_cells = map(int, group["shape"][:])
            barcodes = _decoded(group["barcodes"])
            var = pd.DataFrame({"gene_ids": _decoded(group["features/id"])}, index=_decoded(group["features/name"]))
            kinds = _decoded(group["features/feature_type"]) if "features/feature_type" in group else None
    except PermissionError:
        raise UserError(f"{path}: permission denied; make the file readable") from None
    except (OSError, KeyError, RuntimeError) as error:
        raise unreadable(path, error) from None
    if (len(barcodes), len(var)) != (n_cells, n_genes) or not n_cells or not n_genes:
        raise UserError(
            f"{path}: matrix is {n_genes} × {n_cells}, but there are {len(var)} features and {len(barcodes)} barcodes;"
            " download it again"
        )
    is_gene = np.ones(n_genes, dtype=bool) if kinds is None else kinds == GENES
    if not is_gene.any():
        raise UserError(f"{path}: none of its {n_genes} features is of type '{GENES}'; nothing to build from")
    matrix = Matrix(path, "matrix", "csr", n_cells, n_genes, (), False)
    beside, frame = _read_table(path, barcodes)
    return SourceFile(path, FrameTable(beside, frame), var, is_gene, matrix, None, beside)


def is_tenx(path: Path) -> bool:
    """Whether the name says 10x: `.h5`."""
    return path.suffix == ".h5"


def _decoded(dataset: h5py.Dataset) -> np.ndarray:
    """Text of fixed or variable length as Python strings."""
    return np.array([x.decode() if isinstance(x, bytes) else str(x) for x in dataset[:]], dtype=object)


def _not_ours(file: h5py.File, path: Path) -> str:
    if "X" in file and "obs" in file:
        return f"{path}: an AnnData file; name it .h5ad"
    if any(isinstance(group, h5py.Group) and {"barcodes", "gene_names"} <= set(group) for group in file.values()):
        return (
            f"{path}: written by Cell Ranger 2; read it with scanpy.read_10x_h5, add the labels to obs, write an .h5ad"
        )
    return f"{path}: no 10x file (no group 'matrix'); give a *_feature_bc_matrix.h5 of Cell Ranger 3 or later"


def _read_table(path: Path, barcodes: np.ndarray) -> tuple[Path, pd.DataFrame]:
    """The table of cells with the same stem, in the order of the barcodes."""
    found = [path.with_suffix(suffix) for suffix in SUFFIXES if path.with_suffix(suffix).is_file()]
    if not found:
        raise UserError(
            f"{path}: a 10x file has no labels of cells; put a table beside it, {path.with_suffix('.csv').name} (or .tsv):"
            " barcodes in the first column, then columns with the condition and whatever else data.* names"
        )
    if len(found) > 1:
        raise UserError(f"{path}: two tables of cells beside it, {found[0].name} and {found[1].name}; keep one")
    table = found[0]
    try:
        frame = pd.read_csv(table, sep="\t" if table.suffix == ".tsv" else ",", index_col=0, low_memory=False)
    except (OSError, ValueError, UnicodeDecodeError) as error:  # pandas' parser errors are ValueErrors
        raise UserError(f"{table}: no table that can be read ({' '.join(str(error).split())[:100]})") from None
    frame.index = frame.index.astype(str)
    n_double = int(frame.index.duplicated().sum())
    if n_double:
        first = frame.index[frame.index.duplicated()][0]
        raise UserError(f"{table}: {n_double} barcodes stand twice (first: {first}); one row per cell")
    if not frame.index.isin(barcodes).any():
        raise UserError(
            f"{table}: none of its {len(frame)} cells is a barcode of {path.name} (there: {barcodes[0]}); the first column"
            " holds barcodes as the .h5 spells them"
        )
    for name in frame.columns:
        if frame[name].dtype == object:
            frame[name] = frame[name].astype("category")
    return table, frame.reindex(barcodes)
