"""A store proves itself: the manifest has a checksum beside it, and holds one for every shard."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
from pydantic import ValidationError

from scbig_dist.errors import UserError
from scbig_dist.store.files import Files, Folder, is_uri
from scbig_dist.store.progress import Progress
from scbig_dist.store.remote import RemoteFiles
from scbig_dist.store.schema import CHECKSUM, MANIFEST, SCHEMA_VERSION, Manifest, Shard

REBUILD = "build the store again"
CHECKSUM_LINE = rf"[0-9a-f]{{64}}  {re.escape(MANIFEST)}\n"
HASHERS = 2  # threads; one reads 1.5 GB/s where the disk gives it
SHARD_NAME = r"cells-[0-9A-Za-z._-]+\.arrow"  # a plain name: a manifest from elsewhere must not reach out of its folder


def open_files(place: Path | str) -> Files:
    """The files of a store named by a path or a URI."""
    return RemoteFiles(str(place)) if is_uri(place) else Folder(Path(place))


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Manifest and checksum, on disk when this returns."""
    text, line = encode_manifest(manifest)
    for name, content in ((MANIFEST, text), (CHECKSUM, line)):
        with open(folder / name, "w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())


def encode_manifest(manifest: Manifest) -> tuple[str, str]:
    """The manifest as its file holds it, and its line in the checksum's file."""
    text = json.dumps(manifest.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"
    return text, f"{hashlib.sha256(text.encode()).hexdigest()}  {MANIFEST}\n"


def read_manifest(files: Files | Path) -> tuple[Manifest, str]:
    """The manifest of a store and its sha256; UserError where it is none of ours, or not sound."""
    files = Folder(files) if isinstance(files, Path) else files
    where = f"store {files.name}"
    content = files.read(MANIFEST)
    if content is None:
        if files.sizes() is None:
            raise UserError(f"{where}: no such directory; write one with `scbig store build IN.h5ad STORE`")
        raise UserError(f"{where}: not a cell store (no {MANIFEST}); write one with `scbig store build`")
    try:
        tree = json.loads(content)
        found = tree["schema_version"]
    except (ValueError, TypeError, KeyError):
        raise UserError(f"{where}: {MANIFEST} is damaged or not of a cell store; {REBUILD}") from None
    if found != SCHEMA_VERSION:
        raise UserError(f"{where}: schema version {found}, this program reads {SCHEMA_VERSION}; {REBUILD}")
    digest = hashlib.sha256(content).hexdigest()
    lines = (files.read(CHECKSUM) or b"").decode(errors="replace").splitlines(keepends=True)
    # two lines while an append replaces the one manifest by the other
    sound = len(lines) <= 2 and all(re.fullmatch(CHECKSUM_LINE, line) for line in lines)
    if not sound or f"{digest}  {MANIFEST}\n" not in lines:
        if files.read(MANIFEST) != content:  # an append has ended since
            return read_manifest(files)
        raise UserError(f"{where}: {MANIFEST} does not match {CHECKSUM} (edited or damaged); {REBUILD}")
    try:
        manifest = Manifest.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise UserError(f"{where}: {MANIFEST} at {place}: {first['msg']}; {REBUILD}") from None
    for shard in manifest.shards:
        if not re.fullmatch(SHARD_NAME, shard.file):
            raise UserError(
                f"{where}: {MANIFEST} names a shard '{shard.file}', not of the form cells-….arrow; {REBUILD}"
            )
    return manifest, digest


def check_sizes(files: Files, shards: Iterable[Shard]) -> list[str]:
    """Shards that are missing or of another length."""
    sizes, problems = files.sizes() or {}, []
    for shard in shards:
        if shard.file not in sizes:
            problems.append(f"{shard.file}: missing")
        elif sizes[shard.file] != shard.bytes:
            problems.append(f"{shard.file}: {sizes[shard.file]} bytes in place of {shard.bytes}")
    return problems


def check_checksums(files: Files, shards: Iterable[Shard], advance: Callable[[int], None] | None = None) -> list[str]:
    """Shards whose bytes are not those that were written; each is read whole, `advance` is told how much."""

    def differs(shard: Shard) -> str | None:
        digest = hashlib.sha256()
        for block in files.blocks(shard.file):
            digest.update(block)
            if advance is not None:
                advance(len(block))
        return None if digest.hexdigest() == shard.sha256 else f"{shard.file}: checksum differs"

    with ThreadPoolExecutor(HASHERS) as pool:
        return [problem for problem in pool.map(differs, shards) if problem]


def check_store(place: Path | str, progress: bool = False) -> list[str]:
    """Every byte and every rule of a store, where it lies; the problems found, none where it is sound.

    UserError where there is no store to check.
    """
    files = open_files(place)
    if files.read(MANIFEST) is None:
        read_manifest(files)
    try:
        manifest, _ = read_manifest(files)
    except UserError as error:
        return [str(error).removeprefix(f"store {files.name}: ")]
    problems = check_sizes(files, manifest.shards)
    whole = [shard for shard in manifest.shards if not _named(shard, problems)]
    n_bytes = sum(shard.bytes for shard in whole)
    with Progress(progress) as bar, bar.stage("reading (bytes)", n_bytes) as advance:
        problems += check_checksums(files, whole, advance)
    codes = []
    for shard in whole:
        if not _named(shard, problems):
            found, code = _check_content(files, shard, manifest)
            problems += [f"{shard.file}: {problem}" for problem in found]
            codes.append(code)
    if sum(shard.n_cells for shard in manifest.shards) != manifest.n_cells:
        problems.append("the shards do not add up to the manifest's cells")
    return problems or _check_order(np.concatenate(codes), manifest)


def strays(place: Path | str) -> list[str]:
    """Files named like shards that the manifest does not name: nothing reads them."""
    files = open_files(place)
    known = {shard.file for shard in read_manifest(files)[0].shards}
    return sorted(name for name in files.sizes() or {} if name.endswith(".arrow") and name not in known)


def _named(shard: Shard, problems: list[str]) -> bool:
    return any(problem.startswith(f"{shard.file}: ") for problem in problems)


def _check_content(files: Files, shard: Shard, manifest: Manifest) -> tuple[list[str], np.ndarray]:
    """The rules that a shard breaks, and the condition of each of its cells."""
    try:
        batch = files.batch(shard.file)
    except (OSError, pa.ArrowInvalid) as error:
        return [f"not readable ({' '.join(str(error).split())[:100]})"], np.zeros(0, dtype=np.int32)
    pointer, genes = (np.asarray(column) for column in (batch["genes"].offsets, batch["genes"].values))
    rules = [
        (batch.num_rows == shard.n_cells, "another number of cells than the manifest says"),
        (len(genes) == shard.n_entries == pointer[-1], "another number of entries than the manifest says"),
        (batch["genes"].offsets.equals(batch["counts"].offsets), "genes and counts are not of one length"),
        (not len(genes) or int(genes.max()) < len(manifest.genes), "a gene beyond the panel"),
        (bool((np.asarray(batch["counts"].values) > 0).all()), "a count of zero"),
        (_rising(pointer, genes), "genes out of order within a cell"),
    ]
    return [problem for holds, problem in rules if not holds], np.asarray(batch["condition"])


def _rising(pointer: np.ndarray, genes: np.ndarray) -> bool:
    step = np.diff(genes.astype(np.int32)) > 0
    borders = pointer[1:-1] - 1
    step[borders[(borders >= 0) & (borders < len(step))]] = True
    return bool(step.all())


def _check_order(code: np.ndarray, manifest: Manifest) -> list[str]:
    """Cells against the runs of the segments, and the runs against what conditions and shards say."""
    runs = [run for segment in manifest.segments for run in segment.runs]
    sizes = np.zeros(len(manifest.conditions), dtype=np.int64)
    for place, n_cells in runs:
        if not 0 <= place < len(sizes):
            return ["a segment names a condition that the manifest does not have"]
        sizes[place] += n_cells
    if sizes.tolist() != [entry.n_cells for entry in manifest.conditions]:
        return ["the segments do not add up to the manifest's conditions"]
    start = 0
    for segment in manifest.segments:
        shards = manifest.shards[start : start + segment.n_shards]
        if sum(shard.n_cells for shard in shards) != sum(n_cells for _, n_cells in segment.runs):
            return ["a segment does not add up to its shards"]
        start += segment.n_shards
    if start != len(manifest.shards):
        return ["the segments do not add up to the manifest's shards"]
    expected = np.repeat([place for place, _ in runs], [n_cells for _, n_cells in runs])
    return [] if np.array_equal(code, expected) else ["cells are not in the order of the manifest's conditions"]
