"""Column-major counts turned into ranges of cells, through bucket files on disk."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from scbig_dist.store.jit import jit

FIELDS = ("cells", "genes", "values")


class Piece(NamedTuple):
    """Entries `first`, `first + 1`, … of a CSC matrix."""

    first: int
    cells: np.ndarray
    values: np.ndarray


class Triplets(NamedTuple):
    cells: np.ndarray  # int32
    genes: np.ndarray  # int32
    values: np.ndarray


def fill_buckets(pieces: Iterable[Piece], pointer: np.ndarray, cuts: np.ndarray, folder: Path) -> None:
    """Append every entry to the bucket of its range of cells; memory is bounded by a piece.

    `pointer`: of the columns. `cuts`: rising, range i is cells cuts[i] to cuts[i + 1]; its bucket is
    named by its first cell.
    """
    folder.mkdir(exist_ok=True)
    bucket_of = np.repeat(np.arange(len(cuts) - 1, dtype=np.int32), np.diff(cuts))
    for piece in pieces:
        n_entries = len(piece.cells)
        whole = Triplets(
            np.empty(n_entries, dtype=np.int32),
            np.empty(n_entries, dtype=np.int32),
            np.empty(n_entries, dtype=piece.values.dtype),
        )
        sizes = np.bincount(bucket_of[piece.cells], minlength=len(cuts) - 1)
        ends = np.cumsum(sizes)
        gene = int(np.searchsorted(pointer, piece.first, side="right")) - 1
        _sort(*piece, gene, pointer, bucket_of, ends - sizes, *whole)
        for start, size, end in zip(cuts.tolist(), sizes.tolist(), ends.tolist(), strict=False):
            if size:
                for field, column in zip(FIELDS, whole, strict=True):
                    with open(_bucket(folder, start, field), "ab") as file:
                        file.write(column[end - size : end].data)
        (folder / "type").write_text(piece.values.dtype.str)


def read_bucket(folder: Path, start: int) -> Triplets:
    """The entries of the range that begins at cell `start`; its files are removed."""
    files = [_bucket(folder, start, field) for field in FIELDS]
    if not files[0].exists():
        return Triplets(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.float32))
    kind = np.dtype((folder / "type").read_text())
    cells, genes = (np.fromfile(file, dtype=np.int32) for file in files[:2])
    values = np.fromfile(files[2], dtype=kind)
    for file in files:
        file.unlink()
    return Triplets(cells, genes, values)


def _bucket(folder: Path, start: int, field: str) -> Path:
    return folder / f"{start}-{field}"


@jit
def _sort(first, cells, values, gene, pointer, bucket_of, places, out_cells, out_genes, out_values):
    """Entries by bucket, each in file order. places: where each bucket begins, moved along."""
    for i in range(len(cells)):
        while pointer[gene + 1] <= first + i:
            gene += 1
        bucket = bucket_of[cells[i]]
        place = places[bucket]
        places[bucket] = place + 1
        out_cells[place] = cells[i]
        out_genes[place] = gene
        out_values[place] = values[i]
