"""Where a trial's processes have been: a line per start of its own, and of every group of workers (cluster/attempts.py)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scbig_dist.dashboard.files import number, read_bytes, signature, text, whole

ATTEMPTS, WORKERS = "attempts.jsonl", "workers.jsonl"


@dataclass(frozen=True)
class Process:
    node: str
    ip: str
    pid: int | None
    gpus: str


@dataclass(frozen=True)
class Start:
    """`processes`: the trial's own, or the workers of a group that began together."""

    began: float | None
    processes: tuple[Process, ...]

    @property
    def nodes(self) -> str:
        return ", ".join(dict.fromkeys(p.node for p in self.processes if p.node))

    @property
    def gpus(self) -> str:
        return ", ".join(dict.fromkeys(p.gpus for p in self.processes if p.gpus))


@dataclass(frozen=True)
class Starts:
    """Of one trial; `groups` of all its runs, one after the other."""

    attempts: tuple[Start, ...] = ()
    groups: tuple[Start, ...] = ()
    n_groups: int = 0
    """The most of any of its runs."""
    problems: tuple[str, ...] = ()

    @property
    def last(self) -> Start | None:
        """Where it is now, or was last: its workers where it has several."""
        return next(reversed(self.groups or self.attempts), None)

    @property
    def restarts(self) -> int | None:
        """How often it was begun again; None where nothing is recorded."""
        n = max(len(self.attempts), self.n_groups)
        return n - 1 if n else None


def read_starts(folder: Path, runs: tuple[Path, ...]) -> Starts:
    attempts, torn = _lines(folder / ATTEMPTS)
    groups: list[Start] = []
    most, problems = 0, [torn] if torn else []
    for run in runs:
        found, torn = _lines(run / WORKERS)
        groups += [_start(each, each.get("workers")) for each in found]
        most, problems = max(most, len(found)), problems + ([torn] if torn else [])
    return Starts(tuple(_start(each, [each]) for each in attempts), tuple(groups), most, tuple(problems))


def _start(record: Mapping[str, Any], processes: Any) -> Start:
    found = [_process(each) for each in processes if isinstance(each, dict)] if isinstance(processes, list) else []
    return Start(number(record.get("began")), tuple(found))


def _process(record: Mapping[str, Any]) -> Process:
    gpus = record.get("gpus")
    shown = ", ".join(map(str, gpus)) if isinstance(gpus, list) else text(gpus)
    return Process(text(record.get("node")), text(record.get("ip")), whole(record.get("pid")), shown)


def _lines(path: Path) -> tuple[list[dict[str, Any]], str]:
    """The whole lines of a file, and a sentence on the others."""
    if signature(path) is None:
        return [], ""
    try:
        lines = read_bytes(path).decode("utf-8", errors="replace").splitlines()
    except OSError:
        return [], f"{path.name} cannot be read"
    found, bad = [], 0
    for line in lines:
        try:
            record = json.loads(line) if line else None
        except ValueError:
            record = None
        if isinstance(record, dict):
            found.append(record)
        elif line:
            bad += 1
    return found, f"{path.name}: {bad} of {len(lines)} lines are half-written and were left out" if bad else ""
