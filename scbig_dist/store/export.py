"""From a store back to an .h5ad file: the kept cells and genes, with raw counts and the columns they came with.

    X     float32 CSR, cells in store order (sorted by condition), genes in store order
    obs   the columns that `data.*` names, under their own names; the library size as `data.total_counts`, or `total_counts`
    var   `is_target`, `hvg_rank` (NaN: below `qc.min_cells`)
    uns   `data_label` where the store has one, `store`: where all this came from

`scbig store build` with the same `data.*`, `data.total_counts` and `qc.min_genes=0` gives a store of the same
shards where the panel is all genes, but for the order of genes of the very same counts; a cut panel is ranked
anew among the genes that are left.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from anndata.io import write_elem

from scbig_dist.conditions import CONTROL, parse_perturbation
from scbig_dist.errors import UserError, suggest
from scbig_dist.new_file import PatientFile, check_out, new_file
from scbig_dist.store.progress import Progress
from scbig_dist.store.reader import Store
from scbig_dist.store.schema import Manifest

BLOCK_CELLS = 4096  # cells in memory at a time: at most some 500 MB, where each has 10,000 genes
CHUNK = 1 << 18  # values of an HDF5 chunk


def export_store(
    store: Store,
    out: Path,
    n_hvg: int | None = None,
    conditions: Sequence[str] = (),
    *,
    force: bool = False,
    progress: bool = True,
) -> tuple[int, int]:
    """Write `out`; returns its cells and genes. The file is whole or absent, memory does not grow with the store.

    `n_hvg`: the panel of so many HVGs (None: all genes). `conditions`: perturbations (`A+B`, in any
    context) or names (`CONTEXT/A+B@DOSE`); none: all. UserError for what the store does not have, a
    file that is there already, a disk without room.
    """
    check_out(out, force)
    manifest, n_genes = store.manifest, store.n_genes(n_hvg)
    wanted = _places(manifest, conditions)
    runs = store.runs[np.isin(store.runs[:, 0], wanted)]
    n_cells = int((runs[:, 2] - runs[:, 1]).sum())
    with new_file(out, force) as part, PatientFile(part) as disk:
        with h5py.File(disk, "w") as file, Progress(progress) as bar, bar.stage("exporting", n_cells) as advance:
            file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
            columns = Columns(file.create_group("obs"), manifest, wanted, n_cells)
            counts = Counts(file.create_group("X"), n_cells, n_genes)
            for place, start, stop in _blocks(runs):
                rows = store.sparse(np.arange(start, stop), n_genes)
                counts.append(rows.pointer, rows.genes, rows.counts)
                columns.append(place, store.annotations(start, stop))
                disk.check()
                advance(stop - start)
            write_elem(file, "var", _var(manifest, n_genes))
            write_elem(file, "uns", _uns(store))
            for name in ("layers", "obsm", "obsp", "varm", "varp"):
                write_elem(file, name, {})
        disk.check()
    return n_cells, n_genes


def _blocks(runs: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """(place of the condition, first cell, end) in store order."""
    for place, start, stop in runs.tolist():
        for low in range(start, stop, BLOCK_CELLS):
            yield place, low, min(low + BLOCK_CELLS, stop)


def _places(manifest: Manifest, asked: Sequence[str]) -> list[int]:
    """Places of the conditions that are asked for, all where none is."""
    entries = manifest.conditions
    if not asked:
        return list(range(len(entries)))
    found: set[int] = set()
    for text in asked:
        label = parse_perturbation(text)
        own = {i for i, e in enumerate(entries) if text == e.condition.name or label == e.perturbation}
        if not own:
            names = [*manifest.perturbations, *(entry.condition.name for entry in entries)]
            listed = (
                f"choices: {', '.join(names[:5])}, … ({len(manifest.perturbations)} in all, as Store.obs names them)"
            )
            near = suggest(text, names) if len(names) < 40 or "did you" in suggest(text, names) else listed
            raise UserError(f"--condition {text}: not in the store; {near}")
        found |= own
    return sorted(found)


class Counts:
    """AnnData's `csr_matrix`, written row after row."""

    def __init__(self, group: h5py.Group, n_cells: int, n_genes: int) -> None:
        group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0"})
        group.attrs["shape"] = np.array((n_cells, n_genes), dtype=np.int64)
        packed = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
        layout = {"maxshape": (None,), "chunks": (CHUNK,), **packed}
        self._data = group.create_dataset("data", (0,), np.float32, **layout)
        self._indices = group.create_dataset("indices", (0,), np.int32, **layout)
        self._pointer = group.create_dataset("indptr", (n_cells + 1,), np.int64)
        self._n_cells = 0

    def append(self, pointer: np.ndarray, genes: np.ndarray, counts: np.ndarray) -> None:
        before = self._data.shape[0]
        for dataset, values in ((self._data, counts), (self._indices, genes)):
            dataset.resize((before + len(values),))
            dataset[before:] = values.astype(dataset.dtype)
        self._pointer[self._n_cells + 1 : self._n_cells + len(pointer)] = before + pointer[1:]
        self._n_cells += len(pointer) - 1


