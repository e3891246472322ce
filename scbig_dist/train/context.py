"""What a training loop may ask of the process it runs in."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from scbig_dist.errors import UserError


class StopTraining(Exception):
    """Raised by `report` where a scheduler ends the run early; the reason is its text."""


class WorkerContext(Protocol):
    """One of `world_size` equal workers. The loop is the same for one and for many."""

    rank: int
    world_size: int
    local_rank: int
    """Its place among the workers of its node."""
    device: torch.device

    def wrap(self, module: nn.Module, find_unused: bool = False) -> nn.Module:
        """The module with gradients averaged over workers, or the module itself."""
        ...

    def sum(self, value: Tensor) -> Tensor:
        """The sum of a tensor over workers, on each of them."""
        ...

    def barrier(self) -> None:
        """Return once every worker is here."""
        ...

    def begin(self) -> None:
        """Called by every rank, once the run's directory is there and before anything is made."""
        ...

    def saved(self, last: bool) -> None:
        """A barrier behind every checkpoint (`last`: of its stage): where a run may be left without losing a step."""
        ...

    def report(self, record: dict[str, float], checkpoint: Path | None) -> None:
        """Tell whoever watches; called by every rank, equally often. May raise StopTraining."""
        ...


class LocalContext:
    """This process alone: a notebook, the command line, a one-worker trial."""

    rank = 0
    world_size = 1
    local_rank = 0

    def __init__(self, gpus: float = 0.0) -> None:
        self.device = pick_device(gpus)

    def wrap(self, module: nn.Module, find_unused: bool = False) -> nn.Module:
        return module

    def sum(self, value: Tensor) -> Tensor:
        return value

    def barrier(self) -> None:
        return None

    def begin(self) -> None:
        return None

    def saved(self, last: bool) -> None:
        return None

    def report(self, record: dict[str, float], checkpoint: Path | None) -> None:
        return None


def pick_device(gpus: float) -> torch.device:
    """CPU for 0 GPUs, the process's first GPU else; an error where none is there."""
    if gpus <= 0:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UserError(f"train.gpus={gpus:g}: no GPU is visible to this process; set train.gpus=0 to train on CPU")
    device = torch.device("cuda", 0)
    keep_to_share(device, gpus)
    return device


def keep_to_share(device: torch.device, gpus: float) -> None:
    """Hold this process to its part of a GPU's memory: neighbours on it fail by their own doing alone."""
    if device.type == "cuda" and 0 < gpus <= 1:
        torch.cuda.set_per_process_memory_fraction(gpus, device)
