"""Places that nobody will use: they would be held from the trials that wait.

Ray removes a placement group when its job and the actor that made it are gone, where it hears of both after the
group was made. A trial or a sweep that is killed while Ray Train asks for its workers leaves one that Ray knows as
alive, the actor's in this job or one of a job that has ended, for as long as the cluster stands.
"""

from __future__ import annotations

from collections.abc import Collection

import ray
from ray._private.state import actors, state
from ray.core.generated.gcs_pb2 import PlacementGroupTableData as Group  # type: ignore[attr-defined]  # made by protoc
from ray.util.placement_group import PlacementGroup, remove_placement_group


def remove_leftovers() -> int:
    """Remove groups without an owner, of this job and of jobs that have ended; how many there were."""
    jobs = state.job_table()
    groups = [Group.FromString(each) for each in state._connect_and_get_accessor().get_placement_group_table()]
    standing = [group for group in groups if group.state != Group.REMOVED]
    makers = {group.creator_actor_id.hex() for group in standing if not _is_nil(group.creator_actor_id)}
    # An actor that Ray has no entry of any more died long ago.
    dead = {maker for maker in makers if (actors(maker) or {"State": "DEAD"})["State"] == "DEAD"}
    ended = {job["JobID"] for job in jobs if job["IsDead"]}
    own = ray.get_runtime_context().get_job_id()
    left = [group for group in standing if is_left(group, own, ended, dead)]
    for group in left:
        remove_placement_group(PlacementGroup(ray.PlacementGroupID(group.placement_group_id)))
    return len(left)


def is_left(group: Group, own: str, ended: Collection[str], dead: Collection[str]) -> bool:
    """Whether nobody will use it: `own` and `ended` are jobs, `dead` are actors that have made groups."""
    if group.is_detached:  # meant to outlive its maker
        return False
    job = group.creator_job_id.hex()
    if _is_nil(group.creator_actor_id):
        return job in ended
    return group.creator_actor_id.hex() in dead and (job == own or job in ended)


def _is_nil(actor: bytes) -> bool:
    """Whether a driver made the group: Ray writes an actor of ones, behind them the job."""
    return not actor or actor.hex().startswith("f" * 16)
