"""Anonymous memory of a process: what it needs for itself, the pages of mapped files left out."""

from __future__ import annotations

import threading
from pathlib import Path


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
