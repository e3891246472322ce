"""An open cell store: memory-mapped shards, read in any order into dense batches."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from scbig_dist.conditions import CONTROL, Condition
from scbig_dist.errors import UserError, suggest
from scbig_dist.store.integrity import REBUILD, check_checksums, check_sizes, read_manifest
from scbig_dist.store.kernel import scatter
from scbig_dist.store.schema import Manifest
from scbig_dist.store.shards import read_batch


def open_store(path: str | Path, verify: bool = False) -> Store:
    """Open a store for reading; `verify` reads every byte first. UserError where it is not sound."""
    path = Path(path)
    manifest, key = read_manifest(path)
    problems = check_sizes(path, manifest) or (check_checksums(path, manifest) if verify else [])
    if problems:
        raise UserError(f"store {path}: {problems[0]}; {REBUILD} (`scbig store check` lists all)")
    return Store(path, manifest, key)


class Store:
    """Cells in store order, sorted by (context, perturbation, dose). Made by `open_store`.

    Threads may share one; a copy sent to another process opens the files anew.
    """

    def __init__(self, path: Path, manifest: Manifest, key: str) -> None:
        self.path = path
        self.manifest = manifest
        self.key = key
        self.genes = manifest.genes
        self.n_cells = manifest.n_cells
        self.n_targets = manifest.n_targets
        self.conditions: tuple[Condition, ...] = tuple(entry.condition for entry in manifest.conditions)
        ends = np.cumsum([entry.n_cells for entry in manifest.conditions], dtype=np.int64)
        self.ranges = np.stack([ends - [entry.n_cells for entry in manifest.conditions], ends], axis=1)
        self._place = {condition: place for place, condition in enumerate(self.conditions)}
        self._ranks = np.array([r for r in manifest.hvg_ranks[manifest.n_targets :] if r is not None], dtype=np.int64)
        self._narrow = manifest.count_type == "uint16"
        try:
            self._batches = [read_batch(path / shard.file) for shard in manifest.shards]
        except (OSError, pa.ArrowInvalid) as error:
            raise UserError(
                f"store {path}: a shard is damaged ({' '.join(str(error).split())[:100]}); {REBUILD}"
            ) from None
        self._first = np.cumsum([0, *(shard.n_cells for shard in manifest.shards)], dtype=np.int64)
        self._addresses = np.array([_addresses(batch) for batch in self._batches], dtype=np.int64)

    def __reduce__(self) -> tuple[object, ...]:
        return open_store, (self.path,)

    def __repr__(self) -> str:
        return f"Store({self.path}: {self.n_cells} cells × {len(self.genes)} genes, {len(self.conditions)} conditions)"

    @cached_property
    def obs(self) -> pd.DataFrame:
        """One row per cell, by cell name: condition, context, total_counts, and batch and dose where the store has them."""
        manifest = self.manifest
        code = self._column("condition")
        entries = manifest.conditions
        obs = pd.DataFrame(
            index=pd.Index(np.concatenate([batch["cell"].to_numpy(False) for batch in self._batches]), name="cell")
        )
        for name, vocabulary, of_entry in (
            ("condition", manifest.perturbations, [entry.perturbation for entry in entries]),
            ("context", manifest.contexts, [entry.context for entry in entries]),
        ):
            place = {label: index for index, label in enumerate(vocabulary)}
            codes = np.array([place[label] for label in of_entry])[code]
            obs[name] = pd.Categorical.from_codes(codes, categories=vocabulary)
        if manifest.data.batch is not None:
            obs["batch"] = pd.Categorical.from_codes(self._column("batch"), categories=manifest.batches)
        if manifest.data.dose is not None:
            obs["dose"] = np.array([np.nan if entry.dose is None else entry.dose for entry in entries])[code]
        obs["total_counts"] = self._column("total")
        return obs

    def cells(self, condition: Condition) -> np.ndarray:
        """Positions of a condition's cells, a range."""
        if condition not in self._place:
            raise UserError(
                f"condition {condition.name}: not in store {self.path}; {suggest(condition.name, [c.name for c in self.conditions])}"
            )
        start, stop = self.ranges[self._place[condition]]
        return np.arange(start, stop)

    def control(self, context: str) -> Condition:
        """The control condition of a context."""
        condition = Condition(context, CONTROL)
        if condition not in self._place:
            raise UserError(f"context {context}: not in store {self.path}; {suggest(context, self.manifest.contexts)}")
        return condition

    def n_genes(self, n_hvg: int | None) -> int:
        """Columns of the panel with `n_hvg` HVGs, perturbed genes included; a prefix of the store. None: all columns.

        More HVGs than the source has are capped; more than the store kept of it is a UserError.
        """
        if n_hvg is None:
            return len(self.genes)
        if n_hvg < 1:
            raise UserError(f"panel.n_hvg={n_hvg}: at least 1, or null for the whole store")
        if n_hvg > self.manifest.n_hvg < self.manifest.n_ranked:
            raise UserError(
                f"panel.n_hvg={n_hvg}: store {self.path} keeps {self.manifest.n_hvg} HVGs of {self.manifest.n_ranked};"
                f" build it with panel.n_hvg={n_hvg} or more (null: all genes)"
            )
        return self.n_targets + int(np.searchsorted(self._ranks, n_hvg))

    def dense(
        self,
        cells: Sequence[int] | np.ndarray,
        n_genes: int | None = None,
        normalized: bool = True,
        out: np.ndarray | None = None,
    ) -> np.ndarray:
        """float32 (len(cells), n_genes) over the first `n_genes` columns (None: all).

        log1p(count × target_sum / library size), or raw counts. `out`: a C-ordered float32 buffer of
        that shape to fill and return. IndexError for a cell that the store does not have.
        """
        positions = np.asarray(cells)
        if positions.ndim != 1 or (positions.dtype.kind not in "iu" and positions.size):
            raise IndexError(f"cells are integer positions in one dimension, found {positions.dtype} {positions.shape}")
        positions = np.ascontiguousarray(positions, dtype=np.int64)
        if positions.size and (positions.min() < 0 or positions.max() >= self.n_cells):
            wrong = positions[(positions < 0) | (positions >= self.n_cells)][0]
            raise IndexError(f"cell {wrong}: the store has cells 0 to {self.n_cells - 1}")
        width = len(self.genes) if n_genes is None else n_genes
        if not 0 <= width <= len(self.genes):
            raise IndexError(f"n_genes={n_genes}: the store has {len(self.genes)} genes")
        if out is None:
            out = np.empty((len(positions), width), dtype=np.float32)
        elif (
            out.shape != (len(positions), width)
            or out.dtype != np.float32
            or not out.flags.c_contiguous
            or not out.flags.writeable
        ):
            raise ValueError(
                f"out: a writeable C-ordered float32 array of shape {(len(positions), width)}, found {out.dtype} {out.shape}"
            )
        target_sum = float(self.manifest.data.target_sum)
        scatter(positions, self._first, self._addresses, width, self._narrow, normalized, target_sum, out)
        return out

    def _column(self, name: str) -> np.ndarray:
        return np.concatenate([batch[name].to_numpy() for batch in self._batches])


def _addresses(batch: pa.RecordBatch) -> tuple[int, int, int, int]:
    """Where row pointer, genes, counts and totals of a shard begin in memory."""
    genes, counts, total = batch["genes"], batch["counts"], batch["total"]
    assert genes.offset == counts.offset == total.offset == 0
    return genes.buffers()[1].address, _values(genes), _values(counts), total.buffers()[1].address


def _values(column: pa.LargeListArray) -> int:
    buffer = column.values.buffers()[1]
    return buffer.address if buffer is not None else 0
