"""Peaks of memory: of a process without the pages of mapped files, of tensors on a GPU."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch


class AnonymousPeak:
    """Highest anonymous memory of this process inside the block, GB."""

    def __init__(self, every_s: float = 0.005) -> None:
        self.gb = 0.0
        self._every, self._done = every_s, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> AnonymousPeak:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(self._every):
            self.gb = max(self.gb, anonymous_gb())


def anonymous_gb() -> float:
    """Anonymous resident memory of this process now, GB; 0 where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) * 1024 / 1e9 for line in lines if line.startswith("RssAnon:")), 0.0)


@dataclass
class StagePeak:
    """The most memory that a stage held, GB; filled when its block ends."""

    gb: float = 0.0


@contextmanager
def stage_peak(device: torch.device) -> Iterator[StagePeak]:
    """Peak inside the block: of tensors on a GPU, or of this process's anonymous memory."""
    found = StagePeak()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield found
        found.gb = torch.cuda.max_memory_allocated(device) / 1e9
        return
    with AnonymousPeak() as peak:
        yield found
    found.gb = max(peak.gb, anonymous_gb())
