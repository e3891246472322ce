"""One sweep under faults: its process, what is struck when, and how long it takes to get further."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.fault_cluster import Nodes

KINDS = {
    "worker": "a training worker of a trial with two",
    "trial": "a trial's own process",
    "node": "a node; another joins",
    "sweep": "the sweep's process, then `--resume`",
    "checkpoint": "a checkpoint cut short, and its writer killed",
}
STALL_S = 300.0  # a sweep without any progress for so long is taken for hung


@dataclass
class Fault:
    kind: str
    trial: str
    """Whose process or file was struck; empty for a node or the sweep."""
    struck: float
    """Seconds since the epoch."""
    kept: Mapping[str, tuple[str, int]]
    """{trial: (stage, update)} of the newest checkpoint of each trial at work."""
    lost: bool = False
    back_s: float | None = None
    took_sweep: bool = False


@dataclass
class Sweep:
    """`scbig sweep` in a process of its own, on the nodes."""

    nodes: Nodes
    study: Path
    workers: int
    """Of a trial, as the study has them."""
    store: str
    out: Path
    seed: str = ""
    faults: list[Fault] = field(default_factory=list)

    def __post_init__(self) -> None:
        program = [sys.executable, "-c", "from scbig_dist.cli import main; main()", "sweep", str(self.study)]
        self._command = [*program, "--store", self.store, "-o", str(self.out), "--address", self.nodes.address]
        self._random = random.Random(self.seed)
        self._start()

    def _start(self, *more: str) -> None:
        with open(self.out.with_suffix(".log"), "a") as log:
            self._process = subprocess.Popen([*self._command, *more], stdout=log, stderr=log)

    def _trials(self) -> list[Path]:
        """Trials that have begun and not ended."""
        paths = sorted((self.out / "trials").glob("*"))
        return [path for path in paths if (path / "attempts.jsonl").exists() and not (path / "trial.json").exists()]

    def _signs(self) -> float:
        """When anything last got further."""
        files = [*self.out.glob("trials/*/progress.json"), *self.out.glob("trials/*/trial.json")]
        return max((file.stat().st_mtime for file in files if file.exists()), default=0.0)

    def _until(self, happened: Callable[[], bool]) -> bool:
        """Wait; False where the sweep ended before, an error where it hangs or failed."""
        began = time.time()
        while True:
            code = self._process.poll()
            if code == 0:
                return False
            if code is not None and self.faults and self.faults[-1].kind == "node" and not self.faults[-1].took_sweep:
                self.faults[-1].took_sweep = True  # a sweep lives and dies with the node that it runs on
                self._start("--resume")
                continue
            said = f"; see {self.out.with_suffix('.log')}:\n{self.out.with_suffix('.log').read_text()[-6000:]}"
            if code is not None:
                raise SystemExit(f"the sweep ended with {code}{said}")
            if happened():
                return True
            if time.time() - max(began, self._signs()) > STALL_S:
                raise SystemExit(f"the sweep hangs{said}")
            time.sleep(0.1)

    def wait(self, low: float, high: float) -> bool:
        """Until the sweep has got further since the last fault, and then some seconds more; False once it has ended."""
        since = self.faults[-1].struck if self.faults else 0.0
        if not self._until(lambda: self._signs() > since and bool(self._trials())):
            return False
        if self.faults:
            self.faults[-1].back_s = self._signs() - since
        until = time.time() + self._random.uniform(low, high)
        return self._until(lambda: time.time() > until)

    def finish(self) -> None:
        self._until(lambda: False)

    def strike(self, before: Mapping[str, int]) -> Fault | None:
        """One fault, of the kind that has been had least `before` among those that the moment allows."""
        kinds = list(KINDS)
        self._random.shuffle(kinds)
        for kind in sorted(kinds, key=lambda kind: before.get(kind, 0)):
            trials = self._trials()
            self._random.shuffle(trials)
            for run in [Path()] if kind in ("node", "sweep") else trials:
                reached = {path.name: read_json(path / "progress.json") for path in trials}
                kept = {name: (each["stage"], each["step"]) for name, each in reached.items() if each}
                fault = Fault(kind, run.name, time.time(), kept)
                if self._do(kind, run):
                    self.faults.append(fault)
                    return fault
        return None

    def _do(self, kind: str, run: Path) -> bool:
        if kind == "node":
            self.nodes.kill(self._random.randrange(2))
            return True
        if kind == "sweep":
            self._process.kill()
            self._process.wait()
            self._start("--resume")
            return True
        own = read_lines(run / "attempts.jsonl")[-1]
        groups = [group for group in read_lines(run / "workers.jsonl") if group["began"] > own["began"]]
        workers = [each["pid"] for each in groups[-1]["workers"]] if groups else []
        if kind == "trial":
            return _signal(own["pid"], signal.SIGKILL)
        if kind == "worker":
            return bool(workers) and _signal(self._random.choice(workers), signal.SIGKILL)
        writer = own["pid"] if self.workers == 1 else next(iter(workers), None)
        return writer is not None and self._cut(run, writer)

    def _cut(self, run: Path, writer: int) -> bool:
        """Cut a file of the newest checkpoint to half, as a writer leaves it that dies on a disk that loses its cache."""
        if not _signal(writer, signal.SIGSTOP):
            return False
        kept = sorted((run / "checkpoints" / "flow").glob("step-*"))
        if len(kept) < 2:
            _signal(writer, signal.SIGCONT)
            return False
        file = kept[-1] / self._random.choice(["model.safetensors", "optimizer.safetensors", "state.json"])
        os.truncate(file, file.stat().st_size // 2)
        return _signal(writer, signal.SIGKILL)


def _signal(pid: int, what: signal.Signals) -> bool:
    try:
        os.kill(pid, what)
    except ProcessLookupError:
        return False
    return True


def read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.is_file() else {}


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
