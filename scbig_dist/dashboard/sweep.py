"""Whether a sweep is at work on a study: its lock in the kernel's list, or how fresh the newest line of log is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from scbig_dist.report.wording import duration

FRESH_SECONDS = 120.0  # a sweep on another machine holds a lock that is not seen here; its lines are
LOCKS = Path("/proc/locks")


@dataclass(frozen=True)
class Sweep:
    """`basis` says how it is known, for a reader."""

    at_work: bool
    basis: str


@dataclass(frozen=True)
class Lock:
    """A process that holds a lock on a file, or waits for it."""

    pid: int
    inode: int
    waits: bool


def kernel_locks() -> list[Lock]:
    """Whole-file locks of this machine; empty where the system has no such list."""
    try:
        lines = LOCKS.read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        words = line.split()
        waits = "->" in words
        words = [word for word in words if word != "->"]
        try:
            if words[1] == "FLOCK":
                found.append(Lock(int(words[4]), int(words[5].split(":")[2]), waits))
        except (IndexError, ValueError):
            continue
    return found


def sweep_of(study: Path, newest: float | None, now: float, locks: list[Lock]) -> Sweep:
    """`newest`: the time of the newest line that any open trial has logged."""
    try:
        inode = os.lstat(study / ".lock").st_ino
    except OSError:
        inode = -1
    if holder := next((lock for lock in locks if lock.inode == inode and not lock.waits), None):
        return Sweep(True, f"process {holder.pid} holds the study" if holder.pid > 0 else "a process holds the study")
    if newest is not None and 0 <= now - newest < FRESH_SECONDS:
        return Sweep(True, f"its newest line of log is {duration(now - newest)} old")
    return Sweep(False, "no process of this machine holds the study, and no trial has logged anything for two minutes")
