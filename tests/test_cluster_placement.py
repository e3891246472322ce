"""What trials ask Ray for, on GPUs that are counted and not there: bundles, packing, several workers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from ray.util import placement_group, remove_placement_group

from scbig_dist.cluster.resources import Needs, driver_bundle, n_concurrent, needs_of, nodes, trial_bundle
from scbig_dist.cluster.session import ray_session
from scbig_dist.cluster.train import backend_of, scaling_of
from scbig_dist.errors import UserError
from scbig_dist.settings import build_config
from scbig_dist.train.context import keep_to_share, pick_device

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def two_gpus() -> Iterator[None]:
    with ray_session(cpus=8, gpus=2):
        yield


def places(groups: list[list[dict[str, float]]]) -> list[bool]:
    """Which placement groups, asked for in this order, Ray gives room at the same time."""
    made = [placement_group(bundles, strategy="PACK") for bundles in groups]
    found = [group.wait(timeout_seconds=2) for group in made]
    for group in made:
        remove_placement_group(group)
    return found


def test_small_trials_share_a_gpu_and_no_more_of_them_than_fit(two_gpus):
    config = build_config({"train.gpus": 0.25, "train.threads": 1})
    assert trial_bundle(config) == {"CPU": 1.0, "GPU": 0.25}
    assert n_concurrent([needs_of(config)], nodes()) == 8
    assert places([[trial_bundle(config)]] * 8 + [[{"GPU": 0.25}]]) == [True] * 8 + [False]


def test_workers_of_a_trial_have_a_gpu_each_in_one_group(two_gpus):
    needs = Needs(2, 2.0, 1.0, 0.0)
    scaling = scaling_of(needs, 2)
    assert (scaling.num_workers, scaling.use_gpu, scaling.placement_strategy) == (2, True, "PACK")
    assert scaling.resources_per_worker == {"CPU": 2.0, "GPU": 1.0}
    bundles = [scaling.resources_per_worker] * scaling.num_workers
    # The driver beside them asks for memory alone; a second such trial waits.
    assert places([[driver_bundle()], bundles, [driver_bundle()], bundles]) == [True, True, True, False]
    assert n_concurrent([needs], nodes()) == 1


def test_nccl_needs_a_gpu_for_each_worker():
    assert backend_of(Needs(2, 1.0, 1.0, 0.0)) == "nccl"
    assert backend_of(Needs(2, 1.0, 0.5, 0.0)) == backend_of(Needs(2, 1.0, 0.0, 0.0)) == "gloo"


def test_config_rejects_several_gpus_for_one_worker():
    with pytest.raises(UserError, match=r"train\.gpus=2"):
        build_config({"train.gpus": 2})


def test_a_part_of_a_gpu_is_a_part_of_its_memory(monkeypatch):
    asked = []
    monkeypatch.setattr("torch.cuda.set_per_process_memory_fraction", lambda share, device: asked.append(share))
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    keep_to_share(pick_device(0.25), 0.5)
    keep_to_share(pick_device(0.0), 0.5)
    assert asked == [0.25, 0.5]
