"""From files of counts to a cell store, in passes whose memory is bounded by parts of the files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa

from scbig_dist.config import Config
from scbig_dist.config_data import SourceConfig
from scbig_dist.errors import UserError
from scbig_dist.store.collect import Collected, collect, hash_files, measure, require_unchanged, stamp_files
from scbig_dist.store.inputs import Inputs, columns_of, look_over, shared_genes
from scbig_dist.store.integrity import write_manifest
from scbig_dist.store.moments import Pass
from scbig_dist.store.names import hash_names, make_unique
from scbig_dist.store.panel import Panel, choose_panel
from scbig_dist.store.progress import Progress
from scbig_dist.store.qc import CellSelection, select_cells
from scbig_dist.store.ranking import n_passes
from scbig_dist.store.room import require_room, shard_bytes, spool_bytes
from scbig_dist.store.schema import (
    SCHEMA_VERSION,
    ConditionEntry,
    CountType,
    Dropped,
    Manifest,
    Segment,
    Shard,
    Source,
    Targets,
)
from scbig_dist.store.shards import ShardPlan, cut_shards, names_of, write_shard
from scbig_dist.store.spool import SpoolPart
from scbig_dist.store.workers import Run, threads
from scbig_dist.store.workspace import publish, require_free, workspace


def build_store(
    sources: Path | Sequence[Path],
    out: Path,
    config: Config,
    progress: bool = True,
    force: bool = False,
    run: Run | None = None,
) -> Manifest:
    """Write the cell store `out` from files of counts, or directories of them; returns its manifest.

    Uses `config.data`, `config.qc` and `config.panel`. The store appears whole or not at all.
    `force` replaces a store that is there, once the new one is whole. `run`: who does the parts
    (default: threads of this process); the bytes of the store do not depend on it. UserError for
    any fault of the files, the settings or the place.
    """
    paths = [Path(path) for path in ([sources] if isinstance(sources, str | Path) else sources)]
    out = Path(os.path.realpath(out))
    require_free(out, force)
    inputs = look_over(paths, config.data)
    with (
        workspace(out, force) as folder,
        threads() if run is None else nullcontext(run) as workers,  # ends before the folder goes
        Progress(progress) as bar,
    ):
        scratch = folder / "scratch"
        scratch.mkdir()
        manifest = _build(inputs, config, folder, scratch, workers, bar)
        shutil.rmtree(scratch)
        write_manifest(folder, manifest)
        publish(folder, out)
    return manifest


def _build(inputs: Inputs, config: Config, folder: Path, scratch: Path, run: Run, bar: Progress) -> Manifest:
    require_room(folder, spool_bytes(inputs))
    stamps = stamp_files(inputs)
    genes, notes = shared_genes(inputs)
    inputs.notes.extend(notes)
    read = collect(inputs, columns_of(inputs, genes.tolist()), scratch, run, bar)
    cells = select_cells(inputs.labels, read.n_detected, config.qc, inputs.where)
    totals = read.sums if inputs.labels.total is None else inputs.labels.total
    inputs.notes.extend(check_totals(inputs, cells, totals, read))
    with bar.stage("ranking genes", inputs.n_cells * n_passes(config)) as advance:
        spooled = Pass(run, read.spool, cells.kept, len(genes), advance)
        panel = choose_panel(cells, spooled, totals, genes, config, inputs.where)
    in_panel = np.zeros(len(genes), dtype=bool)
    in_panel[panel.columns] = True
    sizes, largest = measure(read.spool, cells.kept, in_panel, run, bar)
    count_type: CountType = "uint16" if largest < 2**16 else "uint32"
    require_room(folder, shard_bytes(cells.order, sizes, count_type))
    code = np.full(inputs.n_cells, -1, dtype=np.int32)
    code[cells.order] = np.repeat(np.arange(len(cells.conditions), dtype=np.int32), cells.sizes)
    renamed, notes = unique_names(inputs, cells.order, read)
    inputs.notes.extend(notes)
    plan = shard_plan(folder, read.spool, genes, panel.columns, count_type, renamed)
    batch = inputs.labels.batch
    with bar.stage("writing shards", len(cells.order)) as advance:
        shards: list[Shard] = []
        for shard in run(write_shard, plan, cut_shards(cells.order, sizes, code, batch, totals, 0)):
            shards.append(shard)
            advance(shard.n_cells)
    recorded = hash_files(inputs, stamps, run, bar)
    require_unchanged(stamps)
    return _manifest(inputs, config, cells, genes, panel, totals, shards, count_type, recorded)


def shard_plan(
    folder: Path,
    spool: Sequence[SpoolPart],
    genes: np.ndarray,
    columns: np.ndarray,
    count_type: str,
    renamed: dict[int, str],
) -> ShardPlan:
    """The plan for shards with the genes in use at `columns`, in that order."""
    store_column = np.full(len(genes), -1, dtype=np.int32)
    store_column[columns] = np.arange(len(columns))
    firsts = np.array([part.first for part in spool], dtype=np.int64)
    return ShardPlan(folder, tuple(spool), firsts, store_column, len(columns), count_type, renamed)


def unique_names(
    inputs: Inputs, order: np.ndarray, read: Collected, held: np.ndarray | None = None, twins: Sequence[str] = ()
) -> tuple[dict[int, str], list[str]]:
    """New names of kept cells whose name an earlier cell has, and notes.

    `held`: hashes of the names in the store that is appended to; `twins`: those of its names whose hash comes again.
    """
    cells = np.sort(order)
    firsts, stems = inputs.firsts, [file.path.stem for file in inputs.files]
    n_twins = len(twins)

    def named(places: np.ndarray) -> list[str]:
        own = places[places >= n_twins] - n_twins
        return [*(twins[place] for place in places[places < n_twins]), *names_of(read.spool, cells[own])]

    def suffix(place: int) -> str:
        file = int(np.searchsorted(firsts, cells[place - n_twins], side="right")) - 1
        return f"-{stems[file]}" if file or held is not None else ""

    hashes = np.concatenate([hash_names(pa.array(twins, pa.large_string())), read.hashes[cells]])
    found = make_unique(hashes, n_twins, named, suffix, np.zeros(0, dtype=np.uint64) if held is None else held)
    renamed = {int(cells[place - n_twins]): name for place, name in found.renamed.items()}
    if found.first is None:
        return renamed, []
    before, after = found.first
    return renamed, [f"{found.n_double} duplicate cell names made unique with a suffix (first: {before} → {after})"]


def check_totals(inputs: Inputs, cells: CellSelection, totals: np.ndarray, read: Collected) -> list[str]:
    """Notes on library sizes; UserError where one that `data.total_counts` gives is not positive."""
    column, order = inputs.data.total_counts, cells.order
    if column is None:
        n_empty = int((read.sums[order] == 0).sum())
        return [f"{n_empty} cells have no counts at all and stay, as zeros (qc.min_genes=0)"] if n_empty else []
    wrong = order[~(np.isfinite(totals[order]) & (totals[order] > 0))]
    if len(wrong):
        cell = int(wrong.min())
        raise UserError(
            f"data.total_counts={column}: {totals[cell]:g} for cell {inputs.cells.names(cell, cell + 1)[0]} of {inputs.where}"
            f" ({len(wrong)} cells in all); library sizes are positive: mend the column or name another"
        )
    n_less = int((totals[order] < read.sums[order]).sum())
    return [f"data.total_counts={column} is below the sum of the file's own counts in {n_less} cells"] if n_less else []


def dropped_cells(cells: CellSelection) -> dict[str, object]:
    """What was left out of the cells, in the manifest's words."""
    return {
        "cells_unlabelled": cells.n_unlabelled,
        "cells_below_min_genes": cells.n_below_min_genes,
        "cells_in_small_conditions": cells.n_in_small,
        "cells_without_control": cells.n_without_control,
        "small_conditions": cells.small,
        "contexts_without_control": cells.without_control,
    }


