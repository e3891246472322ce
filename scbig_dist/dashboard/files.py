"""Files of a study as they are at this moment: whole, absent, or cut short, and read again only when they changed.

A link is never followed: a copied study must not lead the page to files outside it.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

MOST_BYTES = 4_000_000  # of a file that is read whole: records are kilobytes, tracebacks too
TAIL_BYTES = 16_384
Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Signature = tuple[int, int, int]


@dataclass(frozen=True)
class Found:
    """A mapping read from a file; `problem` says in a few words why `value` is empty though the file is there."""

    value: dict[str, Any] = field(default_factory=dict)
    there: bool = False
    problem: str = ""


ABSENT = Found()


def signature(path: Path) -> Signature | None:
    """What changes when a file does: inode, size, time; None where there is no plain file."""
    try:
        status = os.lstat(path)
    except (OSError, ValueError):  # ValueError: a null byte in a name
        return None
    return (status.st_ino, status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None


def read_bytes(path: Path, start: int = 0, most: int = MOST_BYTES) -> bytes:
    """Up to `most` bytes from `start`; an OSError for a link."""
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        file.seek(start)
        return file.read(most)


def read_json(path: Path) -> Found:
    return _read(path, json.loads)


def read_yaml(path: Path) -> Found:
    return _read(path, lambda text: yaml.load(text, Loader=Loader))


def _read(path: Path, parse: Callable[[str], Any]) -> Found:
    if signature(path) is None:
        return ABSENT
    try:
        value = parse(read_bytes(path).decode("utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return Found({}, True, f"{path.name} cannot be read: cut short or not in its format")
    if not isinstance(value, dict):
        return Found({}, True, f"{path.name} cannot be read: it holds no keys and values")
    return Found({str(name): each for name, each in value.items()}, True)


def last_lines(path: Path, most: int = TAIL_BYTES) -> list[str]:
    """The last whole lines of a file that may be being written; what follows its last newline is not whole yet."""
    try:
        size = os.lstat(path).st_size
        start = max(size - most, 0)
        lines = read_bytes(path, start, most).decode("utf-8", errors="replace").split("\n")[:-1]
    except OSError:
        return []
    return lines[1:] if start else lines


def last_record(path: Path) -> dict[str, Any]:
    """The last whole JSON line of a log, or nothing."""
    for line in reversed(last_lines(path, 4096)):
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            return record
    return {}


class Kept:
    """What was made of a file, made again only when the file has changed; the least used are dropped."""

    def __init__(self, make: Callable[[Path], Any], most: int) -> None:
        self._make, self._most = make, most
        self._kept: dict[Path, tuple[Signature | None, Any]] = {}

    def __call__(self, path: Path) -> Any:
        now = signature(path)
        before = self._kept.pop(path, None)
        if before is None or before[0] != now:
            before = (now, self._make(path))
        self._kept[path] = before  # last in line
        while len(self._kept) > self._most:
            try:
                self._kept.pop(next(iter(self._kept)))
            except (KeyError, RuntimeError, StopIteration):
                break  # another reader was quicker
        return before[1]


def number(value: Any) -> float | None:
    """A finite number, or None for whatever else stands where one should."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def whole(value: Any) -> int | None:
    found = number(value)
    return None if found is None else int(found)


def text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)
