"""How fast a stage goes, and what share of its time it waits for cells."""

from __future__ import annotations

from collections import deque
from statistics import median

RECENT = 100  # steps


class Pace:
    """Filled once per update by the process that trains; checks and checkpoints are no part of an update."""

    def __init__(self) -> None:
        self._steps: deque[float] = deque(maxlen=RECENT)
        self._waits: deque[float] = deque(maxlen=RECENT)
        self._total = self._waited = 0.0

    def add(self, seconds: float, waited: float) -> None:
        """An update took `seconds`, `waited` of them without a batch to work on."""
        self._steps.append(seconds)
        self._waits.append(waited)
        self._total += seconds
        self._waited += waited

    @property
    def step_s(self) -> float | None:
        """Median seconds of the recent updates; None before the first."""
        return median(self._steps) if self._steps else None

    @property
    def data_wait(self) -> float | None:
        """Share of the recent updates' time that was spent waiting."""
        return sum(self._waits) / sum(self._steps) if self._steps else None

    @property
    def data_wait_overall(self) -> float | None:
        """The same over all updates of this process."""
        return self._waited / self._total if self._total else None
