"""The screen that reading is timed on: 200,000 simulated cells × 10,000 genes, 166 M counts (8 % of the matrix)."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import h5py
import numba
import numpy as np
import pandas as pd
from anndata.io import write_elem

from scbig_dist.settings import build_config
from scbig_dist.store.build import build_store
from scbig_dist.store.reader import Store, open_store

N_CELLS, N_GENES, N_CONDITIONS, N_BATCHES = 200_000, 10_000, 200, 8
MEAN_DEPTH = 1060  # molecules of a cell: 8 % of genes are then seen
CHUNK = 20_000  # cells
FOLDER = Path(__file__).parents[1] / "build" / "bench"


def large_screen() -> tuple[Path, Store]:
    """The .h5ad (uncompressed CSR, plate by plate, conditions in random order) and its store; made once, under build/bench (`make bench` deletes it)."""
    source, place = FOLDER / "screen.h5ad", FOLDER / "store"
    if not place.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        write_screen(source)
        loose = {"qc.min_genes": 0, "qc.min_cells": 0, "panel.n_hvg": None, "data.batch": "plate"}
        build_store(source, place, build_config(loose), progress=False)
    return source, open_store(place)


def write_screen(path: Path, n_cells: int = N_CELLS, n_genes: int = N_GENES) -> None:
    """Molecules of each cell drawn from one log-normal profile of genes, over three decades; depths differ by a third."""
    rng = np.random.default_rng(0)
    profile = np.exp(rng.normal(0, 1.6, n_genes))
    keep, other = _alias_table(profile / profile.sum())
    with h5py.File(path, "w") as file:
        group = file.create_group("X")
        group.attrs.update(
            {"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": np.array([n_cells, n_genes])}
        )
        data, indices = (
            group.create_dataset(name, (0,), type_, maxshape=(None,), chunks=(1 << 20,))
            for name, type_ in (("data", np.float32), ("indices", np.int32))
        )
        pointers, n_entries = [np.zeros(1, dtype=np.int64)], 0
        for start in range(0, n_cells, CHUNK):
            n = min(CHUNK, n_cells - start)
            depths = (np.exp(rng.normal(0, 0.3, n)) * MEAN_DEPTH).astype(np.int64)
            pointer, genes, counts = _draw(int(rng.integers(2**31)), keep, other, depths)
            for dataset, values in ((data, counts), (indices, genes)):
                dataset.resize((n_entries + len(values),))
                dataset[n_entries:] = values
            pointers.append(n_entries + pointer[1:])
            n_entries += len(genes)
        group["indptr"] = np.concatenate(pointers).astype(
            np.int32
        )  # as anndata writes it: scipy copies a matrix of two types
        labels = np.array(["control", *(f"G{i}" for i in range(N_CONDITIONS - 1))])
        obs = pd.DataFrame(
            {
                "condition": pd.Categorical(labels[rng.integers(0, N_CONDITIONS, n_cells)]),
                "plate": pd.Categorical([f"plate{i}" for i in np.arange(n_cells) * N_BATCHES // n_cells]),
            },
            index=[f"cell{i}" for i in range(n_cells)],
        )
        write_elem(file, "obs", obs)
        write_elem(file, "var", pd.DataFrame(index=[f"G{i}" for i in range(n_genes)]))
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
    assert ad.read_h5ad(path, backed="r").shape == (n_cells, n_genes)


def _alias_table(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Walker's tables: a draw from `p` takes two random numbers, whatever its length."""
    share, other = p * len(p), np.arange(len(p))
    keep = np.ones(len(p))
    small, large = (np.flatnonzero(side).tolist() for side in (share < 1, share >= 1))
    while small and large:
        low, high = small.pop(), large.pop()
        keep[low], other[low] = share[low], high
        share[high] -= 1 - share[low]
        (small if share[high] < 1 else large).append(high)
    return keep, other


@numba.njit
def _draw(seed, keep, other, depths):
    """CSR rows of cells with `depths` molecules each."""
    np.random.seed(seed)  # noqa: NPY002 - numba's own, of this function
    line, touched = np.zeros(len(keep), dtype=np.int64), np.empty(len(keep), dtype=np.int64)
    pointer = np.zeros(len(depths) + 1, dtype=np.int64)
    genes, counts = np.empty(depths.sum(), dtype=np.int32), np.empty(depths.sum(), dtype=np.float32)
    place = 0
    for cell in range(len(depths)):
        n_touched = 0
        for _ in range(depths[cell]):
            where = np.random.random() * len(keep)  # noqa: NPY002
            gene = int(where)
            if where - gene >= keep[gene]:
                gene = other[gene]
            if line[gene] == 0:
                touched[n_touched] = gene
                n_touched += 1
            line[gene] += 1
        for gene in np.sort(touched[:n_touched]):
            genes[place], counts[place] = gene, line[gene]
            line[gene] = 0
            place += 1
        pointer[cell + 1] = place
    return pointer, genes[:place], counts[:place]
