"""Checked counts and names of the cells that were read, one pair of files per part of the source."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa


class Rows(NamedTuple):
    """Non-zero counts of some cells: row i is entries[pointer[i]:pointer[i + 1]], no gene twice."""

    pointer: np.ndarray  # int64
    genes: np.ndarray  # uint16 or uint32, columns of the genes in use
    counts: np.ndarray  # uint16 or uint32


@dataclass(frozen=True)
class SpoolPart:
    """Where the counts and names of some cells in a row lie on disk."""

    folder: Path
    number: int
    first: int  # its first cell, among the cells of all files
    n_cells: int
    n_entries: int
    gene_type: str
    count_type: str

    def rows(self) -> Rows:
        """The counts, mapped: pages of the file, which are the kernel's to drop."""
        path = _counts_path(self.folder, self.number)
        if not self.n_entries:
            empty = np.zeros(0, dtype=np.uint16)
            return Rows(np.zeros(self.n_cells + 1, dtype=np.int64), empty, empty)
        whole = np.memmap(path, dtype=np.uint8, mode="r")
        genes_at = 8 * (self.n_cells + 1)
        counts_at = genes_at + self.n_entries * np.dtype(self.gene_type).itemsize
        return Rows(
            np.asarray(whole[:genes_at]).view(np.int64),
            _aligned(whole[genes_at:counts_at], self.gene_type),
            _aligned(whole[counts_at:], self.count_type),
        )

    def names(self) -> pa.LargeStringArray:
        """Names of the cells as their file spells them, mapped."""
        return pa.ipc.open_file(pa.memory_map(str(_names_path(self.folder, self.number)))).get_batch(0).column(0)


def write_part(folder: Path, number: int, first: int, rows: Rows, names: pa.LargeStringArray) -> SpoolPart:
    """Write one part; the spool is scratch and is not flushed to disk."""
    with open(_counts_path(folder, number), "wb") as file:
        for column in (rows.pointer, rows.genes, rows.counts):
            file.write(np.ascontiguousarray(column).data)
    batch = pa.record_batch({"cell": names})
    with pa.ipc.new_file(str(_names_path(folder, number)), batch.schema) as writer:
        writer.write_batch(batch)
    return SpoolPart(folder, number, first, len(names), len(rows.genes), rows.genes.dtype.name, rows.counts.dtype.name)


def _aligned(piece: np.ndarray, kind: str) -> np.ndarray:
    """Bytes as numbers; a copy where four-byte counts follow an odd number of two-byte genes."""
    piece = np.asarray(piece)
    if piece.ctypes.data % np.dtype(kind).itemsize:
        piece = piece.copy()
    return piece.view(kind)


def _counts_path(folder: Path, number: int) -> Path:
    return folder / f"part-{number:06d}.counts"


def _names_path(folder: Path, number: int) -> Path:
    return folder / f"part-{number:06d}.names"
