"""An .h5ad file of simulated counts, written block by block and only then given its name."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from anndata.io import write_elem
from jaxtyping import Float, Int
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from scbig_dist.new_file import PatientFile

BLOCK_ENTRIES = 8_000_000  # dense entries drawn at once: some 200 MB at the peak
CHUNK = 1 << 18  # entries of an HDF5 chunk


@dataclass(frozen=True)
class SimulationSummary:
    """What was written."""

    path: Path
    data_label: str
    n_cells: int
    n_genes: int
    n_singles: int
    n_doubles: int
    contexts: tuple[str, ...]
    median_counts: float
    median_detected: float

    def __str__(self) -> str:
        return (
            f"{self.path}: {self.n_cells} cells × {self.n_genes} genes ({self.data_label}), {self.n_singles} singles, "
            f"{self.n_doubles} doubles, contexts {', '.join(self.contexts)}; median {self.median_counts:.0f} counts "
            f"and {self.median_detected:.0f} detected genes per cell"
        )


@dataclass(frozen=True)
class Written:
    """Per cell: counts in all, and genes with at least one."""

    totals: Int[np.ndarray, " cell"]
    detected: Int[np.ndarray, " cell"]


def draw_counts(
    mean: Float[np.ndarray, "cell gene"], size: Float[np.ndarray, " gene"], rng: np.random.Generator
) -> Int[np.ndarray, "cell gene"]:
    """Negative binomial counts with variance mean + mean²/size, as a gamma mixture of Poissons."""
    rate = rng.standard_gamma(np.broadcast_to(size, mean.shape).astype(np.float32), dtype=np.float32)
    rate *= mean / size
    return rng.poisson(rate)


def block_slices(n_cells: int, n_genes: int) -> list[slice]:
    """Consecutive ranges of cells, each small enough to be dense."""
    step = max(1, BLOCK_ENTRIES // n_genes)
    return [slice(start, min(start + step, n_cells)) for start in range(0, n_cells, step)]


def write_screen(
    path: Path,
    blocks: Iterable[Int[np.ndarray, "cell gene"]],
    obs: pd.DataFrame,
    var: pd.DataFrame,
    uns: dict[str, Any],
    progress: bool,
) -> Written:
    """Counts (float32 CSR) from consecutive dense blocks, then obs (with `n_counts`, `n_genes`), var and uns.

    Raises OSError where the disk does not take it.
    """
    with PatientFile(path) as disk:
        with h5py.File(disk, "w") as file, progress_bar(progress) as bar:
            file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
            task = bar.add_task("simulate", total=len(obs))
            advance = partial(bar.update, task)
            written = write_counts(file.create_group("X"), blocks, (len(obs), len(var)), disk, advance)
            write_elem(file, "obs", obs.assign(n_counts=written.totals, n_genes=written.detected))
            write_elem(file, "var", var)
            write_elem(file, "uns", uns)
            for name in ("layers", "obsm", "obsp", "varm", "varp"):
                write_elem(file, name, {})
        disk.check()
    return written


def write_counts(
    group: h5py.Group,
    blocks: Iterable[Int[np.ndarray, "cell gene"]],
    shape: tuple[int, int],
    disk: PatientFile,
    advance: Callable[..., None],
) -> Written:
    """The non-zero counts of all blocks as AnnData's `csr_matrix`."""
    n_cells, n_genes = shape
    totals, detected = np.zeros(n_cells, np.int64), np.zeros(n_cells, np.int64)
    group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0"})
    group.attrs["shape"] = np.array(shape, dtype=np.int64)
    layout = {"maxshape": (None,), "chunks": (CHUNK,), "compression": "gzip", "compression_opts": 1, "shuffle": True}
    data = group.create_dataset("data", (0,), np.float32, **layout)
    indices = group.create_dataset("indices", (0,), np.int32, **layout)
    row = n_stored = 0
    for block in blocks:
        flat = block.ravel()
        stored = np.flatnonzero(flat)
        cells = slice(row, row + len(block))
        detected[cells] = np.count_nonzero(block, axis=1)
        totals[cells] = block.sum(axis=1)
        for dataset, values in ((data, flat[stored]), (indices, stored % n_genes)):
            dataset.resize((n_stored + len(stored),))
            dataset[n_stored:] = values.astype(dataset.dtype)
        disk.check()
        row, n_stored = cells.stop, n_stored + len(stored)
        advance(completed=row)
    assert row == n_cells, "blocks cover all cells"
    group.create_dataset("indptr", data=np.concatenate([[0], np.cumsum(detected)]))
    return Written(totals, detected)


def progress_bar(shown: bool) -> Progress:
    """On a terminal alone, and gone at the end: the summary, or an error, is one line."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("cells"),
        TimeRemainingColumn(),
    )
    console = Console(markup=False, stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not (shown and sys.stderr.isatty()))
