"""A placement group that no run has claimed is given back; one that a worker sits in stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import ray
from ray.util.placement_group import placement_group, placement_group_table
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from scbig_dist.cluster.leftovers import UNKNOWN_S, Leftovers, note_group
from scbig_dist.cluster.session import ray_session


@pytest.mark.ray
def test_a_group_without_an_owner_is_given_back_after_a_while(tmp_path):
    class Worker:  # here, not in the module: Ray's processes cannot import a test
        def begin(self, run: str) -> None:
            note_group(Path(run))

    run = tmp_path / "trials" / "0000"
    run.mkdir(parents=True)
    with ray_session(cpus=5):
        used, left = (placement_group([{"CPU": 1}] * 2) for _ in range(2))
        single = placement_group([{"CPU": 1}])  # as Tune's own are
        assert all(group.wait(30) for group in (used, left, single))
        place: Any = PlacementGroupSchedulingStrategy(used)
        worker = ray.remote(num_cpus=1)(Worker).options(scheduling_strategy=place).remote()
        ray.get(worker.begin.remote(str(run)))
        leftovers = Leftovers(tmp_path)
        assert [leftovers.remove(now) for now in (0.0, UNKNOWN_S - 1, UNKNOWN_S + 1)] == [0, 0, 1]
        states = [placement_group_table(group)["state"] for group in (used, left, single)]
    assert states == ["CREATED", "REMOVED", "CREATED"]
