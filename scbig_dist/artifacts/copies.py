"""Artefacts on object storage: how their files get there, and a node's one copy of each."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scbig_dist.artifacts.contents import MANIFEST, Contents, damage
from scbig_dist.artifacts.files import sync_tree
from scbig_dist.artifacts.place import Bucket


class NodeCopies:
    """`CACHE/artifacts/KIND-KEY-…/`: mapped by all processes of the node. The kernel's lock is between these alone."""

    def __init__(self, place: Bucket, cache: Path) -> None:
        self._place, self._cache = place, cache
        self._folder = cache / "artifacts"

    def publish(self, beside: Path, name: str, contents: Contents) -> Path:
        """Upload the files of a folder, then the manifest that names them; the folder becomes this node's copy."""
        for file in contents.files:
            self._place.upload(beside / file, f"{name}/{contents.folder}/{file}")
        content = (beside / MANIFEST).read_bytes()
        self._place.write(f"{name}/{MANIFEST}", content)
        path = self._folder / f"{name}-{hashlib.sha256(content).hexdigest()[:16]}"
        with self._locked(path.name):
            if not path.exists():
                os.replace(beside, path)
        return path

    def fetch(self, name: str, contents: Contents, digest: str) -> tuple[Path, str | None]:
        """Where the files of an artefact are here, and what is wrong with them."""
        path = self._folder / f"{name}-{digest}"
        with self._locked(path.name):
            if path.exists():
                if damage(path, contents, self._cache) is None:
                    return path, None
                shutil.rmtree(path)  # the copy alone: the place may have it whole
            beside = self._folder / f".fetching-{path.name}-{uuid.uuid4().hex[:8]}"
            beside.mkdir()
            try:
                for file, (_, wanted) in contents.files.items():
                    found = hashlib.sha256()
                    with open(beside / file, "wb") as stream:
                        for block in self._place.blocks(f"{name}/{contents.folder}/{file}"):
                            found.update(block)
                            stream.write(block)
                    if found.hexdigest() != wanted:
                        return path, f"{file}: checksum differs"
                sync_tree(beside)
                os.replace(beside, path)
            finally:
                shutil.rmtree(beside, ignore_errors=True)
        return path, None

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True)
        with open(self._folder / f".{name}.lock", "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
