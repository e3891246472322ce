"""Differential expression of true cells: the same for every model, so computed once per store and kept.

p-values lie in the machine's cache beside what is known of stores (`data.cache`, by default
`~/.cache/scbig`), never in the store, which may be read-only or remote: a folder `de/KEY` per store
and way of computing, a file per condition. A file appears whole, by renaming; two processes that
miss the same one both compute the same bytes. A cache that cannot be written means no record, and
no error.
"""

from __future__ import annotations

import hashlib
import os
import sys
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from scbig_dist.artifacts import content_key
from scbig_dist.conditions import Condition
from scbig_dist.evaluate.ground import MAX_CONDITION_CELLS, MAX_CONTROL_CELLS, Ground
from scbig_dist.metrics.de import METHOD, rank_sum_p

Array = NDArray[np.float64]


def expression_p(ground: Ground, conditions: Sequence[Condition], progress: bool = False) -> Array:
    """Two-sided p of every panel gene, each condition against control of its context: (condition, gene).

    A gene's p depends on the cells drawn, not on the panel: as a panel is a prefix of the store's
    genes, the row kept for a larger one serves a smaller one with its beginning.
    """
    folder = None if ground.cache is None else ground.cache / "de" / _key(ground)
    p = np.empty((len(conditions), ground.n_genes))
    missing = []
    for row, condition in enumerate(conditions):
        known = None if folder is None else _read(folder / _file(condition), ground.n_genes)
        if known is None:
            missing.append(row)
        else:
            p[row] = known
    shown = progress and bool(missing) and sys.stderr.isatty()
    for row in track(
        missing, "differential expression", disable=not shown, transient=True, console=Console(stderr=True)
    ):
        p[row] = _compute(ground, conditions[row])
        if folder is not None:
            _keep(folder / _file(conditions[row]), p[row])
    return p


def _compute(ground: Ground, condition: Condition) -> Array:
    cells = ground.draw(ground.store.cells(condition), MAX_CONDITION_CELLS, f"DE {condition.name}")
    return rank_sum_p(
        ground.store.dense(cells, ground.n_genes), ground.indexed_control(condition.context), ground.threads
    )


def _key(ground: Ground) -> str:
    """Everything that the p of a gene depends on, but the condition."""
    draws = {"seed": ground.seed, "control_cells": MAX_CONTROL_CELLS, "condition_cells": MAX_CONDITION_CELLS}
    return content_key("de", {"store": ground.store.key, "method": METHOD, **draws})


def _file(condition: Condition) -> str:
    return hashlib.sha256(condition.name.encode()).hexdigest()[:32] + ".npy"


def _read(path: Path, n_genes: int) -> Array | None:
    """The row, if it is there, whole and long enough."""
    with suppress(OSError, ValueError, EOFError):
        kept = np.load(path, allow_pickle=False)
        if kept.dtype == np.float64 and kept.ndim == 1 and len(kept) >= n_genes:
            return kept[:n_genes]
    return None


def _keep(path: Path, p: Array) -> None:
    beside = path.with_name(f".{path.name}-{uuid.uuid4().hex[:8]}")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(beside, "wb") as file:
                np.save(file, p)
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)
