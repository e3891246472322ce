"""Cell names: hashed while they are read, made unique without holding them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from scbig_dist.store.jit import jit


class Unique(NamedTuple):
    renamed: dict[int, str]  # by cell
    n_double: int
    first: tuple[str, str] | None  # the first name that was changed, and what it became


def hash_names(names: pa.LargeStringArray) -> np.ndarray:
    """64 bits of each name (FNV-1a)."""
    _, offsets, text = names.buffers()
    begin = np.frombuffer(offsets, dtype=np.int64)[names.offset : names.offset + len(names) + 1]
    content = np.zeros(0, np.uint8) if text is None else np.frombuffer(text, dtype=np.uint8)
    hashes = np.empty(len(names), dtype=np.uint64)
    _hash(begin, content, hashes)
    return hashes


def make_unique(
    hashes: np.ndarray,
    first: int,
    names_of: Callable[[np.ndarray], Sequence[str]],
    suffix_of: Callable[[int], str],
    held: np.ndarray,
) -> Unique:
    """Names for cells from `first` on that an earlier cell has.

    `hashes`: of all cells. `names_of`: names of some cells, asked in rising order. `suffix_of`: what a
    repeated name gets before it is counted, '' where nothing. `held`: hashes of more names that are
    taken. Repeated: NAME + suffix, then with -1, -2 … behind it.
    """
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    same = ordered[1:] == ordered[:-1]
    if not same.any():
        return Unique({}, 0, None)
    suspects = np.sort(order[np.append(same, False) | np.insert(same, 0, False)])
    held = np.sort(held)
    taken: set[str] = set()
    repeats: list[tuple[int, str]] = []
    for cell, name in zip(suspects.tolist(), names_of(suspects), strict=True):
        if name in taken and cell >= first:
            repeats.append((cell, name))
        taken.add(name)

    def are_known(names: Sequence[str]) -> list[bool]:
        wanted = hash_names(pa.array(names, pa.large_string()))
        return (_are_in(ordered, wanted) | _are_in(held, wanted)).tolist()

    bases = [name + suffix_of(cell) for cell, name in repeats]
    renamed: dict[int, str] = {}
    counter: dict[str, int] = {}
    for (cell, _), base, known in zip(repeats, bases, are_known(bases), strict=True):
        new = base
        while known or new in taken:
            counter[base] = counter.get(base, 0) + 1
            new = f"{base}-{counter[base]}"
            known = are_known([new])[0]
        taken.add(new)
        renamed[cell] = new
    return Unique(renamed, len(renamed), (repeats[0][1], renamed[repeats[0][0]]) if repeats else None)


def _are_in(rising: np.ndarray, values: np.ndarray) -> np.ndarray:
    if not len(rising):
        return np.zeros(len(values), dtype=bool)
    place = np.minimum(np.searchsorted(rising, values), len(rising) - 1)
    return rising[place] == values


@jit
def _hash(begin, content, hashes):
    for i in range(len(hashes)):
        value = np.uint64(14695981039346656037)
        for at in range(begin[i], begin[i + 1]):
            value = (value ^ np.uint64(content[at])) * np.uint64(1099511628211)
        hashes[i] = value
