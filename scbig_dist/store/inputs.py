"""The files of a build or an append, looked over together before a count is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from anndata.utils import make_index_unique

from scbig_dist.conditions import Condition
from scbig_dist.config_data import SourceConfig
from scbig_dist.errors import UserError
from scbig_dist.store.labels import Labels, read_labels
from scbig_dist.store.source import DataLabel, SourceFile, open_h5ad
from scbig_dist.store.symbols import gene_symbols
from scbig_dist.store.table import JoinedTable, Table
from scbig_dist.store.tenx import is_tenx, open_tenx


@dataclass(frozen=True)
class Inputs:
    """The sources with everything about them that is known before their counts are read."""

    files: tuple[SourceFile, ...]
    where: str  # the input in words
    data: SourceConfig  # with what was found out
    cells: Table
    labels: Labels
    names: tuple[np.ndarray, ...]  # unique gene symbols of each file
    notes: list[str]

    @property
    def n_cells(self) -> int:
        return self.cells.n_cells

    @property
    def firsts(self) -> np.ndarray:
        """The first cell of each file, and the number of all."""
        return np.cumsum([0, *(file.matrix.n_cells for file in self.files)])

    @property
    def data_label(self) -> DataLabel | None:
        """What the files say of their cells; one that is not real colours the whole."""
        said = {file.data_label for file in self.files}
        return "semi-synthetic" if "semi-synthetic" in said else "simulated" if "simulated" in said else None


def find_files(paths: Sequence[Path]) -> list[Path]:
    """Files as given, the .h5ad or 10x .h5 files of a directory by name; one kind. UserError where there is none."""
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        inside = sorted(file for file in path.iterdir() if file.suffix in (".h5ad", ".h5") and file.name[0] != ".")
        if not inside:
            raise UserError(
                f"{path}: a directory without any .h5ad or 10x .h5 file; give one that holds them, or a file"
            )
        found += inside
    seen: dict[Path, Path] = {}
    for path in found:
        if not path.exists():
            raise UserError(f"{path}: no such file; give .h5ad files, 10x .h5 files, or a directory of them")
        if path.resolve() in seen:
            raise UserError(f"{path}: given twice (as {seen[path.resolve()]}); name every file once")
        seen[path.resolve()] = path
    kinds = {is_tenx(path) for path in found}
    if len(kinds) > 1:
        one, other = (next(path for path in found if is_tenx(path) == kind) for kind in (False, True))
        raise UserError(f"{one} and {other}: .h5ad and 10x .h5 files do not mix; give one kind, or convert the other")
    return found


def look_over(paths: Sequence[Path], data: SourceConfig, complete: bool = True) -> Inputs:
    """Open the files and read their labels; UserError for any fault. `complete`: see `read_labels`."""
    files = tuple(
        open_tenx(path) if is_tenx(path) else open_h5ad(path, data.counts_layer) for path in find_files(paths)
    )
    if data.counts_layer and is_tenx(files[0].path):
        raise UserError(f"data.counts_layer={data.counts_layer}: a 10x .h5 file has no layers; leave it out")
    where = str(files[0].path) if len(files) == 1 else f"{paths[0]}" if len(paths) == 1 else _several(files)
    cells: Table = files[0].cells if len(files) == 1 else JoinedTable(tuple(file.cells for file in files))
    labels = read_labels(cells, data, where, complete)
    notes: list[str] = []
    names, columns = [], []
    for file in files:
        symbols, column, said = gene_symbols(file.var, labels.conditions, data.gene_names, file.path)
        lead = "" if len(files) == 1 else f"{file.path.name}: "
        notes += [lead + line for line in said + _doubles(symbols) + _features(file)]
        names.append(make_index_unique(symbols).to_numpy())
        columns.append(column)
    path = str(paths[0]) if len(paths) == 1 else None
    data = SourceConfig(
        **data.model_dump(include=set(SourceConfig.model_fields) - {"path", "gene_names"}),
        path=path,
        gene_names=columns[0],
    )
    return Inputs(files, where, data, cells, labels, tuple(names), notes)


def shared_genes(inputs: Inputs) -> tuple[np.ndarray, list[str]]:
    """Genes that every file has, in the order of the first, and notes on what that leaves out.

    UserError where a target is a gene of some files and not of others.
    """
    own = [names[file.is_gene] for file, names in zip(inputs.files, inputs.names, strict=True)]
    if len(own) == 1:
        return own[0], []
    common = set(own[0]).intersection(*map(set, own[1:]))
    if not common:
        raise UserError(
            f"{inputs.where}: no gene is in all {len(own)} files; name one gene column with data.gene_names"
        )
    lost = {target for c in inputs.labels.conditions for target in c.targets if target not in common}
    for target in sorted(lost):
        holders = [target in genes for genes in map(set, own)]
        if any(holders):
            lacks = inputs.files[holders.index(False)].path
            raise UserError(
                f"{target}: a target, and no gene of {lacks} (it is one of {inputs.files[holders.index(True)].path});"
                " give files with the same genes, or build a store of each"
            )
    notes = [
        f"{file.path.name}: {len(genes) - len(common)} of {len(genes)} genes are not in every file and count nowhere"
        for file, genes in zip(inputs.files, own, strict=True)
        if len(genes) > len(common)
    ]
    return np.array([gene for gene in own[0] if gene in common], dtype=object), notes


def columns_of(inputs: Inputs, genes: Sequence[str]) -> list[np.ndarray]:
    """Per file, the place of each of its genes in `genes`, -1 where it is not there (int32)."""
    place = {gene: column for column, gene in enumerate(genes)}
    return [
        np.where(file.is_gene, [place.get(name, -1) for name in names], -1).astype(np.int32)
        for file, names in zip(inputs.files, inputs.names, strict=True)
    ]


def targets_of(conditions: Sequence[Condition]) -> dict[str, int]:
    """Targets, and how many of the conditions name each."""
    named: dict[str, int] = {}
    for condition in conditions:
        for target in condition.targets:
            named[target] = named.get(target, 0) + 1
    return named


def _several(files: Sequence[SourceFile]) -> str:
    return f"{files[0].path} and {len(files) - 1} more"


def _doubles(names: pd.Index) -> list[str]:
    n_double = int(names.duplicated().sum())
    if not n_double:
        return []
    first = names[names.duplicated()][0]
    return [f"{n_double} duplicate gene names made unique with a suffix (first: {first} → {first}-1)"]


def _features(file: SourceFile) -> list[str]:
    n_other = int((~file.is_gene).sum())
    return [f"{n_other} features that are no gene expression left out"] if n_other else []
