"""Places that nobody will use: they would be held from the trials that wait until the sweep ends.

Ray removes a placement group when its job ends. Ray Train removes one whose trial died, but knows of it only once
its workers have started: a death in the seconds before leaves a group without an owner.
"""

from __future__ import annotations

import json
from pathlib import Path

import ray
from ray.util.placement_group import (
    PlacementGroup,
    get_current_placement_group,
    placement_group_table,
    remove_placement_group,
)

from scbig_dist.artifacts import write_text
from scbig_dist.cluster.trials import read_json

GROUP_FILE = "group.json"  # in RUN: the placement group that its workers are in
UNKNOWN_S = 150.0  # from a group's creation to the first sign of its workers; a busy machine has taken 35


def note_group(run: Path) -> None:
    """Called by a worker as soon as it runs."""
    group = get_current_placement_group()
    if group is not None and run.is_dir():
        write_text(run / GROUP_FILE, json.dumps({"group": group.id.hex()}))


class Leftovers:
    """Of this job's groups of several workers those that no run of the study has claimed in time."""

    def __init__(self, study_dir: Path) -> None:
        self._dir = study_dir
        self._first_seen: dict[str, float] = {}

    def remove(self, now: float) -> int:
        """How many were removed. A group of one is left alone: it cannot be told from a trial's own."""
        files = [*self._dir.glob(f"trials/*/{GROUP_FILE}"), *self._dir.glob(f"trials/*/*/{GROUP_FILE}")]
        claimed = {read_json(file).get("group") for file in files}
        job = ray.get_runtime_context().get_job_id()
        unknown = {
            name
            for name, group in placement_group_table().items()
            if group["state"] == "CREATED" and len(group["bundles"]) > 1 and name.endswith(job) and name not in claimed
        }
        self._first_seen = {name: self._first_seen.get(name, now) for name in unknown}
        left = [name for name, since in self._first_seen.items() if now - since > UNKNOWN_S]
        for name in left:
            remove_placement_group(PlacementGroup(ray.PlacementGroupID(bytes.fromhex(name))))
        return len(left)
