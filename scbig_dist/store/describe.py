"""A store in words: what was kept, what was dropped, where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scbig_dist.store.reader import Store
from scbig_dist.store.schema import Manifest

N_LISTED = 8  # names shown before "and … more"


def build_lines(manifest: Manifest, path: Path) -> list[str]:
    """What the user reads after a build."""
    return [
        f"{path}: {manifest.n_cells:,} cells × {len(manifest.genes):,} genes, {_conditions(manifest)}, {_size(manifest)}",
        *(f"dropped: {line}" for line in dropped_lines(manifest)),
        *(f"note: {line}" for line in note_lines(manifest)),
    ]


def append_lines(manifest: Manifest, path: Path) -> list[str]:
    """What the user reads after an append."""
    n_shards = manifest.segments[-1].n_shards
    n_cells = sum(n_own for _, n_own in manifest.segments[-1].runs)
    return [
        f"{path}: {n_cells:,} cells more in {n_shards} shard{'s' if n_shards > 1 else ''}",
        *build_lines(manifest, path),
    ]


def dropped_lines(manifest: Manifest) -> list[str]:
    dropped, qc = manifest.dropped, manifest.qc
    lines = [
        (dropped.cells_unlabelled, "cells without a label"),
        (dropped.cells_below_min_genes, f"cells below qc.min_genes={qc.min_genes}"),
        (
            dropped.cells_in_small_conditions,
            f"cells in {len(dropped.small_conditions)} conditions below qc.min_cells_per_condition="
            f"{qc.min_cells_per_condition}: {_listed(dropped.small_conditions)}",
        ),
        (
            dropped.cells_without_control,
            f"cells in contexts without control: {_listed(dropped.contexts_without_control)}",
        ),
        (dropped.genes_below_min_cells, f"genes below qc.min_cells={qc.min_cells}"),
        (dropped.genes_outside_panel, f"genes outside the panel (panel.n_hvg={manifest.panel.n_hvg})"),
    ]
    return [f"{n:,} {what}" for n, what in lines if n]


def note_lines(manifest: Manifest) -> list[str]:
    targets, notes = manifest.targets, list(manifest.notes)
    if targets.absent:
        n_all = targets.n_found + len(targets.absent)
        hint = "" if targets.n_found else "; if these are genes, look at data.separator and data.gene_names"
        notes.append(
            f"{len(targets.absent)} of {n_all} targets are no gene of the files (conditions): {_listed(targets.absent)}{hint}"
        )
    if targets.outside_panel:
        notes.append(
            f"{len(targets.outside_panel)} targets of appended cells are genes outside the panel (conditions):"
            f" {_listed(targets.outside_panel)}; build a store anew to have them in it"
        )
    if targets.below_min_cells:
        kept = _listed(dict.fromkeys(targets.below_min_cells))
        notes.append(f"{len(targets.below_min_cells)} perturbed genes stay although below qc.min_cells: {kept}")
    return notes


def facts(store: Store) -> dict[str, Any]:
    """What `store info --json` prints: the manifest without its long lists, and what follows from it."""
    manifest = store.manifest
    tree = manifest.model_dump(
        mode="json", exclude={"genes", "other_genes", "hvg_ranks", "conditions", "segments", "shards", "perturbations"}
    )
    return {
        "path": store.name,
        "key": store.key,
        "n_genes": len(manifest.genes),
        "n_conditions": len(manifest.conditions),
        "n_controls": _kinds(manifest)[0],
        "n_singles": _kinds(manifest)[1],
        "n_doubles": _kinds(manifest)[2],
        "density": _density(manifest),
        "n_shards": len(manifest.shards),
        "bytes": sum(shard.bytes for shard in manifest.shards),
        **tree,
    }


def summary(store: Store) -> list[tuple[str, str]]:
    """Rows of `store info`."""
    manifest = store.manifest
    targets = manifest.targets
    per_context = {
        context: sum(entry.n_cells for entry in manifest.conditions if entry.context == context)
        for context in manifest.contexts
    }
    sizes = [entry.n_cells for entry in manifest.conditions if not entry.condition.is_control]
    columns = {
        "condition": manifest.data.condition,
        "context": manifest.data.context,
        "batch": manifest.data.batch,
        "dose": manifest.data.dose,
        "total_counts": manifest.data.total_counts,
        "gene_names": manifest.data.gene_names,
    }
    shown = manifest.sources[:N_LISTED]
    rows = [
        ("cells", f"{manifest.n_cells:,}"),
        ("genes", f"{len(manifest.genes):,} ({manifest.n_targets} perturbed, then by HVG rank)"),
        ("HVGs", f"{manifest.n_hvg:,} of {manifest.n_ranked:,} ranked"),
        ("HVG method", manifest.hvg_method),
        ("contexts (cells)", _listed(per_context)),
        ("conditions", _conditions(manifest)),
        ("cells per condition", f"{min(sizes)} to {max(sizes)}"),
        ("targets", f"{targets.n_found} of {targets.n_found + len(targets.absent)} are genes of the file"),
        ("library size", f"median {manifest.median_total:,.0f}, normalised to {manifest.data.target_sum:,.0f}"),
        ("non-zero", f"{manifest.n_entries:,} counts, {_density(manifest):.1%} of the panel"),
        ("size", _size(manifest)),
        *(("source", f"{s.path} ({s.matrix}, {s.n_cells:,} × {s.n_genes:,}), sha256 {s.sha256[:16]}…") for s in shown),
        *(
            [("", f"and {len(manifest.sources) - len(shown)} more sources")]
            if len(shown) < len(manifest.sources)
            else []
        ),
        ("data", manifest.data_label or "real, or not said"),
        ("columns", ", ".join(f"{name}={value}" for name, value in columns.items() if value is not None)),
    ]
    rows += [("dropped", line) for line in dropped_lines(manifest)]
    rows += [("note", line) for line in note_lines(manifest)]
    return [*rows, ("schema", f"{manifest.schema_version}, by {manifest.created_by}"), ("key", store.key)]


def _kinds(manifest: Manifest) -> tuple[int, int, int]:
    """Conditions with no, one and two targets."""
    n_targets = [len(entry.condition.targets) for entry in manifest.conditions]
    return n_targets.count(0), n_targets.count(1), n_targets.count(2)


def _conditions(manifest: Manifest) -> str:
    controls, singles, doubles = _kinds(manifest)
    more = len(manifest.conditions) - controls - singles - doubles
    higher = f", {more} of more targets" if more else ""
    return f"{len(manifest.conditions)} conditions ({singles} singles, {doubles} doubles{higher}, {controls} control)"


def _density(manifest: Manifest) -> float:
    return manifest.n_entries / (manifest.n_cells * len(manifest.genes))


def _size(manifest: Manifest) -> str:
    n_bytes = sum(shard.bytes for shard in manifest.shards)
    return f"{n_bytes / 1e6:,.1f} MB in {len(manifest.shards)} shard{'s' if len(manifest.shards) > 1 else ''}"


def _listed(names: Mapping[str, int | None]) -> str:
    shown = [name if n is None else f"{name} {n:,}" for name, n in list(names.items())[:N_LISTED]]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
