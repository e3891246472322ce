"""What a training asks of a cluster, and whether the cluster has it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import ray
import torch

from scbig_dist.config import Config
from scbig_dist.errors import UserError

DRIVER_BYTES = 500_000_000  # a trial that only watches its workers: no CPU, so that it can never starve them
SHORT = {"CPU": "CPUs", "GPU": "GPUs", "memory": "GB of memory"}


@dataclass(frozen=True)
class Needs:
    """Equal workers, each on one node."""

    workers: int
    """How many there are where there is room."""
    cpus: float
    gpus: float
    memory_gb: float
    counts: tuple[int, ...] = ()
    """Of a range of workers: how many there may be, those that share an update evenly, ascending."""

    @property
    def least(self) -> int:
        return self.counts[0] if self.counts else self.workers

    def bundle(self) -> dict[str, float]:
        """One worker's resources in Ray's words."""
        wanted = {"CPU": self.cpus, "GPU": self.gpus, "memory": self.memory_gb * 1e9}
        return {name: amount for name, amount in wanted.items() if amount > 0}

    def __str__(self) -> str:
        each = f"{self.cpus:g} CPU" + ("" if self.cpus == 1 else "s")
        each += f" + {self.gpus:g} GPUs" if self.gpus else ""
        each += f" + {self.memory_gb:g} GB" if self.memory_gb else ""
        n = f"{self.least}-{self.workers}" if self.counts else str(self.workers)
        return each if n == "1" else f"{n} workers × ({each})"


def needs_of(config: Config) -> Needs:
    train = config.train
    least, most = train.least_workers, train.most_workers
    counts = tuple(n for n in range(least, most + 1) if config.flow.accumulate % n == 0) if least < most else ()
    return Needs(most, float(train.threads), train.gpus, train.memory_gb, counts)


def driver_bundle() -> dict[str, float]:
    """What a trial with several workers asks for itself."""
    return {"memory": float(DRIVER_BYTES)}


def trial_bundle(config: Config) -> dict[str, float]:
    """What a trial's own process asks for: the training itself, or its watcher."""
    needs = needs_of(config)
    return needs.bundle() if needs.workers == 1 else driver_bundle()


def nodes() -> list[dict[str, float]]:
    """Resources of every living node, those in use included."""
    return [dict(node["Resources"]) for node in ray.nodes() if node["Alive"]]


def local_node() -> dict[str, float]:
    """What Ray would find on this machine, without starting it."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    gpus = torch.cuda.device_count()
    return {"CPU": float(len(os.sched_getaffinity(0))), "GPU": float(gpus), "memory": float(memory)}


def n_places(needs: Needs, of: Sequence[dict[str, float]]) -> int:
    """Workers that fit at the same time on empty nodes."""
    bundle = needs.bundle()
    return sum(int(min(node.get(name, 0.0) / amount + 1e-9 for name, amount in bundle.items())) for node in of)


def n_concurrent(needs: Sequence[Needs], of: Sequence[dict[str, float]]) -> int:
    """Trials that may run at once: as many as fit of the one that asks for most."""
    return max(1, min(n_places(each, of) // each.workers for each in needs))


def check_placeable(needs: Sequence[Needs], of: Sequence[dict[str, float]], what: str) -> None:
    """A UserError that says what is missing where a training could never start."""
    for each in needs:
        if n_places(each, of) >= each.least:
            continue
        lacks = []
        for name, amount in each.bundle().items():
            best = max((node.get(name, 0.0) for node in of), default=0.0)
            total = sum(node.get(name, 0.0) for node in of)
            unit = 1e9 if name == "memory" else 1.0
            if best < amount:
                lacks.append(f"{amount / unit:g} {SHORT[name]} on one node (the largest has {best / unit:.3g})")
            elif total < amount * each.least:
                lacks.append(f"{amount * each.least / unit:g} {SHORT[name]} (there are {total / unit:.3g})")
        missing = (
            "; ".join(lacks) or f"nodes that hold {each.least} such workers (there is room for {n_places(each, of)})"
        )
        settings = "train.workers, train.threads, train.gpus or train.memory_gb"
        raise UserError(f"{what} asks for {each}: missing {missing}; lower {settings}, or use a larger cluster")
