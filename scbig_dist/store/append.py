"""More cells for a store that is there: new shards beside the old ones, and a new manifest, in one step."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from scbig_dist.conditions import Condition
from scbig_dist.errors import UserError
from scbig_dist.store.build import check_totals, dropped_cells, shard_plan, unique_names
from scbig_dist.store.collect import Collected, collect, hash_files, measure, require_unchanged, stamp_files
from scbig_dist.store.disk import sync_directory
from scbig_dist.store.inputs import Inputs, columns_of, look_over, targets_of
from scbig_dist.store.integrity import encode_manifest, read_manifest
from scbig_dist.store.names import hash_names
from scbig_dist.store.progress import Progress
from scbig_dist.store.qc import CellSelection, select_cells
from scbig_dist.store.reader import open_store
from scbig_dist.store.room import require_room, shard_bytes, spool_bytes
from scbig_dist.store.schema import CHECKSUM, MANIFEST, ConditionEntry, Manifest, Segment, Shard, Source
from scbig_dist.store.shards import cut_shards, read_batch, write_shard
from scbig_dist.store.workers import Run, threads
from scbig_dist.store.workspace import annexe, replace_file


def append_store(
    store: Path, sources: Path | Sequence[Path], progress: bool = True, run: Run | None = None
) -> Manifest:
    """Add the cells of files, or of directories of them, to a store; returns its new manifest.

    Settings, panel and gene order are the store's; its shards are not touched. Cells pass the same
    QC, and may bring new conditions; a condition's cells of before count towards its size. Killed at any
    moment, the store is the old or the new one. UserError for any fault of the files or the store.
    """
    paths = [Path(path) for path in ([sources] if isinstance(sources, str | Path) else sources)]
    store = Path(os.path.realpath(store))
    open_store(store, verify=True)  # a damaged store is refused before anything is read
    with (
        annexe(store) as folder,
        threads() if run is None else nullcontext(run) as workers,  # ends before the folder goes
        Progress(progress) as bar,
    ):
        manifest, _ = read_manifest(store)  # under the lock
        _remove_strays(store, manifest)
        inputs = look_over(paths, manifest.data, complete=False)
        try:
            new, shards = _append(inputs, manifest, store, folder, workers, bar)
            for shard in shards:
                os.rename(folder / shard.file, store / shard.file)
            sync_directory(store)
            _replace_manifest(store, manifest, new)
        except BaseException:
            _remove_strays(store, read_manifest(store)[0])
            raise
    return new


def _append(
    inputs: Inputs, old: Manifest, store: Path, folder: Path, run: Run, bar: Progress
) -> tuple[Manifest, list[Shard]]:
    require_room(store, spool_bytes(inputs))
    stamps = stamp_files(inputs)
    sources = hash_files(inputs, stamps, run, bar)
    _require_new(sources, old, store)
    genes = np.array([*old.genes, *old.other_genes], dtype=object)
    columns = columns_of(inputs, genes.tolist())
    inputs.notes.extend(_check_genes(inputs, columns, old))
    read = collect(inputs, columns, folder, run, bar)
    held = {entry.condition: entry.n_cells for entry in old.conditions}
    cells = select_cells(inputs.labels, read.n_detected, old.qc, inputs.where, held)
    totals = read.sums if inputs.labels.total is None else inputs.labels.total
    inputs.notes.extend(check_totals(inputs, cells, totals, read))
    panel = np.arange(len(old.genes))
    sizes, largest = measure(read.spool, cells.kept, np.arange(len(genes)) < len(panel), run, bar)
    if largest >= 2**16 and old.count_type == "uint16":
        raise UserError(
            f"{inputs.where}: a count of {largest}, and {store} keeps counts below 65,536;"
            " build a store anew from all files"
        )
    require_room(store, shard_bytes(cells.order, sizes, old.count_type))
    place = {condition: index for index, condition in enumerate(held)}
    place |= {c: len(held) + i for i, c in enumerate(c for c in cells.conditions if c not in held)}
    batches = [*old.batches, *sorted(set(inputs.labels.batches) - set(old.batches))]
    known = {name: index for index, name in enumerate(batches)}
    batch = np.array([*(known[name] for name in inputs.labels.batches), -1], dtype=np.int32)[inputs.labels.batch]
    order, runs = _by_place(cells, place)
    code = np.full(inputs.n_cells, -1, dtype=np.int32)
    code[order] = np.repeat([index for index, _ in runs], [n_cells for _, n_cells in runs])
    renamed, notes = _rename(inputs, order, read, store, old)
    inputs.notes.extend(notes)
    plan = shard_plan(folder, read.spool, genes, panel, old.count_type, renamed)
    with bar.stage("writing shards", len(order)) as advance:
        shards: list[Shard] = []
        for shard in run(write_shard, plan, cut_shards(order, sizes, code, batch, totals, len(old.shards))):
            shards.append(shard)
            advance(shard.n_cells)
    require_unchanged(stamps)
    before = [read_batch(store / shard.file)["total"].to_numpy() for shard in old.shards]
    median = float(np.median(np.concatenate([*before, totals[order]])))
    return _extended(old, inputs, cells, list(place), runs, batches, median, sources, shards), shards


def _by_place(cells: CellSelection, place: dict[Condition, int]) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """The kept cells in the order of the store's conditions, and (condition, cells) along it."""
    ends = np.cumsum(cells.sizes)
    groups = {
        place[condition]: cells.order[end - size : end]
        for condition, size, end in zip(cells.conditions, cells.sizes, ends, strict=True)
    }
    rising = sorted(groups)
    return np.concatenate([groups[index] for index in rising]), [(index, len(groups[index])) for index in rising]


