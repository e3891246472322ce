"""Learning curves: `metrics.jsonl` read on from where it ended, a compact column per field."""

from __future__ import annotations

import json
import threading
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from scbig_dist.dashboard.files import number, read_bytes, signature

MOST_KEPT = 96  # logs in memory at a time: a curve of 500 records takes about 60 kB
MOST_POINTS = 1_000  # drawn of one curve
NAN = float("nan")


@dataclass
class Stage:
    """The records of one stage: a column per field, NaN where a record lacks it."""

    columns: dict[str, array] = field(default_factory=dict)
    n: int = 0
    _drawn: dict[tuple[str, str, int], tuple[int, tuple[list[float], list[float]]]] = field(default_factory=dict)

    def add(self, record: Mapping[str, object]) -> None:
        for name, value in record.items():
            known = number(value)
            if known is None:
                continue
            column = self.columns.get(name)
            if column is None:
                column = self.columns[name] = array("d", [NAN]) * self.n
            column.append(known)
        self.n += 1
        for column in self.columns.values():
            if len(column) < self.n:
                column.append(NAN)

    def points(self, x: str, y: str, most: int = MOST_POINTS) -> tuple[list[float], list[float]]:
        """Points where both are known; of long curves every so-manieth and the last."""
        if x not in self.columns or y not in self.columns:
            return [], []
        n, kept = self.n, self._drawn.get((x, y, most))
        if kept is None or kept[0] != n:
            kept = self._drawn[x, y, most] = (n, self._points(x, y, most))
        return kept[1]

    def _points(self, x: str, y: str, most: int) -> tuple[list[float], list[float]]:
        both = zip(self.columns[x], self.columns[y], strict=False)  # another reader may be adding a record
        pairs = [(a, b) for a, b in both if a == a and b == b]
        if len(pairs) > most:
            step = -(-len(pairs) // most)
            pairs = [*pairs[:-1:step], pairs[-1]]
        return [a for a, _ in pairs], [b for _, b in pairs]


@dataclass
class Log:
    """What is known of a run's log; `broken` lines were cut short by a crash and are left out, as is an open last one."""

    stages: dict[str, Stage] = field(default_factory=dict)
    broken: int = 0
    is_open: bool = False
    _inode: int = -1
    _offset: int = 0

    def read_on(self, path: Path) -> None:
        """Take in what was written since; a file that was replaced or cut is read anew."""
        now = signature(path)
        if now is None:
            self.stages, self.broken, self._inode, self._offset = {}, 0, -1, 0
            return
        if now[0] != self._inode or now[1] < self._offset:
            self.stages, self.broken, self._inode, self._offset = {}, 0, now[0], 0
        if now[1] == self._offset:
            return
        try:
            data = read_bytes(path, self._offset, now[1] - self._offset)
        except OSError:
            return
        end = data.rfind(b"\n") + 1  # the rest is not whole yet
        self._offset += end
        self.is_open = end < len(data)
        for line in data[:end].splitlines():
            self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            record = json.loads(line)
        except ValueError:
            self.broken += 1
            return
        if not isinstance(record, dict) or not isinstance(record.get("stage"), str):
            self.broken += 1
            return
        self.stages.setdefault(record["stage"], Stage()).add(record)

    @property
    def judged(self) -> Stage:
        """The stage that a model is judged by: scBIG's flow, a baseline's only one."""
        return self.stages.get("flow") or self.stages.get("cells") or Stage()


class Logs:
    """Logs by path; the least used are dropped and read again when asked for."""

    def __init__(self) -> None:
        self._logs: dict[Path, Log] = {}
        self._lock = threading.Lock()

    def __call__(self, path: Path) -> Log:
        with self._lock:
            log = self._logs.pop(path, None) or Log()
            self._logs[path] = log
            while len(self._logs) > MOST_KEPT:
                self._logs.pop(next(iter(self._logs)))
            log.read_on(path)
            return log


def smoothed(values: list[float], weight: float) -> list[float]:
    """An exponential moving average without the pull towards its start (Adam's correction)."""
    out, mean, norm = [], 0.0, 0.0
    for value in values:
        mean = weight * mean + (1 - weight) * value
        norm = weight * norm + (1 - weight)
        out.append(mean / norm)
    return out
