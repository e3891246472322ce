"""Checked counts of the source, kept on disk in file order while a store is built."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from scipy import sparse

CHUNK_ENTRIES = 8_000_000  # values held at once: about 64 MB
CHUNK_CELLS = 65_536


class Rows(NamedTuple):
    """Non-zero counts of some cells: row i is entries[pointer[i]:pointer[i + 1]]."""

    pointer: np.ndarray  # int64
    genes: np.ndarray  # uint32, columns of the file, rising within a row
    counts: np.ndarray  # uint32


class Spool:
    """Rows appended once, then read in order or by cell; memory holds one int64 per cell."""

    def __init__(self, folder: Path) -> None:
        self._paths = (folder / "spool-genes", folder / "spool-counts")
        self._writers: list[BinaryIO] = [open(path, "wb") for path in self._paths]  # noqa: SIM115 - closed by close()
        self._readers: list[int] = []
        self._lengths = [np.zeros(1, dtype=np.int64)]
        self.pointer = self._lengths[0]

    def append(self, block: sparse.csr_matrix) -> None:
        self._lengths.append(np.diff(block.indptr).astype(np.int64))
        for writer, values in zip(self._writers, (block.indices, block.data), strict=True):
            writer.write(values.astype(np.uint32).data)

    def seal(self) -> None:
        """End writing, begin reading."""
        for writer in self._writers:
            writer.close()
        self._readers = [os.open(path, os.O_RDONLY) for path in self._paths]
        self.pointer = np.cumsum(np.concatenate(self._lengths))

    def close(self) -> None:
        for writer in self._writers:
            writer.close()
        while self._readers:
            os.close(self._readers.pop())

    def __len__(self) -> int:
        return len(self.pointer) - 1

    def chunks(self) -> Iterator[tuple[int, Rows]]:
        """(first cell, rows), in file order."""
        start = 0
        while start < len(self):
            limit = self.pointer[start] + CHUNK_ENTRIES
            stop = int(np.searchsorted(self.pointer, limit, side="right")) - 1
            stop = min(max(stop, start + 1), start + CHUNK_CELLS, len(self))
            yield start, self.rows(np.arange(start, stop))
            start = stop

    def rows(self, cells: np.ndarray) -> Rows:
        """The rows of any cells, in the order asked; runs of neighbours are read at once.

        Plain reads, not a memory map: pages of a map count as this process's memory.
        """
        pointer = np.zeros(len(cells) + 1, dtype=np.int64)
        np.cumsum(self.pointer[cells + 1] - self.pointer[cells], out=pointer[1:])
        columns = [np.empty(pointer[-1], dtype=np.uint32) for _ in self._readers]
        heads = np.flatnonzero(np.diff(cells, prepend=-2) != 1)
        tails = np.append(heads[1:], len(cells))
        for head, tail in zip(heads.tolist(), tails.tolist(), strict=True):
            for reader, column in zip(self._readers, columns, strict=True):
                part = column[pointer[head] : pointer[tail]].data.cast("B")
                _read_fully(reader, part, int(self.pointer[cells[head]]) * column.itemsize)
        return Rows(pointer, columns[0], columns[1])


def _read_fully(reader: int, part: memoryview, offset: int) -> None:
    while len(part):
        n_read = os.preadv(reader, [part], offset)
        assert n_read, "the spool ends early"
        part, offset = part[n_read:], offset + n_read