def _require_new(sources: Sequence[Source], old: Manifest, store: Path) -> None:
    held = {(source.sha256, source.labels_sha256): source.path for source in old.sources}
    for source in sources:
        twin = held.get((source.sha256, source.labels_sha256))
        if twin is not None:
            raise UserError(f"{source.path}: its cells are in {store} already (as {twin}); leave it out")


def _check_genes(inputs: Inputs, columns: Sequence[np.ndarray], old: Manifest) -> list[str]:
    """Notes on genes; UserError where a file lacks one of the panel's."""
    notes = []
    n_known = len(old.genes) + len(old.other_genes)
    for file, column_of in zip(inputs.files, columns, strict=True):
        there = np.zeros(n_known, dtype=bool)
        there[column_of[column_of >= 0]] = True
        lacking = np.flatnonzero(~there[: len(old.genes)])
        if len(lacking):
            named = ", ".join(old.genes[index] for index in lacking[:5])
            raise UserError(
                f"{file.path}: {len(lacking)} of the store's {len(old.genes)} genes are not in it ({named}"
                f"{', …' if len(lacking) > 5 else ''}); name its gene column as data.gene_names was when the store was"
                " built, or build a store anew from all files"
            )
        n_missing, n_new = int((~there).sum()), int((column_of[file.is_gene] < 0).sum())
        if n_missing:
            notes.append(
                f"{file.path.name}: {n_missing} genes outside the panel are not in it: library sizes and qc.min_genes"
                " count the others"
            )
        if n_new:
            notes.append(f"{file.path.name}: {n_new} genes that the store's sources do not have count nowhere")
    return notes


def _rename(
    inputs: Inputs, order: np.ndarray, read: Collected, store: Path, old: Manifest
) -> tuple[dict[int, str], list[str]]:
    """New names for cells whose name the store has, or an earlier cell."""
    own = np.sort(read.hashes[order])
    hashes, names = [], []
    for shard in old.shards:
        column = read_batch(store / shard.file)["cell"]
        hashes.append(hash_names(column))
        place = np.minimum(np.searchsorted(own, hashes[-1]), len(own) - 1)
        names += column.take(np.flatnonzero(own[place] == hashes[-1])).to_pylist()
    return unique_names(inputs, order, read, np.concatenate(hashes), names)


def _extended(
    old: Manifest,
    inputs: Inputs,
    cells: CellSelection,
    conditions: Sequence[Condition],
    runs: list[tuple[int, int]],
    batches: list[str],
    median: float,
    sources: Sequence[Source],
    shards: Sequence[Shard],
) -> Manifest:
    """The old manifest with what was appended."""
    sizes = np.zeros(len(conditions), dtype=np.int64)
    sizes[: len(old.conditions)] = [entry.n_cells for entry in old.conditions]
    for index, n_own in runs:
        sizes[index] += n_own
    new = conditions[len(old.conditions) :]
    named = targets_of(new)
    panel, others = set(old.genes), set(old.other_genes)
    absent = {target: n for target, n in named.items() if target not in panel | others}
    outside = {target: n for target, n in named.items() if target in others}
    n_cells = sum(shard.n_cells for shard in shards)
    note = (
        f"{n_cells:,} cells appended from {inputs.where}, {len(new)} conditions of them new; panel, HVG ranking and"
        " QC of genes are those of the build"
    )
    labels = {old.data_label, inputs.data_label}
    dropped = dropped_cells(cells)
    merged = {
        name: _added(getattr(old.dropped, name), dropped[name]) if name in dropped else getattr(old.dropped, name)
        for name in type(old.dropped).model_fields
    }
    return old.model_copy(
        update={
            "sources": [*old.sources, *sources],
            "data_label": "semi-synthetic"
            if "semi-synthetic" in labels
            else "simulated"
            if "simulated" in labels
            else None,
            "n_cells": old.n_cells + n_cells,
            "n_entries": old.n_entries + sum(shard.n_entries for shard in shards),
            "median_total": median,
            "contexts": sorted({condition.context for condition in conditions}),
            "perturbations": sorted({condition.perturbation for condition in conditions}),
            "batches": batches,
            "conditions": [
                ConditionEntry(context=c.context, perturbation=c.perturbation, dose=c.dose, n_cells=int(size))
                for c, size in zip(conditions, sizes, strict=True)
            ],
            "segments": [*old.segments, Segment(n_shards=len(shards), runs=runs)],
            "targets": old.targets.model_copy(
                update={
                    "absent": _added(old.targets.absent, absent),
                    "outside_panel": _added(old.targets.outside_panel, outside),
                }
            ),
            "dropped": type(old.dropped).model_validate(merged),
            "notes": [*old.notes, note, *inputs.notes],
            "shards": [*old.shards, *shards],
        }
    )


def _added(old, new):
    """The sum of two numbers, or of two records of numbers."""
    if isinstance(old, dict):
        return {
            name: old.get(name, 0) + new.get(name, 0) for name in [*old, *(name for name in new if name not in old)]
        }
    return old + new


def _replace_manifest(store: Path, old: Manifest, new: Manifest) -> None:
    """Both checksums first: whichever manifest is there, it has its own beside it."""
    text, line = encode_manifest(new)
    replace_file(store / CHECKSUM, line + encode_manifest(old)[1])
    replace_file(store / MANIFEST, text)
    replace_file(store / CHECKSUM, line)


def _remove_strays(store: Path, manifest: Manifest) -> None:
    """Shards that no manifest came to name."""
    named = {shard.file for shard in manifest.shards}
    for file in store.glob("cells-*.arrow"):
        if file.name not in named:
            file.unlink()
