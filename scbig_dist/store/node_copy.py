"""A node's copy of a remote store: fetched once, proven while it streams, shared by all who work there.

    CACHE/stores/KEY/       a store: manifest, checksum, and shards as they come in whole
    CACHE/stores/.KEY.lock  held while shards come in

KEY is the store's own (the sha256 of its manifest): a store that was built anew is another copy, and
two addresses of the same store share one. Nothing is deleted here; to free room, delete the folder.

`data.placement: shard` fetches a shard at the first read of one of its cells. Cells are sorted by
context and condition, so that a training on one context, a prediction or an evaluation brings only
its part; `data.shuffle: full` over all conditions touches every shard on every node within the first
steps, whatever the number of workers, and is then a copy made in the slow order.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from scbig_dist.errors import UserError
from scbig_dist.store.files import Files, Folder
from scbig_dist.store.integrity import check_checksums, read_manifest
from scbig_dist.store.moments import Advance
from scbig_dist.store.progress import Progress
from scbig_dist.store.schema import CHECKSUM, MANIFEST, Shard
from scbig_dist.store.verified import Record
from scbig_dist.store.workspace import FULL, READ_ONLY

STREAMS = 4  # shards that come in side by side: one connection of an object store gives some 100 MB/s


class NodeCopy:
    """Where shards of a remote store lie on this node; `fetch` brings those that are missing."""

    def __init__(self, files: Files, cache: Path) -> None:
        self._files, self._cache = files, cache
        self.manifest, self.key = read_manifest(files)
        self.folder = cache / "stores" / self.key
        self._record = Record(self.folder, self.key, cache)

    def prepare(self) -> None:
        """The folder with the manifest in it. UserError where it cannot be made."""
        with self._place_told():
            self.folder.mkdir(parents=True, exist_ok=True)
            if not all((self.folder / name).is_file() for name in (CHECKSUM, MANIFEST)):
                content = self._files.read(MANIFEST) or b""
                if hashlib.sha256(content).hexdigest() != self.key:
                    raise UserError(f"store {self._files.name}: it changed while it was opened; try again")
                with self._locked():
                    self._write(CHECKSUM, iter([memoryview(f"{self.key}  {MANIFEST}\n".encode())]))
                    self._write(MANIFEST, iter([memoryview(content)]))

    def fetch(self, shards: list[Shard]) -> None:
        """Return once these shards are here and proven; others of this node who want them wait.

        UserError that names what failed: no room, the network, a wrong checksum. Shards that
        came in before that stay, and the next call goes on with the rest.
        """
        if not self._record.unproven(shards):
            return
        with self._place_told(), self._locked():
            self._record = Record(self.folder, self.key, self._cache)  # another may have fetched them meanwhile
            self._adopt(self._record.unproven(shards))
            missing = self._missing(shards)
            self._require_room(missing)
            n_bytes = sum(shard.bytes for shard in missing)
            with (
                Progress(bool(missing) and sys.stderr.isatty()) as bar,
                bar.stage("copying (bytes)", n_bytes) as advance,
            ):
                self._bring(missing, advance)

    def _adopt(self, shards: list[Shard]) -> None:
        """Link what another copy in the cache seems to have: after an append most shards are those of before.

        Names and sizes are no proof; `_missing` then reads what has come in.
        """
        for shard in shards:
            place = self.folder / shard.file
            for other in self.folder.parent.glob(f"*/{shard.file}"):
                if not place.exists() and other.stat().st_size == shard.bytes:
                    with suppress(OSError):  # a file system without hard links: fetched like the rest
                        os.link(other, place)

    def _missing(self, shards: list[Shard]) -> list[Shard]:
        """Those that are not here whole. One without a record is read once; a damaged one is fetched again."""
        unproven = self._record.unproven(shards)
        stamps = {shard.file: self._record.stamp(shard.file) for shard in unproven}
        there = [shard for shard in unproven if (stamp := stamps[shard.file]) and stamp[0] == shard.bytes]
        wrong = {problem.split(": ")[0] for problem in check_checksums(Folder(self.folder), there)}
        sound = {shard.file: stamp for shard in there if shard.file not in wrong and (stamp := stamps[shard.file])}
        self._record.keep(sound)
        return [shard for shard in unproven if shard.file not in sound]

    def _bring(self, missing: list[Shard], advance: Advance) -> None:
        def one(shard: Shard) -> None:
            digest = hashlib.sha256()

            def blocks() -> Iterator[memoryview]:
                n_bytes = 0
                for block in self._files.blocks(shard.file):
                    digest.update(block)
                    n_bytes += len(block)
                    yield block
                    advance(len(block))
                if digest.hexdigest() != shard.sha256:
                    length = "" if n_bytes == shard.bytes else f" ({n_bytes} bytes in place of {shard.bytes})"
                    raise UserError(
                        f"store {self._files.name}: {shard.file} has a wrong checksum{length}; it is damaged there or on "
                        "the way: nothing of it was kept; try again, or look at the store with `scbig store check`"
                    )

            self._write(shard.file, blocks())

        with ThreadPoolExecutor(STREAMS) as pool:
            tasks = [pool.submit(one, shard) for shard in missing]
            try:
                for task in tasks:
                    task.result()
            finally:
                for task in tasks:
                    task.cancel()
                pool.shutdown()
                came = [shard.file for shard, task in zip(missing, tasks, strict=True) if _ended_well(task)]
                self._record.keep({file: stamp for file in came if (stamp := self._record.stamp(file)) is not None})

    def _write(self, name: str, blocks: Iterator[memoryview]) -> None:
        """A file that is there whole, or not at all."""
        beside = self.folder / f".{name}.part"
        try:
            with open(beside, "wb", buffering=0) as file:
                for block in blocks:
                    while len(block):
                        block = block[file.write(block) :]
                os.fsync(file.fileno())
            os.replace(beside, self.folder / name)
        finally:
            beside.unlink(missing_ok=True)

    def _require_room(self, missing: list[Shard]) -> None:
        need, free = sum(shard.bytes for shard in missing), shutil.disk_usage(self.folder).free
        if need > free:
            raise UserError(
                f"store {self._files.name}: its copy needs {need:,} bytes and {free:,} are free in {self.folder}; "
                "free some room, or name a larger disk with data.cache"
            )

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One at a time for this store; the kernel's lock ends with its holder."""
        with open(self.folder.parent / f".{self.key}.lock", "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextmanager
    def _place_told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            where, reason = f"store {self._files.name}: no copy in {self.folder}", error.strerror
            if error.errno in FULL:
                raise UserError(
                    f"{where}: the disk is full ({reason}); free room, or name another with data.cache"
                ) from None
            if error.errno in READ_ONLY or error.errno in (errno.ENOTDIR, errno.EEXIST):
                raise UserError(
                    f"{where}: cannot write there ({reason}); name a folder of yours with data.cache"
                ) from None
            raise


def _ended_well(task: object) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None  # type: ignore[attr-defined]
