"""Whether a disk has the room that a build will take, asked before it is taken."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from scbig_dist.errors import UserError
from scbig_dist.store.inputs import Inputs
from scbig_dist.store.matrix import count_stored

CELL_BYTES = 40  # of a shard, beside its counts: pointers, codes, library size, a short name


def spool_bytes(inputs: Inputs) -> int:
    """What the scratch copy of all counts takes at least; nothing is known of dense files."""
    n_entries = 0
    for file in inputs.files:
        stored = count_stored(file.matrix) or 0
        n_entries += stored * (16 if file.matrix.layout == "csc" else 4)  # turned first, as 4 + 4 + 4 bytes
    return n_entries + inputs.n_cells * 16


def shard_bytes(order: np.ndarray, sizes: np.ndarray, count_type: str) -> int:
    """What the shards take."""
    n_entries = int(sizes[order].sum(dtype=np.int64))
    return n_entries * (2 + np.dtype(count_type).itemsize) + len(order) * CELL_BYTES


def require_room(folder: Path, n_bytes: int) -> None:
    """UserError where the disk of `folder` has less free."""
    free = shutil.disk_usage(folder).free
    if free < n_bytes:
        raise UserError(
            f"{folder.parent}: {n_bytes / 1e9:.1f} GB are needed on this disk and {free / 1e9:.1f} GB are free;"
            " free space or name a STORE elsewhere; nothing was kept"
        )
