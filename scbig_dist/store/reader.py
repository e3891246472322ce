"""An open cell store: memory-mapped shards, read in any order into dense batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from scbig_dist.conditions import CONTROL, Condition
from scbig_dist.errors import UserError, suggest
from scbig_dist.store.files import Folder, is_uri
from scbig_dist.store.integrity import REBUILD, check_sizes, read_manifest
from scbig_dist.store.kernel import gather, locate, pointers, scatter
from scbig_dist.store.mapped import Shards
from scbig_dist.store.node_copy import NodeCopy
from scbig_dist.store.readahead import read_ahead
from scbig_dist.store.remote import RemoteFiles
from scbig_dist.store.schema import Manifest, Shard
from scbig_dist.store.verified import cache_folder, verify_once


def open_store(
    place: str | Path, verify: bool = False, cache: str | None = None, placement: Literal["copy", "shard"] = "copy"
) -> Store:
    """Open the store at a path, or at a URI through this node's copy in `cache` (`data.cache`, `data.placement`).

    `verify`: bytes that this machine has not read before are compared with their checksums; of a
    copy they always are, as they come in. UserError where the store is not sound.
    """
    if is_uri(place):
        copy = NodeCopy(RemoteFiles(str(place)), cache_folder(cache))
        copy.prepare()
        if placement == "copy":
            copy.fetch(copy.manifest.shards)
        origin = Origin(str(place), cache, placement)
        return Store(copy.folder, copy.manifest, copy.key, origin, copy.fetch if placement == "shard" else None)
    path = Path(place)
    manifest, key = read_manifest(path)
    problems = check_sizes(Folder(path), manifest.shards)
    if verify and not problems:
        problems = verify_once(path, key, manifest.shards, cache_folder(cache))
    if problems:
        raise UserError(f"store {path}: {problems[0]}; {REBUILD} (`scbig store check` lists all)")
    return Store(path, manifest, key)


class Origin(NamedTuple):
    """How to open a remote store again, on this node or another."""

    uri: str
    cache: str | None
    placement: Literal["copy", "shard"]


class SparseRows(NamedTuple):
    """Counts of some cells: row i is entries[pointer[i]:pointer[i + 1]]; normalised, log1p(counts * scale[i])."""

    pointer: np.ndarray  # int64 (cell + 1,)
    genes: np.ndarray  # uint16, store columns, rising within a row
    counts: np.ndarray  # uint16 or uint32, as in the store
    scale: np.ndarray  # float32 (cell,), target_sum / library size


class Store:
    """Cells in store order: sorted by condition, segment by segment (schema.py). Made by `open_store`.

    Threads may share one; a copy sent to another process opens the files anew.
    """

    def __init__(
        self,
        path: Path,
        manifest: Manifest,
        key: str,
        origin: Origin | None = None,
        fetch: Callable[[list[Shard]], None] | None = None,
    ) -> None:
        self.path = path
        self.name = str(path) if origin is None else origin.uri
        self._origin = origin
        self.manifest = manifest
        self.key = key
        self.genes = manifest.genes
        self.n_cells = manifest.n_cells
        self.n_targets = manifest.n_targets
        self.conditions: tuple[Condition, ...] = tuple(entry.condition for entry in manifest.conditions)
        self.runs = _runs(manifest)
        self._place = {condition: place for place, condition in enumerate(self.conditions)}
        self._ranks = np.array([r for r in manifest.hvg_ranks[manifest.n_targets :] if r is not None], dtype=np.int64)
        self._narrow = manifest.count_type == "uint16"
        try:
            self._shards = Shards(path, manifest.shards, fetch)
        except (OSError, pa.ArrowInvalid) as error:
            raise UserError(
                f"store {self.name}: a shard is damaged ({' '.join(str(error).split())[:100]}); {REBUILD}"
            ) from None

    def __reduce__(self) -> tuple[object, ...]:
        if self._origin is None:
            return open_store, (self.path,)
        return open_store, (self._origin.uri, False, self._origin.cache, self._origin.placement)

    def __repr__(self) -> str:
        return f"Store({self.name}: {self.n_cells} cells × {len(self.genes)} genes, {len(self.conditions)} conditions)"

    @cached_property
    def obs(self) -> pd.DataFrame:
        """One row per cell, by cell name: condition, context, total_counts, and batch and dose where the store has them."""
        manifest = self.manifest
        code = self._column("condition")
        entries = manifest.conditions
        obs = pd.DataFrame(
            index=pd.Index(
                np.concatenate([names.to_numpy(False) for names in self._shards.column("cell")]), name="cell"
            )
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

    def annotations(self, start: int, stop: int) -> pa.Table:
        """`batch` (code), `total` (library size) and `cell` (name) of the cells from `start` to `stop`."""
        return self._shards.table(start, stop, ["batch", "total", "cell"])

    def cells(self, condition: Condition) -> np.ndarray:
        """Positions of a condition's cells: a range, and one more per append that brought some."""
        return np.concatenate([np.arange(start, stop) for start, stop in self._ranges(condition)])

    def draw(self, condition: Condition, n_cells: int, rng: np.random.Generator) -> np.ndarray:
        """`rng.choice(self.cells(condition), n_cells)`, whose cost does not grow with the condition: no list of its cells."""
        ranges = self._ranges(condition)
        ends = np.cumsum(ranges[:, 1] - ranges[:, 0])
        places = rng.choice(int(ends[-1]), n_cells)
        return places + (ranges[:, 1] - ends)[np.searchsorted(ends, places, side="right")]

    def control(self, context: str) -> Condition:
        """The control condition of a context."""
        condition = Condition(context, CONTROL)
        if condition not in self._place:
            raise UserError(f"context {context}: not in store {self.name}; {suggest(context, self.manifest.contexts)}")
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
                f"panel.n_hvg={n_hvg}: store {self.name} keeps {self.manifest.n_hvg} HVGs of {self.manifest.n_ranked};"
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
        positions, width = self._positions(cells), self._width(n_genes)
        if out is None:
            out = np.empty((len(positions), width), dtype=np.float32)
        _check_out(out, (len(positions), width), (np.float32,))
        self._scatter(positions, width, normalized, out)
        return out

    def narrow(self, cells: Sequence[int] | np.ndarray, out: np.ndarray) -> np.ndarray:
        """Raw counts over the first columns into `out`, uint8 or uint16 (len(cells), n_genes); the caller knows that they fit."""
        positions = self._positions(cells)
        _check_out(out, (len(positions), self._width(out.shape[-1])), (np.uint8, np.uint16))
        self._scatter(positions, out.shape[1], False, out)
        return out

    def sparse(
        self,
        cells: Sequence[int] | np.ndarray,
        n_genes: int | None = None,
        empty: Callable[[int, type], np.ndarray] = np.empty,
    ) -> SparseRows:
        """The cells' counts over the first `n_genes` columns in CSR form; `empty(n, dtype)` gives the arrays for genes and counts."""
        positions, width = self._positions(cells), self._width(n_genes)
        rows, scales = locate(positions, self._shards.first, self._shards.addresses, self._target_sum)
        pointer = pointers(rows, width)
        genes = empty(int(pointer[-1]), np.uint16)
        counts = empty(int(pointer[-1]), np.uint16 if self._narrow else np.uint32)
        gather(rows, pointer, genes, counts)
        return SparseRows(pointer, genes, counts, scales.astype(np.float32))

    def scales(self, cells: Sequence[int] | np.ndarray) -> np.ndarray:
        """float32, target_sum / library size of each cell; 0 for one without counts."""
        return locate(self._positions(cells), self._shards.first, self._shards.addresses, self._target_sum)[1].astype(
            np.float32
        )

    def read_ahead(self, starts: np.ndarray, stops: np.ndarray) -> None:
        """Ask the kernel for the pages of these ranges of cells; returns while they are read (readahead.py)."""
        self._shards.need_ranges(starts, stops)
        read_ahead(starts, stops, self._shards.first, self._shards.addresses, 2 if self._narrow else 4)

    def expect_random(self, random: bool) -> None:
        """Tell the kernel whether neighbours of a page that is touched are worth reading: not where all is asked for ahead."""
        self._shards.expect_random(random)

    @property
    def bytes_of_rows(self) -> int:
        """Bytes of all genes and counts: what a page cache must hold to serve any cell without the disk."""
        return self.manifest.n_entries * (4 if self._narrow else 6)

    @property
    def _target_sum(self) -> float:
        return float(self.manifest.data.target_sum)

    def _scatter(self, positions: np.ndarray, width: int, normalized: bool, out: np.ndarray) -> None:
        scatter(
            positions,
            self._shards.first,
            self._shards.addresses,
            width,
            self._narrow,
            normalized,
            self._target_sum,
            out,
        )

    def _ranges(self, condition: Condition) -> np.ndarray:
        """int64 (range, 2): first cell and end of each range of a condition's cells."""
        if condition not in self._place:
            raise UserError(
                f"condition {condition.name}: not in store {self.name}; {suggest(condition.name, [c.name for c in self.conditions])}"
            )
        return self.runs[self.runs[:, 0] == self._place[condition], 1:]

    def _positions(self, cells: Sequence[int] | np.ndarray) -> np.ndarray:
        """Checked positions, int64; their shards are mapped."""
        positions = np.asarray(cells)
        if positions.ndim != 1 or (positions.dtype.kind not in "iu" and positions.size):
            raise IndexError(f"cells are integer positions in one dimension, found {positions.dtype} {positions.shape}")
        positions = np.ascontiguousarray(positions, dtype=np.int64)
        if positions.size and (positions.min() < 0 or positions.max() >= self.n_cells):
            wrong = positions[(positions < 0) | (positions >= self.n_cells)][0]
            raise IndexError(f"cell {wrong}: the store has cells 0 to {self.n_cells - 1}")
        self._shards.need(positions)
        return positions

    def _width(self, n_genes: int | None) -> int:
        width = len(self.genes) if n_genes is None else n_genes
        if not 0 <= width <= len(self.genes):
            raise IndexError(f"n_genes={n_genes}: the store has {len(self.genes)} genes")
        return width

    def _column(self, name: str) -> np.ndarray:
        return np.concatenate([part.to_numpy() for part in self._shards.column(name)])


def _check_out(out: np.ndarray, shape: tuple[int, int], types: tuple[type, ...]) -> None:
    if out.shape != shape or out.dtype not in types or not out.flags.c_contiguous or not out.flags.writeable:
        names = " or ".join(np.dtype(type_).name for type_ in types)
        raise ValueError(f"out: a writeable C-ordered {names} array of shape {shape}, found {out.dtype} {out.shape}")


def _runs(manifest: Manifest) -> np.ndarray:
    """int64 (run, 3), store order: cells of one condition in a row, as (place of the condition, start, stop)."""
    runs = np.array([run for segment in manifest.segments for run in segment.runs], dtype=np.int64).reshape(-1, 2)
    ends = np.cumsum(runs[:, 1])
    return np.stack([runs[:, 0], ends - runs[:, 1], ends], axis=1)
