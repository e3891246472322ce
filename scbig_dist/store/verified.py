"""What this machine has read whole and found sound, so that it is not read again at every command.

A record per store and folder in the cache: for each shard the size, times and inode that its file
had when its checksum was right. A file with the same stat is taken as proven; every other one is
read again. `scbig store check` asks no record: it reads every byte.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from scbig_dist.store.files import Folder
from scbig_dist.store.integrity import check_checksums
from scbig_dist.store.progress import Progress
from scbig_dist.store.schema import Shard

SETTLED_NS = 2_000_000_000  # a file that is younger could change again within one tick of its clock
LONG = 2_000_000_000  # bytes; reading more than these is worth a bar


def cache_folder(cache: str | None) -> Path:
    """`data.cache`, or `scbig` in the user's cache folder."""
    if cache is not None:
        return Path(cache).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "scbig"


class Record:
    """Shards of one folder that were found sound. A cache that cannot be written means no record, and no error."""

    def __init__(self, folder: Path, key: str, cache: Path) -> None:
        self._folder = folder
        name = hashlib.sha256(f"{key} {os.path.realpath(folder)}".encode()).hexdigest()[:32]
        self._path = cache / "verified" / f"{name}.json"
        self._known: dict[str, list[int]] = {}
        with suppress(OSError, ValueError):
            tree = json.loads(self._path.read_text())
            if isinstance(tree, dict) and tree.get("key") == key and isinstance(tree.get("shards"), dict):
                self._known = tree["shards"]
        self._key = key

    def unproven(self, shards: Iterable[Shard]) -> list[Shard]:
        """Those whose file is not, by its stat, the one that was found sound."""
        return [shard for shard in shards if self._known.get(shard.file, ()) != self.stamp(shard.file)]

    def stamp(self, file: str) -> list[int] | None:
        """Size, times and inode: any write changes one of them, also one that sets the time back (ctime)."""
        with suppress(OSError):
            stat = (self._folder / file).stat()
            return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
        return None

    def keep(self, stamps: dict[str, list[int]]) -> None:
        """Add files that were found sound with these stamps."""
        if not stamps:
            return
        self._known |= stamps
        beside = self._path.with_name(f".{self._path.name}-{uuid.uuid4().hex[:8]}")
        with suppress(OSError):
            beside.parent.mkdir(parents=True, exist_ok=True)
            try:
                tree = {"key": self._key, "folder": str(self._folder), "shards": self._known}
                beside.write_text(json.dumps(tree))
                os.replace(beside, self._path)
            finally:
                beside.unlink(missing_ok=True)


def verify_once(folder: Path, key: str, shards: Iterable[Shard], cache: Path) -> list[str]:
    """Read the shards that this machine has not found sound before; what is wrong with them."""
    record = Record(folder, key, cache)
    todo = record.unproven(shards)
    before = {shard.file: record.stamp(shard.file) for shard in todo}
    read_at = time.time_ns()
    n_bytes = sum(shard.bytes for shard in todo)
    with Progress(n_bytes > LONG and sys.stderr.isatty()) as bar, bar.stage("verifying (bytes)", n_bytes) as advance:
        problems = check_checksums(Folder(folder), todo, advance)
    wrong = {problem.split(": ")[0] for problem in problems}
    record.keep(
        {
            file: stamp
            for file, stamp in before.items()
            if stamp is not None and file not in wrong and stamp == record.stamp(file)
            if max(stamp[1], stamp[2]) < read_at - SETTLED_NS
        }
    )
    return problems
