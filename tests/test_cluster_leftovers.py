"""Placement groups that nobody will use are given back; all others stay."""

from __future__ import annotations

import time

import pytest
import ray
from cluster_cases import wait_for
from ray._private.state import actors
from ray.core.generated.gcs_pb2 import PlacementGroupTableData as Group
from ray.util.placement_group import placement_group, placement_group_table

from scbig_dist.cluster.leftovers import is_left, remove_leftovers
from scbig_dist.cluster.session import ray_session

OWN, ENDED, OTHER = "01000000", "02000000", "03000000"
DEAD, ALIVE, DRIVER = "a" * 24, "b" * 24, "f" * 24


@pytest.mark.ray
def test_a_group_whose_maker_died_is_given_back(tmp_path):
    class Controller:  # here, not in the module: Ray's processes cannot import a test
        def make(self, lifetime: str | None = None) -> str:
            group = placement_group([{"CPU": 1}] * 2, lifetime=lifetime)
            assert group.wait(30)
            return group.id.hex()

    with ray_session(cpus=8):
        dying, living = (ray.remote(num_cpus=0)(Controller).remote() for _ in range(2))
        left, meant, used = ray.get([dying.make.remote(), dying.make.remote("detached"), living.make.remote()])
        own = placement_group([{"CPU": 1}])  # as Tune's are
        assert own.wait(30)
        assert remove_leftovers() == 0
        ray.kill(dying)
        wait_for(lambda: actors(dying._actor_id.hex())["State"] == "DEAD")
        time.sleep(1.0)
        assert placement_group_table()[left]["state"] == "CREATED", "Ray leaves it"
        assert remove_leftovers() == 1 and remove_leftovers() == 0
        states = [placement_group_table()[name]["state"] for name in (left, meant, used, own.id.hex())]
    assert states == ["REMOVED", "CREATED", "CREATED", "CREATED"]


@pytest.mark.parametrize(
    ("job", "maker", "detached", "left"),
    [
        (OWN, DEAD, False, True),
        (OWN, ALIVE, False, False),
        (OWN, DRIVER, False, False),
        (ENDED, DEAD, False, True),
        (ENDED, DRIVER, False, True),
        (ENDED, "", False, True),
        (ENDED, ALIVE, False, False),  # a detached actor's
        (ENDED, DEAD, True, False),
        (OTHER, DEAD, False, False),  # somebody else's, who may have handed it on
        (OTHER, DRIVER, False, False),
    ],
)
def test_groups_of_others_and_of_the_living_stay(job, maker, detached, left):
    group = Group(creator_job_id=bytes.fromhex(job), creator_actor_id=bytes.fromhex(maker), is_detached=detached)
    assert is_left(group, OWN, {ENDED}, {DEAD}) is left