class Columns:
    """AnnData's `dataframe` of cells, written row after row."""

    def __init__(self, group: h5py.Group, manifest: Manifest, wanted: Sequence[int], n_cells: int) -> None:
        data, entries = manifest.data, manifest.conditions
        self._start = 0
        self._dose = [np.nan if entry.dose is None else entry.dose for entry in entries]
        perturbations = _used([entry.perturbation for entry in entries], wanted)
        contexts = _used([entry.context for entry in entries], wanted)
        self._code = {
            data.condition: [perturbations.get(entry.perturbation, -1) for entry in entries],
            data.context: [contexts.get(entry.context, -1) for entry in entries],
        }
        labels = {data.condition: [_label(manifest, name) for name in perturbations]}
        if data.context is not None:
            labels.setdefault(data.context, list(contexts))
        if data.batch is not None:
            labels.setdefault(data.batch, manifest.batches)
        self._batch = data.batch if data.batch not in (data.condition, data.context) else None
        self._factors = {name: _categorical(group.create_group(name), of, n_cells) for name, of in labels.items()}
        numbers = [] if data.dose is None else [data.dose]
        self.total = data.total_counts or _free("total_counts", [*labels, *numbers])
        self._numbers = {name: _array(group, name, n_cells) for name in [*numbers, self.total]}
        index = _free("_index", [*labels, *self._numbers])
        self._names = group.create_dataset(index, (n_cells,), h5py.string_dtype())
        self._names.attrs.update({"encoding-type": "string-array", "encoding-version": "0.2.0"})
        group.attrs.update({"encoding-type": "dataframe", "encoding-version": "0.2.0", "_index": index})
        group.attrs["column-order"] = np.array([*labels, *self._numbers], dtype=h5py.string_dtype())

    def append(self, place: int, cells: Any) -> None:
        """Cells of the condition at `place`: a table with `batch`, `total` and `cell`."""
        part = slice(self._start, self._start + len(cells))
        for name, codes in self._factors.items():
            codes[part] = cells["batch"].to_numpy() if name == self._batch else self._code[name][place]
        for name, numbers in self._numbers.items():
            numbers[part] = cells["total"].to_numpy() if name == self.total else self._dose[place]
        self._names[part] = cells["cell"].to_pylist()
        self._start = part.stop


def _used(names: list[str], wanted: Sequence[int]) -> dict[str, int]:
    """Names of the wanted conditions, sorted, with their codes."""
    return {name: code for code, name in enumerate(sorted({names[place] for place in wanted}))}


def _label(manifest: Manifest, perturbation: str) -> str:
    """A perturbation as the source spelled it: its own control label and separator."""
    if perturbation == CONTROL:
        return manifest.data.control
    return manifest.data.separator.join(perturbation.split("+"))


def _free(name: str, taken: Sequence[str]) -> str:
    while name in taken:
        name = f"store_{name}"
    return name


def _categorical(group: h5py.Group, categories: Sequence[str], n_cells: int) -> h5py.Dataset:
    """The codes of a new categorical column, still to be written."""
    group.attrs.update({"encoding-type": "categorical", "encoding-version": "0.2.0", "ordered": False})
    write_elem(group, "categories", np.array(list(categories), dtype=object))
    dtype = np.int8 if len(categories) < 2**7 else np.int16 if len(categories) < 2**15 else np.int32
    return _array(group, "codes", n_cells, dtype)


def _array(group: h5py.Group, name: str, n_cells: int, dtype: Any = np.float64) -> h5py.Dataset:
    dataset = group.create_dataset(name, (n_cells,), dtype)
    dataset.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
    return dataset


def _var(manifest: Manifest, n_genes: int) -> pd.DataFrame:
    ranks = [np.nan if rank is None else float(rank) for rank in manifest.hvg_ranks[:n_genes]]
    return pd.DataFrame(
        {"is_target": np.arange(n_genes) < manifest.n_targets, "hvg_rank": ranks},
        index=pd.Index(manifest.genes[:n_genes], name="gene"),
    )


def _uns(store: Store) -> dict[str, Any]:
    manifest = store.manifest
    said = {} if manifest.data_label is None else {"data_label": manifest.data_label}
    data = {name: value for name, value in manifest.data.model_dump().items() if value is not None}
    return {
        **said,
        "store": {
            "key": store.key,
            "sources": np.array([source.path for source in manifest.sources], dtype=object),
            "sources_sha256": np.array([source.sha256 for source in manifest.sources], dtype=object),
            "hvg_method": manifest.hvg_method,
            "data": data,
            "created_by": manifest.created_by,
        },
    }
