"""How many workers a training gets that takes a range of them (`train.workers: 1-2`): as many as there is room for, now.

Ray's own elastic scaling counts a cluster's resources, those of other trials included, and ends workers where they
stand. Here placement groups say what is free, and workers are asked to leave behind a checkpoint.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from ray.util.placement_group import placement_group, placement_group_table, remove_placement_group

from scbig_dist.artifacts import write_text
from scbig_dist.cluster.attempts import WORKERS
from scbig_dist.cluster.resources import Needs

LEAVE_FILE = "leave.json"  # in RUN: the workers leave at their next checkpoint, for a larger group
SETTLE_S = 5.0  # until places of workers that are gone are free again
LOOK_S = 1.0


class LeaveTraining(Exception):
    """Raised on every rank behind a checkpoint where there is room for more workers."""


class Places:
    """Room for `n` more workers, asked of Ray from here to `close`: an autoscaler hears of it, too."""

    def __init__(self, needs: Needs, n: int) -> None:
        self._groups = [placement_group([needs.bundle()]) for _ in range(n)]

    def n_free(self) -> int:
        """How many of them there are, now."""
        return sum(placement_group_table(group).get("state") == "CREATED" for group in self._groups)

    def close(self) -> None:
        for group in self._groups:
            remove_placement_group(group)
        self._groups = []


def n_workers_now(needs: Needs) -> int:
    """The most workers that there is room for; waits for the least."""
    if not needs.counts:
        return needs.workers  # Ray waits for them
    places, began = Places(needs, needs.workers), time.monotonic()
    try:
        while True:
            time.sleep(LOOK_S)
            free = places.n_free()
            if free == needs.workers or (free >= needs.least and time.monotonic() - began > SETTLE_S):
                return max(n for n in needs.counts if n <= free)
    finally:
        places.close()


class Growth:
    """A context around a training with `n` workers that asks them to leave once there is room for more."""

    def __init__(self, needs: Needs, n: int, run: Path) -> None:
        self._needs, self._n, self._run = needs, n, run
        self._places: Places | None = None
        self._began, self._looked = time.time(), 0.0
        self.asked = False

    def __enter__(self) -> Growth:
        (self._run / LEAVE_FILE).unlink(missing_ok=True)  # of a driver that died
        return self

    def __exit__(self, *error: object) -> None:
        if self._places is not None:
            self._places.close()
        (self._run / LEAVE_FILE).unlink(missing_ok=True)

    def look(self) -> None:
        """Cheap to call often."""
        if self._n == self._needs.workers or self.asked or time.monotonic() - self._looked < LOOK_S:
            return
        self._looked = time.monotonic()
        if self._places is not None:
            larger = self._n + self._places.n_free()
            if any(self._n < n <= larger for n in self._needs.counts):
                write_text(self._run / LEAVE_FILE, json.dumps({"workers": larger}))
                self.asked = True
        elif self._have_begun():  # not before: these places would be taken from the workers' own
            self._places = Places(self._needs, self._needs.workers - self._n)

    def _have_begun(self) -> bool:
        file = self._run / WORKERS
        return file.is_file() and file.stat().st_mtime > self._began
