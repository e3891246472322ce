"""Arrow shards: written from the spool in store order, and their record batch opened as a map."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from scbig_dist.store.jit import jit
from scbig_dist.store.moments import Advance
from scbig_dist.store.schema import Shard
from scbig_dist.store.spool import Spool

SHARD_CELLS = 16_384
SHARD_ENTRIES = 64_000_000  # counts held at once while a shard is written: about 400 MB


def count_entries(spool: Spool, kept: np.ndarray, in_panel: np.ndarray, advance: Advance) -> tuple[np.ndarray, int]:
    """Non-zero panel counts of every cell of the file (0 where not kept), and the largest of them."""
    sizes, largest = np.zeros(len(spool), dtype=np.int64), 0
    for start, rows in spool.chunks():
        n_rows = len(rows.pointer) - 1
        part = slice(start, start + n_rows)
        largest = max(largest, int(_count(*rows, kept[part], in_panel, sizes[part])))
        advance(n_rows)
    return sizes, largest


def write_shards(
    folder: Path,
    spool: Spool,
    order: np.ndarray,
    sizes: np.ndarray,
    columns: np.ndarray,
    count_type: str,
    annotations: dict[str, np.ndarray],
    advance: Advance,
) -> Iterator[Shard]:
    """Write the cells `order` (of the file) as shards.

    `sizes`: panel entries of every cell of the file. `columns`: column of the file behind each store
    column. `annotations`: `condition`, `batch`, `total`, `cell` of every cell of the file.
    """
    n_genes = int(max(columns.max(), 0)) + 1
    store_column = np.full(n_genes, -1, dtype=np.int64)
    store_column[columns] = np.arange(len(columns))
    ends = np.cumsum(sizes[order])
    start = 0
    while start < len(order):
        before = int(ends[start - 1]) if start else 0
        stop = int(np.searchsorted(ends, before + SHARD_ENTRIES, side="right"))
        stop = min(max(stop, start + 1), start + SHARD_CELLS, len(order))
        cells = order[start:stop]
        pointer = np.zeros(len(cells) + 1, dtype=np.int64)
        np.cumsum(sizes[cells], out=pointer[1:])
        genes = np.empty(pointer[-1], dtype=np.uint16)
        counts = np.empty(pointer[-1], dtype=count_type)
        _fill(*spool.rows(cells), store_column, pointer, genes, counts, np.zeros(len(columns), dtype=np.uint32))
        batch = pa.record_batch(
            {
                "genes": pa.LargeListArray.from_arrays(pointer, genes),
                "counts": pa.LargeListArray.from_arrays(pointer, counts),
                "condition": annotations["condition"][cells].astype(np.int32),
                "batch": annotations["batch"][cells].astype(np.int32),
                "total": annotations["total"][cells].astype(np.float64),
                "cell": pa.array(annotations["cell"][cells], type=pa.large_string()),
            }
        )
        path = folder / f"cells-{len(list(folder.glob('cells-*.arrow'))):05d}.arrow"
        with open(path, "wb") as file:
            with pa.ipc.new_file(file, batch.schema) as writer:
                writer.write_batch(batch)
            file.flush()
            os.fsync(file.fileno())
        yield Shard(
            file=path.name,
            n_cells=len(cells),
            n_entries=int(pointer[-1]),
            bytes=path.stat().st_size,
            sha256=file_sha256(path),
        )
        advance(len(cells))
        start = stop


def read_batch(path: Path) -> pa.RecordBatch:
    """The one record batch of a shard; its buffers are pages of the file. ArrowInvalid or OSError where it is damaged."""
    reader = pa.ipc.open_file(pa.memory_map(str(path)))
    if reader.num_record_batches != 1:
        raise pa.ArrowInvalid(f"{reader.num_record_batches} record batches in place of 1")
    return reader.get_batch(0)


def file_sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@jit
def _count(pointer, genes, counts, kept, in_panel, sizes):
    largest = 0
    for row in range(len(kept)):
        if kept[row]:
            for i in range(pointer[row], pointer[row + 1]):
                if in_panel[genes[i]]:
                    sizes[row] += 1
                    largest = max(largest, counts[i])
    return largest


@jit
def _fill(pointer, genes, counts, store_column, out_pointer, out_genes, out_counts, line):
    """Rows in panel columns, rising. `line`: one dense row of zeros, left so."""
    for row in range(len(pointer) - 1):
        for i in range(pointer[row], pointer[row + 1]):
            gene = genes[i]
            if gene < len(store_column) and store_column[gene] >= 0:
                line[store_column[gene]] = counts[i]
        place = out_pointer[row]
        for column in range(len(line)):
            if line[column]:
                out_genes[place] = column
                out_counts[place] = line[column]
                line[column] = 0
                place += 1
