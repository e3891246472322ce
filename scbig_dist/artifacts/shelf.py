"""A place of artefacts as a run uses it: find, wait for, or make; and know what was used."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scbig_dist.artifacts.claims import make_claim
from scbig_dist.artifacts.contents import MANIFEST, Contents, damage, decode, sums_of
from scbig_dist.artifacts.copies import NodeCopies
from scbig_dist.artifacts.files import sync_tree
from scbig_dist.artifacts.keys import SCHEMA, content_key
from scbig_dist.artifacts.owners import BEAT_S, SILENCE_S, Heart, Watcher
from scbig_dist.artifacts.place import Bucket, open_place
from scbig_dist.store.disk import sync_directory
from scbig_dist.store.verified import cache_folder

USES = ".uses"
MAKING = ".making"
FIRST_LOOK_S, LAST_LOOK_S, REMOTE_LOOK_S = 0.05, 1.0, 3.0  # between looks of one who waits: more and more
LOG = logging.getLogger("scbig.artifacts")


@dataclass(frozen=True)
class Artifact:
    """One that was found or made: its files on this node."""

    kind: str
    key: str
    path: Path
    reused: bool
    seconds: float
    """What making it cost, whoever did."""

    def record(self) -> dict[str, Any]:
        """Its line in `run.json`."""
        return {"kind": self.kind, "key": self.key, "reused": self.reused, "seconds": self.seconds}


class Shelf:
    """Artefacts beneath a directory that nodes share, or beneath a URI of `pyarrow.fs`.

    `KIND-KEY/` holds the files and, written last, their manifest. On a file system it is written beside its
    place and renamed; on object storage files go to a folder of their own that the manifest names, and each node
    that reads has one copy, in `cache`. Every reading checks the checksums; what is damaged is said and made anew.
    A context: leaving it takes away this process's sign of life.
    """

    def __init__(
        self,
        root: Path | str,
        cache: str | None = None,
        run: str = "",
        *,
        beat_s: float = BEAT_S,
        silence_s: float = SILENCE_S,
    ) -> None:
        self.place = open_place(root)
        self._cache = cache_folder(cache)
        self._copies = NodeCopies(self.place, self._cache) if isinstance(self.place, Bucket) else None
        self._run, self._used = run, dict[str, Artifact]()
        self._heart = Heart(self.place, run, beat_s)
        self._watcher = Watcher(self.place, silence_s)
        self.notes: list[str] = []
        """What a person should know: damage that was found."""

    def __enter__(self) -> Shelf:
        return self

    def __exit__(self, *_: object) -> None:
        self._heart.stop()

    @property
    def used(self) -> list[Artifact]:
        """What was found or made, in this order."""
        return list(self._used.values())

    def unfinished(self, kind: str, key: str) -> Path | None:
        """A directory for what the making of an artefact has got to, for whoever takes over; None where nodes share none."""
        return None if isinstance(self.place, Bucket) else self.place.path / "unfinished" / f"{kind}-{key}"

    def take(self, kind: str, inputs: Mapping[str, Any], write: Callable[[Path], None]) -> Artifact:
        """The artefact that these inputs determine: found, waited for, or written by `write` into a directory."""
        key = content_key(kind, inputs)
        with self.claim(kind, key) as found:
            return found or self.put(kind, key, inputs, write)

    def find(self, kind: str, key: str, reused: bool = True) -> Artifact | None:
        """The finished artefact, its files as they were written; None where it is absent or damaged."""
        name = f"{kind}-{key}"
        content = self.place.read(f"{name}/{MANIFEST}")
        if content is None:
            return None
        contents = decode(content)
        path = Path()
        wrong: str | None = f"{MANIFEST} is damaged"
        if contents is not None:
            path, wrong = self._open(name, contents, content)
        if contents is None or wrong:
            note = f"artefact {name} in {self.place.name}: {wrong}; it is made anew"
            if note not in self.notes:
                LOG.warning(note)
                self.notes.append(note)
            return None
        return self._remember(Artifact(kind, key, path, reused, contents.seconds))

    @contextmanager
    def claim(self, kind: str, key: str) -> Iterator[Artifact | None]:
        """Wait until the artefact is there, which is given, or until it is ours to make (None).

        Whoever has the claim makes it inside the block; an exception gives the claim to the next.
        """
        found = self.find(kind, key)
        if found is not None:
            yield found
            return
        self._heart.begin()
        name = f"{kind}-{key}"
        claim = make_claim(self.place, name, self._heart, self._watcher)
        made = False
        try:
            pause = FIRST_LOOK_S
            while not claim.held() and found is None:
                self._heart.wait_for(name)
                time.sleep(pause)
                pause = min(2 * pause, LAST_LOOK_S if self._copies is None else REMOTE_LOOK_S)
                found = self.find(kind, key)
            self._heart.wait_for("")
            if found is None:
                found = self.find(kind, key)  # made between the last look and the claim
            if found is None:
                self._clear(name)
            yield found
            made = True
        finally:
            claim.give_up(made)

    def put(
        self,
        kind: str,
        key: str,
        inputs: Mapping[str, Any],
        write: Callable[[Path], None],
        seconds: float = 0.0,
    ) -> Artifact:
        """Write an artefact; `seconds`: what making it had cost before."""
        name = f"{kind}-{key}"
        began = time.perf_counter()
        folder = self.place.path if not isinstance(self.place, Bucket) else self._cache / "artifacts"
        beside = folder / f"{MAKING}-{name}-{self._heart.id}-{uuid.uuid4().hex[:8]}"
        beside.mkdir(parents=True)
        try:
            write(beside)
            cost = seconds + time.perf_counter() - began
            maker = {"host": socket.gethostname(), "pid": os.getpid(), "run": self._run}
            plain = json.loads(json.dumps(dict(inputs), default=str))
            contents = Contents(
                kind, key, SCHEMA[kind], plain, sums_of(beside), cost, maker, time.time(),
                folder="" if self._copies is None else beside.name.removeprefix(f"{MAKING}-{name}-"),
            )  # fmt: skip
            (beside / MANIFEST).write_bytes(contents.encode())
            sync_tree(beside)
            if self._copies is None:
                self._rename(beside, folder / name)
                path = folder / name
            else:
                path = self._copies.publish(beside, name, contents)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        return self._remember(Artifact(kind, key, path, False, cost))

    def _rename(self, beside: Path, path: Path) -> None:
        """Into its place; the first of several makers wins, what is damaged there gives way."""
        try:
            os.replace(beside, path)
        except OSError:
            content = self.place.read(f"{path.name}/{MANIFEST}")
            standing = None if content is None else decode(content)
            if standing is not None and damage(path, standing, self._cache) is None:
                return
            self.place.remove(path.name)
            os.replace(beside, path)
        sync_directory(path.parent)

    def _open(self, name: str, contents: Contents, content: bytes) -> tuple[Path, str | None]:
        """Where its files are on this node, and what is wrong with them."""
        if self._copies is None:
            path = self.place.path / name  # type: ignore[union-attr]
            return path, damage(path, contents, self._cache)
        return self._copies.fetch(name, contents, hashlib.sha256(content).hexdigest()[:16])

    def _clear(self, name: str) -> None:
        """Take away what makers of this artefact left who are gone."""
        for prefix, folder in ((f"{MAKING}-{name}-", ""), ("", name)):
            if prefix == "" and self._copies is None:
                continue
            for each in self.place.names(folder):
                owner = each.removeprefix(prefix).split("-")[0]
                if each.startswith(prefix) and each != MANIFEST and self._watcher.gone(owner):
                    self.place.remove(f"{folder}/{each}".lstrip("/"))

    def _remember(self, artifact: Artifact) -> Artifact:
        """Note that this run uses it, here and in the place, where `scbig artifacts` reads it."""
        name = f"{artifact.kind}-{artifact.key}"
        before = self._used.get(name)
        if before is None:
            self._used[name] = artifact
            if self._run:
                self._heart.begin()
                record = {"run": self._run, "host": socket.gethostname(), "owner": self._heart.id, "at": time.time()}
                own = hashlib.sha256(f"{socket.gethostname()}:{self._run}".encode()).hexdigest()[:16]
                self.place.write(f"{USES}/{name}/{own}.json", json.dumps(record).encode())
            return artifact
        if before.path != artifact.path:  # made anew since
            self._used[name] = artifact
        return self._used[name]
