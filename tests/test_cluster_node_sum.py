"""Means in shared memory equal those of torch's own collectives, and a rank that goes is noticed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from scbig_dist.cluster import node_sum
from scbig_dist.cluster.node_sum import open_node_sum

N = 1000


def in_processes(world: int, folder: Path, job) -> None:
    mp.start_processes(_begin, args=(world, folder, job), nprocs=world, start_method="fork")


def _begin(rank: int, world: int, folder: Path, job) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meet'}", rank=rank, world_size=world)
    job(rank, world, folder)
    dist.destroy_process_group()


def many_rounds(rank: int, world: int, folder: Path) -> None:
    before = set(os.listdir("/dev/shm"))
    shared = open_node_sum(rank, world, N)
    assert shared is not None
    dist.barrier()
    assert not {name for name in set(os.listdir("/dev/shm")) - before if name.startswith("scbig-")}
    generator = torch.Generator().manual_seed(rank)
    for round_ in range(300):
        mine = torch.randn(N if round_ % 3 else 7, generator=generator)
        wanted = mine.clone()
        dist.all_reduce(wanted)
        torch.testing.assert_close(shared.mean_(mine), wanted / world)
    everyone: list[list[float]] = [[] for _ in range(world)]
    dist.all_gather_object(everyone, mine.tolist())
    assert all(each == everyone[0] for each in everyone), "the ranks have other bits"


def trained(rank: int, world: int, folder: Path) -> None:
    torch.manual_seed(0)
    shared, plain = (nn.Sequential(nn.Linear(5, 9), nn.Tanh(), nn.Linear(9, 2)) for _ in range(2))
    plain.load_state_dict(shared.state_dict())
    wrapped = [DistributedDataParallel(each, bucket_cap_mb=100) for each in (shared, plain)]
    summing = open_node_sum(rank, world, sum(p.numel() for p in shared.parameters()))
    assert summing is not None
    wrapped[0].register_comm_hook(None, summing.hook)
    optimizers = [torch.optim.SGD(each.parameters(), 0.1) for each in wrapped]
    generator = torch.Generator().manual_seed(rank)
    for _ in range(5):  # DDP lays its buckets out anew after the first
        x = torch.randn(8, 5, generator=generator)
        for model, optimizer in zip(wrapped, optimizers, strict=True):
            with model.no_sync():
                model(x).square().mean().backward()
            model(2 * x).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
    for one, other in zip(shared.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def one_goes(rank: int, world: int, folder: Path) -> None:
    shared = open_node_sum(rank, world, N)
    assert shared is not None
    shared.mean_(torch.ones(N))
    if rank == 1:
        os._exit(0)
    with pytest.raises(dist.DistError, match=r"worker process \d+ has gone"):
        shared.mean_(torch.ones(N))
    (folder / "noticed").touch()
    os._exit(0)  # no farewell to a rank that has gone


def no_room(rank: int, world: int, folder: Path) -> None:
    assert open_node_sum(rank, world, 1 << 50) is None
    assert not [name for name in os.listdir("/dev/shm") if name.startswith("scbig-")]


@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize("job", [many_rounds, trained], ids=lambda job: job.__name__)
def test_means_are_those_of_a_collective(tmp_path, world, job):
    in_processes(world, tmp_path, job)


def test_a_rank_that_goes_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(node_sum, "LOOK_FOR_PEERS_S", 0.05)
    in_processes(2, tmp_path, one_goes)
    assert (tmp_path / "noticed").exists()


def test_without_room_there_is_none(tmp_path):
    in_processes(2, tmp_path, no_room)
