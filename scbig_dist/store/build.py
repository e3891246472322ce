"""From an .h5ad file to a cell store, in passes whose memory is bounded by a chunk."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from anndata.utils import make_index_unique

from scbig_dist.config import Config, SourceConfig
from scbig_dist.errors import UserError
from scbig_dist.store.counts import check_counts
from scbig_dist.store.integrity import write_manifest
from scbig_dist.store.labels import Labels, read_labels
from scbig_dist.store.panel import Panel, choose_panel
from scbig_dist.store.progress import Progress
from scbig_dist.store.qc import CellSelection, select_cells
from scbig_dist.store.ranking import n_passes
from scbig_dist.store.schema import SCHEMA_VERSION, ConditionEntry, CountType, Dropped, Manifest, Shard, Source, Targets
from scbig_dist.store.shards import count_entries, file_sha256, write_shards
from scbig_dist.store.source import SourceFile, blocks, open_source
from scbig_dist.store.spool import Spool
from scbig_dist.store.symbols import gene_symbols
from scbig_dist.store.workspace import publish, require_free, workspace


@dataclass(frozen=True)
class Inputs:
    """The source with everything about it that is known before its counts are read."""

    source: SourceFile
    config: Config
    labels: Labels
    genes: np.ndarray  # unique symbols
    cells: np.ndarray  # unique names
    notes: list[str]


def build_store(source: Path, out: Path, config: Config, progress: bool = True, force: bool = False) -> Manifest:
    """Write the cell store `out` from the .h5ad file `source`; returns its manifest.

    Uses `config.data`, `config.qc` and `config.panel`. The store appears whole or not at all.
    `force` replaces a store that is there, once the new one is whole. UserError for any fault
    of the file, the settings or the place.
    """
    source, out = Path(source), Path(os.path.realpath(out))
    require_free(out, force)
    inputs = _look_over(source, config)
    with workspace(out, force) as folder, Progress(progress) as bar:
        scratch = folder / "scratch"
        scratch.mkdir()
        spool = Spool(scratch)
        try:
            manifest = _build(inputs, spool, folder, scratch, bar)
        finally:
            spool.close()
        for file in scratch.iterdir():
            file.unlink()
        scratch.rmdir()
        write_manifest(folder, manifest)
        publish(folder, out)
    return manifest


def _look_over(path: Path, config: Config) -> Inputs:
    source = open_source(path, config.data.counts_layer)
    labels = read_labels(source.obs, config.data, path)
    genes, column, notes = gene_symbols(source.var, labels.conditions, config.data.gene_names, path)
    config = config.model_copy(
        update={"data": config.data.model_copy(update={"path": str(path), "gene_names": column})}
    )
    cells = source.obs.index.astype(str)
    for what, names in (("gene", genes), ("cell", cells)):
        n_double = int(names.duplicated().sum())
        if n_double:
            first = names[names.duplicated()][0]
            notes.append(f"{n_double} duplicate {what} names made unique with a suffix (first: {first} → {first}-1)")
    return Inputs(
        source, config, labels, make_index_unique(genes).to_numpy(), make_index_unique(cells).to_numpy(), notes
    )


def _build(inputs: Inputs, spool: Spool, folder: Path, scratch: Path, bar: Progress) -> Manifest:
    n_cells, path, config = inputs.source.matrix.n_cells, inputs.source.path, inputs.config
    stamp = path.stat()
    n_detected, sums = _read_counts(inputs, spool, scratch, bar)
    cells = select_cells(inputs.labels, n_detected, config.qc, path)
    totals = sums if inputs.labels.total is None else inputs.labels.total
    _check_totals(inputs, cells, totals, sums)
    with bar.stage("ranking genes", n_cells * n_passes(config)) as advance:
        panel = choose_panel(spool, cells, totals, inputs.genes, config, path, advance)
    with bar.stage("measuring", n_cells) as advance:
        in_panel = np.zeros(len(inputs.genes), dtype=bool)
        in_panel[panel.columns] = True
        sizes, largest = count_entries(spool, cells.kept, in_panel, advance)
    count_type: CountType = "uint16" if largest < 2**16 else "uint32"
    code = np.full(n_cells, -1, dtype=np.int32)
    code[cells.order] = np.repeat(np.arange(len(cells.conditions), dtype=np.int32), cells.sizes)
    annotations = {"condition": code, "batch": inputs.labels.batch, "total": totals, "cell": inputs.cells}
    with bar.stage("writing shards", len(cells.order)) as advance:
        shards = list(write_shards(folder, spool, cells.order, sizes, panel.columns, count_type, annotations, advance))
    with bar.stage("hashing the source", 1):
        sha256 = file_sha256(path)
    now = path.stat()
    if (now.st_size, now.st_mtime_ns) != (stamp.st_size, stamp.st_mtime_ns):
        raise UserError(f"{path}: changed while the store was built; build again when it is complete")
    return _manifest(inputs, cells, panel, totals, shards, count_type, sha256)


def _read_counts(inputs: Inputs, spool: Spool, scratch: Path, bar: Progress) -> tuple[np.ndarray, np.ndarray]:
    """Detected genes and sum of counts of every cell; the checked counts go to the spool."""
    matrix = inputs.source.matrix
    n_detected, sums = np.zeros(matrix.n_cells, dtype=np.int64), np.zeros(matrix.n_cells)
    with bar.stage(f"reading {matrix.name}", matrix.n_cells) as advance:
        for start, block in blocks(matrix, scratch):
            check_counts(block, start, inputs.source, inputs.cells, inputs.genes)
            spool.append(block)
            part = slice(start, start + block.shape[0])
            n_detected[part] = np.diff(block.indptr)
            sums[part] = block.sum(axis=1, dtype=np.float64).A1
            advance(block.shape[0])
    spool.seal()
    return n_detected, sums


def _check_totals(inputs: Inputs, cells: CellSelection, totals: np.ndarray, sums: np.ndarray) -> None:
    column = inputs.config.data.total_counts
    if column is None:
        n_empty = int((sums[cells.order] == 0).sum())
        if n_empty:
            inputs.notes.append(f"{n_empty} cells have no counts at all and stay, as zeros (qc.min_genes=0)")
        return
    wrong = cells.order[~(np.isfinite(totals[cells.order]) & (totals[cells.order] > 0))]
    if len(wrong):
        cell = wrong.min()
        raise UserError(
            f"data.total_counts={column}: {totals[cell]:g} for cell {inputs.cells[cell]} of {inputs.source.path}"
            f" ({len(wrong)} cells in all); library sizes are positive: mend the column or name another"
        )
    n_less = int((totals[cells.order] < sums[cells.order]).sum())
    if n_less:
        inputs.notes.append(f"data.total_counts={column} is below the sum of the file's own counts in {n_less} cells")


def _manifest(
    inputs: Inputs,
    cells: CellSelection,
    panel: Panel,
    totals: np.ndarray,
    shards: list[Shard],
    count_type: CountType,
    sha256: str,
) -> Manifest:
    source, config = inputs.source, inputs.config
    n_passing = len(inputs.genes) - panel.n_below_min_cells
    return Manifest(
        schema_version=SCHEMA_VERSION,
        created_by=f"scbig-dist {version('scbig-dist')}",
        source=Source(
            path=str(source.path),
            sha256=sha256,
            bytes=source.path.stat().st_size,
            matrix=source.matrix.name,
            n_cells=source.matrix.n_cells,
            n_genes=source.matrix.n_genes,
        ),
        data_label=source.data_label,
        data=SourceConfig(**config.data.model_dump(include=set(SourceConfig.model_fields))),
        qc=config.qc,
        panel=config.panel,
        n_cells=len(cells.order),
        n_entries=sum(shard.n_entries for shard in shards),
        median_total=float(np.median(totals[cells.order])),
        count_type=count_type,
        hvg_method=panel.method,
        genes=inputs.genes[panel.columns].tolist(),
        n_targets=panel.n_targets,
        hvg_ranks=panel.ranks,
        n_ranked=panel.n_ranked,
        n_hvg=panel.n_hvg,
        contexts=sorted({condition.context for condition in cells.conditions}),
        perturbations=sorted({condition.perturbation for condition in cells.conditions}),
        batches=list(inputs.labels.batches),
        conditions=[
            ConditionEntry(context=c.context, perturbation=c.perturbation, dose=c.dose, n_cells=int(size))
            for c, size in zip(cells.conditions, cells.sizes, strict=True)
        ],
        targets=Targets(n_found=panel.n_targets, absent=panel.absent, below_min_cells=panel.below_min_cells),
        dropped=Dropped(
            cells_unlabelled=cells.n_unlabelled,
            cells_below_min_genes=cells.n_below_min_genes,
            cells_in_small_conditions=cells.n_in_small,
            cells_without_control=cells.n_without_control,
            small_conditions=cells.small,
            contexts_without_control=cells.without_control,
            genes_below_min_cells=panel.n_below_min_cells,
            genes_outside_panel=n_passing - len(panel.columns),
        ),
        notes=[*inputs.notes, *panel.notes],
        shards=shards,
    )