def _manifest(
    inputs: Inputs,
    config: Config,
    cells: CellSelection,
    genes: np.ndarray,
    panel: Panel,
    totals: np.ndarray,
    shards: list[Shard],
    count_type: CountType,
    sources: list[Source],
) -> Manifest:
    inside = set(panel.columns.tolist())
    n_passing = len(genes) - panel.n_below_min_cells
    return Manifest(
        schema_version=SCHEMA_VERSION,
        created_by=f"scbig-dist {version('scbig-dist')}",
        sources=sources,
        data_label=inputs.data_label,
        data=SourceConfig(**inputs.data.model_dump()),
        qc=config.qc,
        panel=config.panel,
        n_cells=len(cells.order),
        n_entries=sum(shard.n_entries for shard in shards),
        median_total=float(np.median(totals[cells.order])),
        count_type=count_type,
        hvg_method=panel.method,
        genes=genes[panel.columns].tolist(),
        n_targets=panel.n_targets,
        hvg_ranks=panel.ranks,
        n_ranked=panel.n_ranked,
        n_hvg=panel.n_hvg,
        other_genes=[gene for column, gene in enumerate(genes.tolist()) if column not in inside],
        contexts=sorted({condition.context for condition in cells.conditions}),
        perturbations=sorted({condition.perturbation for condition in cells.conditions}),
        batches=list(inputs.labels.batches),
        conditions=[
            ConditionEntry(context=c.context, perturbation=c.perturbation, dose=c.dose, n_cells=int(size))
            for c, size in zip(cells.conditions, cells.sizes, strict=True)
        ],
        segments=[Segment(n_shards=len(shards), runs=list(enumerate(cells.sizes.tolist())))],
        targets=Targets(
            n_found=panel.n_targets, absent=panel.absent, below_min_cells=panel.below_min_cells, outside_panel={}
        ),
        dropped=Dropped.model_validate(
            {
                **dropped_cells(cells),
                "genes_below_min_cells": panel.n_below_min_cells,
                "genes_outside_panel": n_passing - len(panel.columns),
            }
        ),
        notes=[*inputs.notes, *panel.notes],
        shards=shards,
    )
