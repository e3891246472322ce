"""Who is at work in a place: each process gives a sign of life there, and others judge by it.

`.owners/ID.json` is rewritten every few seconds while its process has something in hand. No clock of
another machine is trusted, and no lock: a process is gone where it was of this node and is no more, or
where its sign has not changed for `silence_s` of the observer's own time.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

from scbig_dist.artifacts.place import Place
from scbig_dist.errors import UserError

BEAT_S = 5.0
SILENCE_S = 60.0  # what a network file system may keep old answers for, and a busy process be late
STALE_S = 900.0  # for one who looks once and cannot wait: by the clocks, so with room for clocks that differ
FOLDER = ".owners"


class Heart:
    """This process's sign of life in a place, from `begin` to `stop`."""

    def __init__(self, place: Place, run: str, beat_s: float = BEAT_S) -> None:
        self.id = uuid.uuid4().hex[:16]
        self._place, self._run, self._beat_s = place, run, beat_s
        self._waits_for = ""
        self._done = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """The first sign is written when this returns."""
        if self._thread is None:
            self._write(0)
            self._thread = threading.Thread(target=self._go_on, name="scbig-artifacts", daemon=True)
            self._thread.start()

    def wait_for(self, name: str) -> None:
        """Say what this process waits for that another one makes (for people who watch); empty: nothing any more."""
        if name != self._waits_for:
            self._waits_for = name
            with suppress(OSError, UserError):
                self._write(0)

    def stop(self) -> None:
        if self._thread is not None:
            self._done.set()
            self._thread.join()
            self._thread, self._done = None, threading.Event()
            self._place.remove(f"{FOLDER}/{self.id}.json")

    def _go_on(self) -> None:
        beat = 0
        while not self._done.wait(self._beat_s):
            beat += 1
            with suppress(OSError, UserError):  # a full disk, a network that hangs: the next beat tries again
                self._write(beat)

    def _write(self, beat: int) -> None:
        record = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "node": this_node(),
            "started": started(os.getpid()),
            "run": self._run,
            "waits_for": self._waits_for,
            "beat": beat,
            "at": time.time(),
        }
        self._place.write(f"{FOLDER}/{self.id}.json", json.dumps(record).encode())


class Watcher:
    """Whether others are still at work."""

    def __init__(self, place: Place, silence_s: float = SILENCE_S) -> None:
        self._place, self._silence_s = place, silence_s
        self._seen: dict[str, tuple[Any, float]] = {}

    def gone(self, owner: str) -> bool:
        """Whether a process is no more. One that has ended well has taken its sign away."""
        record = read_owner(self._place, owner)
        if record is None:
            return True
        silent = self.silent(owner, record["beat"])
        return silent or (is_here(record) and not lives_here(record))

    def silent(self, name: str, value: Any) -> bool:
        """Whether this observer has seen the same value under a name for `silence_s`."""
        now = time.monotonic()
        before, since = self._seen.get(name, (None, now))
        if before != value or name not in self._seen:
            self._seen[name] = (value, now)
            return False
        return now - since > self._silence_s


def read_owner(place: Place, owner: str) -> dict[str, Any] | None:
    content = place.read(f"{FOLDER}/{owner}.json")
    if content is None:
        return None
    try:
        return json.loads(content)
    except ValueError:
        return {"beat": None, "node": None, "at": 0.0}  # half of an object that is being written


def seems_alive(place: Place, owner: str) -> bool:
    """A guess at one look, which rather errs towards life."""
    record = read_owner(place, owner)
    if record is None:
        return False
    return lives_here(record) if is_here(record) else time.time() - record["at"] < STALE_S


def is_here(record: dict[str, Any]) -> bool:
    """Whether the process was of this node, in the same space of process numbers."""
    return record["node"] is not None and record["node"] == this_node()


def lives_here(record: dict[str, Any]) -> bool:
    return started(record["pid"]) == record["started"]


def this_node() -> str | None:
    """A name of this boot of this machine and of its space of process numbers; None where the system has none."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip() + os.readlink("/proc/self/ns/pid")
    return None


def started(pid: int) -> int | None:
    """When a process began, in ticks since the boot; None where it is gone (also where it only waits to be reaped)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])
