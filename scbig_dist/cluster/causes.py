"""Why a training ended early: the cause beneath Ray's wrapping, in one line, and whether another try could mend it."""

from __future__ import annotations

import errno
import re
import socket

import torch
import torch.distributed as dist
from ray.exceptions import OutOfMemoryError, RayActorError, RayError, RayTaskError
from ray.train import ControllerError, WorkerGroupError
from ray.train.v2._internal.exceptions import RayTrainError

FULL = (errno.ENOSPC, errno.EDQUOT)
LESS_MEMORY = "lower autoencoder.batch or flow.batch, or raise autoencoder.accumulate"
MOST = 300  # characters of a reason
GUESSES = "Some common causes"  # from here on Ray names what might have been, memory always among it


def causes_of(error: BaseException) -> list[BaseException]:
    """What was raised, as it was raised: one exception per failed worker."""
    if isinstance(error, WorkerGroupError):
        return [cause for failure in error.worker_failures.values() for cause in causes_of(failure)]
    if isinstance(error, ControllerError):
        return causes_of(error.controller_failure)
    if isinstance(error, RayTaskError) and error.cause is not None:
        return causes_of(error.cause)
    return [getattr(error, "_base_exc", error)]


def first_cause(error: BaseException) -> BaseException:
    """Of several workers' causes the one that is not a neighbour's complaint."""
    causes = causes_of(error)
    return next((cause for cause in causes if not is_loss(cause)), causes[0] if causes else error)


def is_gone(cause: BaseException) -> bool:
    """Whether a process or a node went away, or a group of workers could not be started for want of one."""
    return isinstance(cause, RayError | RayTrainError) and not isinstance(cause, RayTaskError)


def is_loss(cause: BaseException) -> bool:
    """Whether a process or a node went away, or a neighbour noticed that one did."""
    words = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer")
    neighbour = isinstance(cause, RuntimeError) and any(word in str(cause) for word in words)
    return is_gone(cause) or isinstance(cause, dist.DistError) or neighbour


def node_died(text: str) -> bool:
    """Whether Ray says that the node went, not the process: no fault of the trial's."""
    return bool(re.search(r"node (has )?died|node was (terminated|preempted)|NodeDiedError", text, re.I))


def reason(error: BaseException) -> str:
    """One line: what happened, and what mends it where that is known."""
    cause = first_cause(error)
    text = _line(cause)
    if isinstance(cause, OutOfMemoryError) or (isinstance(cause, RayActorError) and killed_for_memory(str(cause))):
        return killed(str(cause))
    if isinstance(cause, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in text:
        return f"out of memory on {socket.gethostname()} ({text}); {LESS_MEMORY}"[:MOST]
    if isinstance(cause, OSError) and cause.errno in FULL:
        return f"disk full: {cause.filename or cause}; free some room there, or name another place"[:MOST]
    return text


def killed_for_memory(text: str) -> bool:
    happened = text.split(GUESSES)[0]
    return "low on memory" in happened or "memory usage threshold" in happened


def killed(text: str) -> str:
    """The one line of a process's death, from Ray's paragraph about it."""
    if killed_for_memory(text):
        return (
            "out of memory: Ray ended its process because the node ran low; ask for train.memory_gb, so that fewer "
            f"trials share a node, or {LESS_MEMORY}"
        )
    if node_died(text):
        return "its node died"
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()] or ["the process died"]
    words = next((line for line in reversed(lines) if not line.startswith("(")), lines[0]).split(GUESSES)[0].strip()
    return words if len(words) < 200 else words[:197] + "…"


def _line(cause: BaseException) -> str:
    lines = [line.strip() for line in str(cause).strip().splitlines() if line.strip()] or ["no message"]
    return f"{type(cause).__name__}: {lines[0]}"[:MOST]
