"""What a run says of itself: `metrics.jsonl`, TensorBoard, a progress bar; what was saved, repeated or found damaged."""

from __future__ import annotations

import ctypes
import gc
import json
import resource
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.tensorboard import SummaryWriter

from scbig_dist.artifacts import write_text

PROGRESS, WARNINGS, REPEATED = "progress.json", "warnings.txt", "repeated.jsonl"  # in RUN


class RunLog:
    """Rank 0 writes; the other ranks hold a silent one (`run` None)."""

    def __init__(self, run: Path | None, progress: bool) -> None:
        self._run = run
        self._path = None if run is None else run / "metrics.jsonl"
        self.first: float | None = None  # when this process ended its first update, in seconds since the epoch
        self._board = None if run is None else SummaryWriter(str(run / "tensorboard"))
        self._bar = Progress(
            TextColumn("{task.description:<12}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[now]}"),
            console=Console(markup=False, stderr=True),
            disable=run is None or not progress,
        )
        self._task: Any = None  # from the first stage on

    def say(self, line: str) -> None:
        """A line for the person who watches, above the progress bar."""
        if not self._bar.disable:
            self._bar.console.print(line, soft_wrap=True, highlight=False)

    def warn(self, line: str) -> None:
        """Something that a person should know of even where nobody watches; kept in `RUN/warnings.txt`."""
        self.say(f"warning: {line}")
        if self._run is not None:
            with open(self._run / WARNINGS, "a", encoding="utf-8") as file:
                file.write(line + "\n")

    def saved(self, stage: str, step: int) -> None:
        """A checkpoint lies on disk: who comes after a death asks whether the training had got any further."""
        if self._run is not None:
            write_text(self._run / PROGRESS, json.dumps({"stage": stage, "step": step}))

    def stage(self, name: str, total: int, done: int) -> None:
        """Begin a stage at a step; records of later steps are of an earlier, interrupted try.

        What these show to be repeated is kept in `RUN/repeated.jsonl`: stage, `from` (step), `reached` (step).
        """
        if self._task is None:
            self._bar.start()
            self._task = self._bar.add_task("", now="")
        self._bar.update(self._task, description=name, total=total, completed=done, now="")
        if self._path is None or not self._path.exists():
            return
        kept, reached = [], done
        for line in self._path.read_text().splitlines():
            if (record := _parse(line)) is not None:
                if record["stage"] != name or record["step"] <= done:
                    kept.append(line)
                else:
                    reached = max(reached, record["step"])
        write_text(self._path, "".join(f"{line}\n" for line in kept))
        if reached > done and self._run is not None:
            repeated = {"stage": name, "from": done, "reached": reached, "time": round(time.time(), 3)}
            with open(self._run / REPEATED, "a", encoding="utf-8") as file:
                file.write(json.dumps(repeated) + "\n")

    def records(self, stage: str) -> str:
        """The lines of a stage in `metrics.jsonl`."""
        lines = [] if self._path is None else self._path.read_text().splitlines()
        return "".join(f"{line}\n" for line in lines if (each := _parse(line)) is not None and each["stage"] == stage)

    def replay(self, stage: str, records: str) -> None:
        """Take over the records of a stage that another run has trained to the same end."""
        first = self.first
        self.stage(stage, 0, 0)
        for line in records.splitlines():
            self.write(json.loads(line))
        self.first = first

    def step(self, done: int, now: str) -> None:
        self._bar.update(self._task, completed=done, now=now)

    def write(self, record: dict[str, Any]) -> None:
        """One line of metrics; every number also goes to TensorBoard under `stage/name`."""
        if self._path is None or self._board is None:
            return
        now = time.time()
        self.first = now if self.first is None else self.first
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps({**record, "time": round(now, 3)}) + "\n")
        for name, value in record.items():
            if name not in ("stage", "step") and isinstance(value, int | float):
                self._board.add_scalar(f"{record['stage']}/{name}", value, record["step"])
        self._board.flush()

    def close(self) -> None:
        if self._task is not None:  # else a log gets an empty line
            self._bar.stop()
        if self._board is not None:
            self._board.close()


def _parse(line: str) -> dict[str, Any] | None:
    """The record of a line, or None for one that a crash cut short."""
    try:
        return json.loads(line)
    except ValueError:
        return None


def release_memory() -> None:
    """Give back what earlier work in this process no longer needs, so that it counts for nobody after it."""
    gc.collect()
    with suppress(OSError, AttributeError):  # another C library has no such call
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def reset_peak_memory() -> None:
    """Start a new peak, where the kernel allows it (a process may train several runs)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return  # not Linux, or not permitted: the peak is then the process's own
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def peak_memory_gb() -> float:
    """Peak resident memory of this process in GB (mapped store pages count)."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e9
    except OSError:
        pass  # not Linux: the next line knows
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
