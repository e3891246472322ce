"""The shards of an open store, each mapped into memory at the latest when a cell of it is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock

import numpy as np
import pyarrow as pa

from scbig_dist.store.files import Folder
from scbig_dist.store.readahead import expect_random
from scbig_dist.store.schema import Shard


class Shards:
    """`addresses` and `first` as the kernels take them; a shard's addresses count once `need` has returned.

    `fetch`, where shards are still elsewhere, brings some of them into the folder; shards are then
    mapped one by one. Without it all are mapped at once. Threads may share one.
    """

    def __init__(
        self, folder: Path, shards: Sequence[Shard], fetch: Callable[[list[Shard]], None] | None = None
    ) -> None:
        self._files, self._shards, self._fetch = Folder(folder), shards, fetch
        self._batches: list[pa.RecordBatch | None] = [None] * len(shards)
        self._absent = np.ones(len(shards), dtype=bool)
        self._random, self._lock = False, Lock()
        sizes = [shard.n_cells for shard in shards]
        self.first = np.cumsum([0, *sizes], dtype=np.int64)  # the cell that each shard begins with
        self.addresses = np.zeros((len(shards), 4), dtype=np.int64)  # of row pointer, genes, counts, totals
        self.lazy = fetch is not None
        if not self.lazy:
            self._map(np.arange(len(shards)))

    def need(self, cells: np.ndarray) -> None:
        """Return once the shards of these cells (checked positions) are mapped."""
        if self.lazy and self._absent.any():
            self._bring(np.unique(np.searchsorted(self.first, cells, side="right") - 1))

    def need_ranges(self, starts: np.ndarray, stops: np.ndarray) -> None:
        """The same for ranges of cells."""
        if self.lazy and self._absent.any():
            parts = [np.arange(*self._span(start, stop)) for start, stop in zip(starts, stops, strict=True)]
            self._bring(np.unique(np.concatenate(parts)) if parts else np.zeros(0, dtype=np.int64))

    def column(self, name: str) -> list[pa.Array]:
        """A column of every shard, which takes all of them."""
        self._bring(np.arange(len(self._shards)))
        return [batch[name] for batch in self._batches if batch is not None]

    def table(self, start: int, stop: int, names: list[str]) -> pa.Table:
        """Columns of the cells from `start` to `stop`."""
        self._bring(np.arange(*self._span(start, stop)))
        parts = []
        for place in range(*self._span(start, stop)):
            batch, first = self._batches[place], int(self.first[place])
            assert batch is not None, "brought"
            low, high = max(start - first, 0), min(stop - first, batch.num_rows)
            parts.append(batch.select(names).slice(low, high - low))
        return pa.Table.from_batches(parts)

    def _span(self, start: int, stop: int) -> tuple[int, int]:
        """The shards of a range of cells."""
        return int(np.searchsorted(self.first, start, side="right")) - 1, int(np.searchsorted(self.first, stop))

    def expect_random(self, random: bool) -> None:
        """Tell the kernel that these maps are read in no order, or in order again; those to come included."""
        self._random = random
        for batch in self._batches:
            if batch is not None:
                _advise(batch, random)

    def _bring(self, places: np.ndarray) -> None:
        if not self._absent[places].any():
            return
        with self._lock:
            places = places[self._absent[places]]
            if self._fetch is not None and len(places):
                self._fetch([self._shards[place] for place in places])
            self._map(places)

    def _map(self, places: np.ndarray) -> None:
        for place in places.tolist():
            batch = self._files.batch(self._shards[place].file)
            self._batches[place] = batch
            self.addresses[place] = _addresses(batch)
            self._absent[place] = False
            if self._random:
                _advise(batch, True)


def _advise(batch: pa.RecordBatch, random: bool) -> None:
    for name in ("genes", "counts"):
        for buffer in batch[name].values.buffers()[1:]:
            expect_random(buffer.address, buffer.size, random)


def _addresses(batch: pa.RecordBatch) -> tuple[int, int, int, int]:
    """Where row pointer, genes, counts and totals of a shard begin in memory."""
    genes, counts, total = batch["genes"], batch["counts"], batch["total"]
    assert genes.offset == counts.offset == total.offset == 0
    return genes.buffers()[1].address, _values(genes), _values(counts), total.buffers()[1].address


def _values(column: pa.LargeListArray) -> int:
    buffer = column.values.buffers()[1]
    return buffer.address if buffer is not None else 0
