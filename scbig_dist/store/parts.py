"""Pure functions over one part of the source: read and check it, or measure what was read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from scbig_dist.store.counts import to_rows
from scbig_dist.store.disk import file_sha256
from scbig_dist.store.jit import jit
from scbig_dist.store.matrix import Matrix, read_rows, turn_columns
from scbig_dist.store.names import hash_names
from scbig_dist.store.spool import SpoolPart, write_part
from scbig_dist.store.table import Table


@dataclass(frozen=True)
class PartFile:
    """A file of the source as the parts need it."""

    matrix: Matrix
    cells: Table
    column_of: np.ndarray  # int32 per gene of the file: its place among the genes in use, or -1
    gene_names: np.ndarray
    cuts: list[int]
    buckets: Path  # where a CSC matrix is turned


@dataclass(frozen=True)
class ReadPlan:
    files: tuple[PartFile, ...]
    spool: Path


class Part(NamedTuple):
    """Cells `start` to `stop` of a file."""

    number: int
    file: int
    start: int
    stop: int
    first: int  # place of `start` among the cells of all files


class PartRead(NamedTuple):
    spool: SpoolPart
    n_detected: np.ndarray  # int32 per cell
    sums: np.ndarray  # float64, counts over the genes in use
    hashes: np.ndarray  # uint64, of the names


def read_part(plan: ReadPlan, part: Part) -> PartRead:
    """Check the counts of a part and put them, with the names of the cells, into the spool."""
    file = plan.files[part.file]
    names = file.cells.names(part.start, part.stop)

    def where(row: int, gene: int) -> str:
        return f"cell {names[row]}, gene {file.gene_names[gene]}"

    raw = read_rows(file.matrix, part.start, part.stop, file.buckets)
    rows, sums = to_rows(raw, file.column_of, file.matrix, where)
    written = write_part(plan.spool, part.number, part.first, rows, names)
    return PartRead(written, np.diff(rows.pointer).astype(np.int32), sums, hash_names(names))


def turn_file(plan: ReadPlan, file: int) -> None:
    """Make a CSC matrix readable by cells."""
    turn_columns(plan.files[file].matrix, plan.files[file].cuts, plan.files[file].buckets)


def hash_file(plan: None, path: Path) -> str:
    return file_sha256(path)


class MeasureItem(NamedTuple):
    spool: SpoolPart
    kept: np.ndarray  # bool per cell


def measure_part(in_panel: np.ndarray, item: MeasureItem) -> tuple[np.ndarray, int]:
    """Panel entries of every cell (int32, 0 where not kept), and the largest count among them."""
    sizes = np.zeros(item.spool.n_cells, dtype=np.int32)
    return sizes, int(_measure(*item.spool.rows(), item.kept, in_panel, sizes))


@jit
def _measure(pointer, genes, counts, kept, in_panel, sizes):
    largest = 0
    for row in range(len(kept)):
        if kept[row]:
            for i in range(pointer[row], pointer[row + 1]):
                if in_panel[genes[i]]:
                    sizes[row] += 1
                    largest = max(largest, counts[i])
    return largest
