"""A training on workers, shown to the person who started it: their own output stays with Ray."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.status import Status

SECONDS = 1.0  # between two looks at the log


class Watch:
    """Follows `RUN/metrics.jsonl` on one line, beneath one that names RUN; `look` is cheap to call often."""

    def __init__(self, run: Path, progress: bool) -> None:
        self._run, self._path = run, run / "metrics.jsonl"
        self._began = _changed(run / "setup.json")
        self._status = Status("starting the workers", console=Console(markup=False, stderr=True)) if progress else None
        self._looked, self._told = 0.0, False

    def __enter__(self) -> Watch:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._status is not None:
            self._status.stop()

    def look(self) -> None:
        if self._status is None or time.monotonic() - self._looked < SECONDS:
            return
        self._looked = time.monotonic()
        if not self._told and _changed(self._run / "setup.json") != self._began:  # the workers found no mistake
            self._told = True
            self._status.console.print(f"run: {self._run}", soft_wrap=True, highlight=False)
        record = last_record(self._path)
        if record is not None:
            self._status.update(
                f"{record['stage']}: update {record['step']:,}, loss {record['loss']:.4f}, "
                f"{record['cells_per_s']:,.0f} cells/s, {record['peak_mem_gb']:.1f} GB a worker"
            )


def _changed(path: Path) -> int | None:
    """When a file was last written, or None where there is none."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None


def last_record(path: Path) -> dict[str, Any] | None:
    """The last whole line of a log that another process is writing."""
    if not path.is_file():
        return None
    with open(path, "rb") as file:
        file.seek(max(file.seek(0, 2) - 4096, 0))
        lines = file.read().split(b"\n")[:-1]  # what follows the last newline is not whole yet
    return json.loads(lines[-1]) if lines else None
