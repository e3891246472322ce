"""Pages of a map, asked for before they are read: what lets a store larger than memory be trained on."""

from __future__ import annotations

import ctypes
import mmap
from typing import Any

import numpy as np
from numba import carray

from scbig_dist.store.jit import jit
from scbig_dist.store.memory import memory

NEAR = 1 << 16  # bytes between two spans that are cheaper read than skipped


def _c_library() -> Any:
    try:
        library = ctypes.CDLL(None, use_errno=True)
        library.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    except (OSError, AttributeError, TypeError):
        return None  # no such call on this system: pages are then read when they are touched
    return library


_LIBRARY = _c_library()


def expect_random(address: int, n_bytes: int, random: bool) -> None:
    """A page that is touched is read alone, or (not `random`, as maps begin) with its neighbours."""
    _advise(address, n_bytes, "MADV_RANDOM" if random else "MADV_NORMAL")


def read_ahead(starts: np.ndarray, stops: np.ndarray, first: np.ndarray, addresses: np.ndarray, size: int) -> None:
    """Begin to read the rows of the cells [start, stop) of each range into memory; advice, never an error.

    first, addresses: as of `kernel.locate`. size: bytes of a count. The row pointers are asked for first, since the
    place of the entries is read from them. Spans that nearly touch are asked for as one.
    """
    cuts = _cut(starts, stops, first)
    for column in (0, 3):
        begin = addresses[cuts[:, 0], column]
        _will_need(begin + 8 * cuts[:, 1], begin + 8 * (cuts[:, 2] + 1))
    entries = _entries(cuts, addresses)
    for column, width in ((1, 2), (2, size)):
        begin = addresses[cuts[:, 0], column]
        _will_need(begin + width * entries[:, 0], begin + width * entries[:, 1])


def _cut(starts: np.ndarray, stops: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Ranges cut where a shard ends: int64 (range, 3), shard, first cell and end within it; rising."""
    cuts = []
    for start, stop in sorted(zip(np.asarray(starts).tolist(), np.asarray(stops).tolist(), strict=True)):
        while start < stop:
            shard = int(np.searchsorted(first, start, side="right")) - 1
            end = min(stop, int(first[shard + 1]))
            cuts.append((shard, start - first[shard], end - first[shard]))
            start = end
    return np.array(cuts, dtype=np.int64).reshape(-1, 3)


@jit
def _entries(cuts, addresses):
    """First entry and end of each range of `_cut`."""
    found = np.empty((len(cuts), 2), dtype=np.int64)
    for i in range(len(cuts)):
        for k in range(2):
            found[i, k] = carray(memory(addresses[cuts[i, 0], 0] + 8 * cuts[i, 1 + k]), (1,), np.int64)[0]
    return found


def _will_need(begin: np.ndarray, end: np.ndarray) -> None:
    """Ask for byte spans, joined where they nearly touch; `begin` rises within a shard."""
    spans: list[list[int]] = []
    for low, high in sorted(zip(begin.tolist(), end.tolist(), strict=True)):
        if spans and low - spans[-1][1] <= NEAR:
            spans[-1][1] = max(high, spans[-1][1])
        else:
            spans.append([low, high])
    for low, high in spans:
        _advise(low, high - low, "MADV_WILLNEED")


def _advise(address: int, n_bytes: int, advice: str) -> None:
    if _LIBRARY is not None and n_bytes > 0 and hasattr(mmap, advice):
        page = address - address % mmap.PAGESIZE
        _LIBRARY.madvise(page, address + n_bytes - page, getattr(mmap, advice))
