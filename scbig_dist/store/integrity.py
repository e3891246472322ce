"""A store proves itself: the manifest has a checksum beside it, and holds one for every shard."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
from pydantic import ValidationError

from scbig_dist.errors import UserError
from scbig_dist.store.schema import CHECKSUM, MANIFEST, SCHEMA_VERSION, Manifest, Shard
from scbig_dist.store.shards import file_sha256, read_batch

REBUILD = "build the store again"


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Manifest and checksum, on disk when this returns."""
    text = json.dumps(manifest.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"
    digest = hashlib.sha256(text.encode()).hexdigest()
    for name, content in ((MANIFEST, text), (CHECKSUM, f"{digest}  {MANIFEST}\n")):
        with open(folder / name, "w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())


def read_manifest(path: Path) -> tuple[Manifest, str]:
    """The manifest of a store and its sha256; UserError where it is none of ours, or not sound."""
    if not path.exists():
        raise UserError(f"store {path}: no such directory; write one with `scbig store build IN.h5ad {path}`")
    file = path / MANIFEST
    if not file.is_file():
        raise UserError(f"store {path}: not a cell store (no {MANIFEST}); write one with `scbig store build`")
    content = file.read_bytes()
    try:
        tree = json.loads(content)
        found = tree["schema_version"]
    except (ValueError, TypeError, KeyError):
        raise UserError(f"store {path}: {MANIFEST} is damaged or not of a cell store; {REBUILD}") from None
    if found != SCHEMA_VERSION:
        raise UserError(f"store {path}: schema version {found}, this program reads {SCHEMA_VERSION}; {REBUILD}")
    digest = hashlib.sha256(content).hexdigest()
    beside = path / CHECKSUM
    if not beside.is_file() or beside.read_text(errors="replace").split()[:1] != [digest]:
        raise UserError(f"store {path}: {MANIFEST} does not match {CHECKSUM} (edited or damaged); {REBUILD}")
    try:
        return Manifest.model_validate(tree), digest
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"store {path}: {MANIFEST} at {where}: {first['msg']}; {REBUILD}") from None


def check_sizes(path: Path, manifest: Manifest) -> list[str]:
    """Shards that are missing or of another length."""
    problems = []
    for shard in manifest.shards:
        file = path / shard.file
        if not file.is_file():
            problems.append(f"{shard.file}: missing")
        elif file.stat().st_size != shard.bytes:
            problems.append(f"{shard.file}: {file.stat().st_size} bytes in place of {shard.bytes}")
    return problems


def check_checksums(path: Path, manifest: Manifest) -> list[str]:
    """Shards whose bytes are not those that were written; each is read whole."""
    return [
        f"{shard.file}: checksum differs" for shard in manifest.shards if file_sha256(path / shard.file) != shard.sha256
    ]


def check_store(path: Path | str) -> list[str]:
    """Every byte and every rule of a store; the problems found, none where it is sound.

    UserError where there is no store to check.
    """
    path = Path(path)
    if not (path / MANIFEST).is_file():
        read_manifest(path)
    try:
        manifest, _ = read_manifest(path)
    except UserError as error:
        return [str(error)]
    problems = check_sizes(path, manifest)
    if problems:
        return problems
    problems = check_checksums(path, manifest)
    bad = {problem.split(":")[0] for problem in problems}
    for shard in manifest.shards:
        if shard.file not in bad:
            problems += [f"{shard.file}: {problem}" for problem in _check_content(path / shard.file, shard, manifest)]
    if sum(shard.n_cells for shard in manifest.shards) != manifest.n_cells:
        problems.append("the shards do not add up to the manifest's cells")
    return problems or _check_order(path, manifest)


def _check_content(file: Path, shard: Shard, manifest: Manifest) -> list[str]:
    try:
        batch = read_batch(file)
    except (OSError, pa.ArrowInvalid) as error:
        return [f"not readable ({' '.join(str(error).split())[:100]})"]
    pointer, genes = (np.asarray(column) for column in (batch["genes"].offsets, batch["genes"].values))
    rules = [
        (batch.num_rows == shard.n_cells, "another number of cells than the manifest says"),
        (len(genes) == shard.n_entries == pointer[-1], "another number of entries than the manifest says"),
        (batch["genes"].offsets.equals(batch["counts"].offsets), "genes and counts are not of one length"),
        (not len(genes) or int(genes.max()) < len(manifest.genes), "a gene beyond the panel"),
        (bool((np.asarray(batch["counts"].values) > 0).all()), "a count of zero"),
        (_rising(pointer, genes), "genes out of order within a cell"),
    ]
    return [problem for holds, problem in rules if not holds]


def _rising(pointer: np.ndarray, genes: np.ndarray) -> bool:
    step = np.diff(genes.astype(np.int32)) > 0
    borders = pointer[1:-1] - 1
    step[borders[(borders >= 0) & (borders < len(step))]] = True
    return bool(step.all())


def _check_order(path: Path, manifest: Manifest) -> list[str]:
    code = np.concatenate([np.asarray(read_batch(path / shard.file)["condition"]) for shard in manifest.shards])
    expected = np.repeat(np.arange(len(manifest.conditions)), [entry.n_cells for entry in manifest.conditions])
    return [] if np.array_equal(code, expected) else ["cells are not in the order of the manifest's conditions"]
