"""Gradients of CPU workers on one node averaged in memory that they share."""

# No postponed annotations: torch looks at those of a hook.
import mmap
import os
import platform
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.futures import Future

SHARED = Path("/dev/shm")
STRONGLY_ORDERED = ("x86_64", "AMD64")  # a flag set behind the data is seen behind the data
LINE = 64  # bytes that a core takes at a time: each rank's flag has its own
PATIENT_AFTER = 2000  # looks at the flags; from then on this rank sleeps between them
NAP_S = 5e-5
LOOK_FOR_PEERS_S = 1.0


class NodeSum:
    """Means over the ranks of the default process group, which are processes of one machine.

    A message over a socket wakes two threads at each end, a millisecond on a virtual machine and more than a small
    model's gradients take to add up. Here each rank writes its numbers into its own row, raises its flag, and
    adds up all rows once every flag is up. Rows are used in turn, two sets of them: whoever writes a set again
    has seen the others' flags of the round between, raised when they were done with reading it. Every rank adds
    in the order of ranks: all have the same bits.
    """

    def __init__(self, memory: mmap.mmap, rank: int, pids: list[int], n: int) -> None:
        """`memory`: `size_of(len(pids), n)` bytes, zeroed; `n`: the most numbers of a round."""
        world = len(pids)
        head = world * LINE
        self._flags = np.frombuffer(memory, dtype=np.int64, count=head // 8)[:: LINE // 8]
        rows = np.frombuffer(memory, dtype=np.float32, offset=head, count=2 * world * n)
        self._rows = torch.from_numpy(rows.reshape(2, world, n))
        self._rank, self._pids, self._round = rank, pids, 0

    def mean_(self, values: Tensor) -> Tensor:
        """Put the ranks' mean of a float32 vector in its place. Raises dist.DistError where a rank has gone."""
        assert values.dtype == torch.float32 and values.numel() <= self._rows.shape[2]
        self._round += 1
        rows = self._rows[self._round % 2, :, : values.numel()]
        rows[self._rank].copy_(values.view(-1))
        self._flags[self._rank] = self._round
        self._wait()
        flat = values.view(-1)
        torch.add(rows[0], rows[1], out=flat)
        for row in rows[2:]:
            flat.add_(row)
        return values.div_(len(rows))

    def _wait(self) -> None:
        looks, looked = 0, time.monotonic()
        while int(self._flags.min()) < self._round:
            looks += 1
            time.sleep(0 if looks < PATIENT_AFTER else NAP_S)  # also lets the thread that makes batches go on
            if looks % PATIENT_AFTER == 0 and time.monotonic() - looked > LOOK_FOR_PEERS_S:
                looked = time.monotonic()
                if gone := [pid for pid in self._pids if not _alive(pid)]:
                    raise dist.DistError(f"worker process {gone[0]} has gone while its gradients were waited for")

    def hook(self, _: None, bucket: dist.GradBucket) -> Future[Tensor]:
        """For `DistributedDataParallel.register_comm_hook`."""
        done: Future[Tensor] = Future()
        done.set_result(self.mean_(bucket.buffer()))
        return done


def open_node_sum(rank: int, world: int, n: int) -> NodeSum | None:
    """Called by every rank. None where memory is not shared so: another processor, no room in /dev/shm."""
    found: list[str | None] = [None]
    if rank == 0 and world > 1 and platform.machine() in STRONGLY_ORDERED and SHARED.is_dir():
        found = [_reserve(size_of(world, n))]
    dist.broadcast_object_list(found, src=0)
    if found[0] is None:
        return None
    with open(found[0], "r+b") as file:
        memory = mmap.mmap(file.fileno(), size_of(world, n))
    pids: list[int] = [0] * world
    dist.all_gather_object(pids, os.getpid())
    if rank == 0:  # all have mapped it: without a name nothing of it outlives its processes
        os.unlink(found[0])
    return NodeSum(memory, rank, pids, n)


def size_of(world: int, n: int) -> int:
    """Bytes: a flag a rank, and two rows."""
    return world * LINE + 2 * world * n * 4


def _reserve(size: int) -> str | None:
    """A file of zeros that has its memory, or None."""
    handle, name = tempfile.mkstemp(prefix="scbig-", dir=SHARED)
    try:
        os.posix_fallocate(handle, 0, size)
    except OSError:
        os.unlink(name)
        return None
    finally:
        os.close(handle)
    return name


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
