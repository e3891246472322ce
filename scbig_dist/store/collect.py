"""The one pass over the sources: every count checked and put into the spool, every file hashed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from scbig_dist.errors import UserError
from scbig_dist.store.inputs import Inputs
from scbig_dist.store.matrix import plan_parts
from scbig_dist.store.parts import MeasureItem, Part, PartFile, ReadPlan, hash_file, measure_part, read_part, turn_file
from scbig_dist.store.progress import Progress
from scbig_dist.store.schema import Source
from scbig_dist.store.spool import SpoolPart
from scbig_dist.store.workers import Run


class Collected(NamedTuple):
    """What is known per cell of the files once all was read: some 20 bytes a cell."""

    spool: list[SpoolPart]
    n_detected: np.ndarray  # int32
    sums: np.ndarray  # float64
    hashes: np.ndarray  # uint64, of the names


class Stamp(NamedTuple):
    """What a file is like before it is read."""

    path: Path
    size: int
    changed_ns: int


def stamp_files(inputs: Inputs) -> list[Stamp]:
    """Sizes and times of all files, tables beside them included."""
    paths = [path for file in inputs.files for path in (file.path, file.beside) if path is not None]
    return [Stamp(path, path.stat().st_size, path.stat().st_mtime_ns) for path in paths]


def require_unchanged(stamps: Sequence[Stamp]) -> None:
    """UserError where a file was written to since."""
    for path, size, changed_ns in stamps:
        now = path.stat()
        if (now.st_size, now.st_mtime_ns) != (size, changed_ns):
            raise UserError(f"{path}: changed while it was read; begin again when it is complete")


def hash_files(inputs: Inputs, stamps: Sequence[Stamp], run: Run, bar: Progress) -> list[Source]:
    """The files as the manifest records them. UserError where two have the same content."""
    with bar.stage("hashing the source", sum(stamp.size for stamp in stamps)) as advance:
        digests = {}
        paths = [stamp.path for stamp in stamps]
        for stamp, digest in zip(stamps, run(hash_file, None, paths), strict=True):
            digests[stamp.path] = digest
            advance(stamp.size)
    sources = [
        Source(
            path=str(file.path),
            sha256=digests[file.path],
            bytes=next(stamp.size for stamp in stamps if stamp.path == file.path),
            matrix=file.matrix.name,
            n_cells=file.matrix.n_cells,
            n_genes=file.matrix.n_genes,
            labels=None if file.beside is None else str(file.beside),
            labels_sha256=None if file.beside is None else digests[file.beside],
        )
        for file in inputs.files
    ]
    seen: dict[tuple[str, str | None], str] = {}
    for source in sources:
        twin = seen.setdefault((source.sha256, source.labels_sha256), source.path)
        if twin != source.path:
            raise UserError(f"{source.path}: the same content as {twin}; give every file once")
    return sources


def collect(inputs: Inputs, columns: Sequence[np.ndarray], scratch: Path, run: Run, bar: Progress) -> Collected:
    """Read and check all cells. `columns`: per file, the place of its genes among the genes in use."""
    files = tuple(
        PartFile(file.matrix, file.cells, column_of, names, plan_parts(file.matrix), scratch / f"turned-{index}")
        for index, (file, column_of, names) in enumerate(zip(inputs.files, columns, inputs.names, strict=True))
    )
    plan = ReadPlan(files, scratch)
    to_turn = [index for index, file in enumerate(files) if file.matrix.layout == "csc"]
    if to_turn:
        with bar.stage("turning columns", len(to_turn)) as advance:
            for _ in run(turn_file, plan, to_turn):
                advance(1)
    n_cells = inputs.n_cells
    n_detected, sums = np.zeros(n_cells, dtype=np.int32), np.zeros(n_cells)
    hashes, spool = np.zeros(n_cells, dtype=np.uint64), []
    with bar.stage(f"reading {files[0].matrix.name}", n_cells) as advance:
        for part in run(read_part, plan, _parts(files, inputs.firsts)):
            cut = slice(part.spool.first, part.spool.first + part.spool.n_cells)
            n_detected[cut], sums[cut], hashes[cut] = part.n_detected, part.sums, part.hashes
            spool.append(part.spool)
            advance(part.spool.n_cells)
    return Collected(spool, n_detected, sums, hashes)


def measure(
    spool: Sequence[SpoolPart], kept: np.ndarray, in_panel: np.ndarray, run: Run, bar: Progress
) -> tuple[np.ndarray, int]:
    """Panel entries of every cell (int32, 0 where not kept), and the largest count of the panel."""
    sizes, largest = np.zeros(len(kept), dtype=np.int32), 0
    items = (MeasureItem(part, kept[part.first : part.first + part.n_cells]) for part in spool)
    with bar.stage("measuring", len(kept)) as advance:
        for part, (own, high) in zip(spool, run(measure_part, in_panel, items), strict=True):
            sizes[part.first : part.first + part.n_cells] = own
            largest = max(largest, high)
            advance(part.n_cells)
    return sizes, largest


def _parts(files: Sequence[PartFile], firsts: np.ndarray) -> Iterator[Any]:
    number = 0
    for index, file in enumerate(files):
        for start, stop in zip(file.cuts, file.cuts[1:], strict=False):
            yield Part(number, index, start, stop, int(firsts[index]) + start)
            number += 1
