"""Arrow shards: written from the spool in store order, and their record batch opened as a map."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from scbig_dist.store.disk import file_sha256
from scbig_dist.store.files import only_batch
from scbig_dist.store.jit import jit
from scbig_dist.store.schema import Shard
from scbig_dist.store.spool import Rows, SpoolPart

SHARD_CELLS = 16_384
SHARD_ENTRIES = 32_000_000  # counts held at once by a worker while a shard is written: about 130 MB


@dataclass(frozen=True)
class ShardPlan:
    """What all shards of a build have in common."""

    folder: Path
    spool: tuple[SpoolPart, ...]
    firsts: np.ndarray  # first cell of each part
    store_column: np.ndarray  # int32 per gene in use: its store column, or -1
    n_columns: int
    count_type: str
    renamed: dict[int, str]  # cells whose name another cell has

    @cached_property
    def rows(self) -> list[Rows]:
        """The parts, mapped once for all shards that this process writes."""
        return [part.rows() for part in self.spool]

    @cached_property
    def names(self) -> list[pa.LargeStringArray]:
        return [part.names() for part in self.spool]


class ShardItem(NamedTuple):
    """The cells of one shard, in store order; arrays hold an entry per cell."""

    number: int
    cells: np.ndarray  # int64, among the cells of all files
    sizes: np.ndarray  # panel entries
    condition: np.ndarray
    batch: np.ndarray
    total: np.ndarray


def cut_shards(
    order: np.ndarray, sizes: np.ndarray, condition: np.ndarray, batch: np.ndarray, total: np.ndarray, number: int
) -> Iterator[ShardItem]:
    """Shards of the cells `order`, named from `number` on; the other arrays hold an entry per cell of the files."""
    ends = np.cumsum(sizes[order], dtype=np.int64)
    start = 0
    while start < len(order):
        before = int(ends[start - 1]) if start else 0
        stop = int(np.searchsorted(ends, before + SHARD_ENTRIES, side="right"))
        stop = min(max(stop, start + 1), start + SHARD_CELLS, len(order))
        cells = order[start:stop]
        yield ShardItem(number, cells, sizes[cells], condition[cells], batch[cells], total[cells])
        start, number = stop, number + 1


def write_shard(plan: ShardPlan, item: ShardItem) -> Shard:
    """Write one shard, on disk when this returns."""
    pointer = np.zeros(len(item.cells) + 1, dtype=np.int64)
    np.cumsum(item.sizes, out=pointer[1:])
    genes = np.empty(pointer[-1], dtype=np.uint16)
    counts = np.empty(pointer[-1], dtype=plan.count_type)
    names = _gather(plan, item.cells, pointer, genes, counts)
    batch = pa.record_batch(
        {
            "genes": pa.LargeListArray.from_arrays(pointer, genes),
            "counts": pa.LargeListArray.from_arrays(pointer, counts),
            "condition": item.condition.astype(np.int32),
            "batch": item.batch.astype(np.int32),
            "total": item.total.astype(np.float64),
            "cell": names,
        }
    )
    path = plan.folder / f"cells-{item.number:05d}.arrow"
    with open(path, "wb") as file:
        with pa.ipc.new_file(file, batch.schema) as writer:
            writer.write_batch(batch)
        file.flush()
        os.fsync(file.fileno())
    return Shard(
        file=path.name,
        n_cells=len(item.cells),
        n_entries=int(pointer[-1]),
        bytes=path.stat().st_size,
        sha256=file_sha256(path),
    )


def _gather(
    plan: ShardPlan, cells: np.ndarray, pointer: np.ndarray, genes: np.ndarray, counts: np.ndarray
) -> pa.LargeStringArray:
    """Fill genes and counts of the cells from the parts that hold them; returns the cells' names."""
    line = np.zeros(plan.n_columns, dtype=np.uint32)
    words = np.zeros(plan.n_columns // 64 + 1, dtype=np.uint64)
    part_of = np.searchsorted(plan.firsts, cells, side="right") - 1
    by_part = np.argsort(part_of, kind="stable")
    names = []
    for places in np.split(by_part, np.flatnonzero(np.diff(part_of[by_part])) + 1):
        number = int(part_of[places[0]])
        rows = cells[places] - plan.spool[number].first
        _fill(*plan.rows[number], rows, places, plan.store_column, pointer, genes, counts, line, words)
        names.append(plan.names[number].take(pa.array(rows)))
    back = np.empty(len(cells), dtype=np.int64)
    back[by_part] = np.arange(len(cells))
    column = pa.concat_arrays(names).take(pa.array(back))
    if not plan.renamed:
        return column
    changed = {place: plan.renamed[cell] for place, cell in enumerate(cells.tolist()) if cell in plan.renamed}
    return pa.array([changed.get(i, name) for i, name in enumerate(column.to_pylist())], pa.large_string())


def names_of(spool: Sequence[SpoolPart], cells: np.ndarray) -> list[str]:
    """Names, as their files spell them, of cells in rising order."""
    names: list[str] = []
    for part in spool:
        low, high = np.searchsorted(cells, [part.first, part.first + part.n_cells])
        if low < high:
            names += part.names().take(pa.array(cells[low:high] - part.first)).to_pylist()
    return names


def read_batch(path: Path) -> pa.RecordBatch:
    """The record batch of a shard; its buffers are pages of the file. ArrowInvalid or OSError where it is damaged."""
    return only_batch(pa.memory_map(str(path)))


_BIT = np.zeros(64, dtype=np.int64)  # place of the lowest bit of a word, by a de Bruijn product
_DE_BRUIJN = 0x03F79D71B4CB0A89
for _place in range(64):
    _BIT[((_DE_BRUIJN << _place) & (2**64 - 1)) >> 58] = _place


@jit
def _fill(pointer, genes, counts, rows, places, store_column, out_pointer, out_genes, out_counts, line, words):
    """Rows `rows` of a part in store columns, rising, as rows `places` of the output.

    line: a count per store column. words: a bit per store column, zeros, left so: the bits that
    are set come out in rising order, without a sort and without a look at the empty columns.
    """
    one = np.uint64(1)
    for k in range(len(rows)):
        for i in range(pointer[rows[k]], pointer[rows[k] + 1]):
            column = store_column[genes[i]]
            if column >= 0:
                line[column] = counts[i]
                words[column >> 6] |= one << np.uint64(column & 63)
        place = out_pointer[places[k]]
        for w in range(len(words)):
            word = words[w]
            words[w] = 0
            while word:
                low = word & (~word + one)
                column = 64 * w + _BIT[(low * np.uint64(_DE_BRUIJN)) >> np.uint64(58)]
                out_genes[place] = column
                out_counts[place] = line[column]
                word ^= low
                place += 1
