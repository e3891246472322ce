"""An artefact of a run with several ranks: one computation by all of them, or none."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

from scbig_dist.artifacts import Artifact, Shelf
from scbig_dist.train.arrows import Arrow
from scbig_dist.train.context import WorkerContext

PATIENCE_S = 120.0  # until a network file system shows another node what rank 0 has written


@dataclass(frozen=True)
class Work:
    """What was made, still to be written down."""

    write: Callable[[Path], None]
    seconds: float


def share(shelf: Shelf, context: WorkerContext, arrow: Arrow, make: Callable[[], Work]) -> Artifact:
    """The artefact of an arrow: found, waited for, or made by `make`, which every rank calls.

    Rank 0 looks, waits and writes; all ranks take its decision, and each has the files on its node.
    """
    with shelf.claim(arrow.kind, arrow.key) if context.rank == 0 else nullcontext() as found:
        reused = _said_by_rank_zero(found is not None, context)
        if not reused:
            work = make()
            if context.rank == 0:
                found = shelf.put(arrow.kind, arrow.key, arrow.inputs, work.write, work.seconds)
            context.barrier()
    return found if found is not None else _arrived(shelf, arrow, reused)


def _said_by_rank_zero(value: bool, context: WorkerContext) -> bool:
    if context.world_size == 1:
        return value
    said = torch.tensor(float(value and context.rank == 0), device=context.device)
    return context.sum(said).item() > 0


def _arrived(shelf: Shelf, arrow: Arrow, reused: bool) -> Artifact:
    end = time.monotonic() + PATIENCE_S
    while (found := shelf.find(arrow.kind, arrow.key, reused)) is None:
        if time.monotonic() > end:
            raise RuntimeError(
                f"{arrow.kind}-{arrow.key} is in {shelf.place.name} for rank 0 and not for this one: do both nodes see "
                "the same directory there?"
            )
        time.sleep(1.0)
    return found
