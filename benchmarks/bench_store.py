"""How fast batches of random cells leave a cell store, beside scipy in memory and a bare loop.

    python benchmarks/bench_store.py [--cells 20000] [--genes 10000] [--panel 2048] [--rounds 7]

One process, one thread, warm page cache. Prints thousand cells/s (median of interleaved
rounds, lowest and highest), the ratio to scipy, and the peak memory of build and reading.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numba
import numpy as np
import pandas as pd
from scipy import sparse

from scbig_dist.settings import build_config
from scbig_dist.store.build import build_store
from scbig_dist.store.reader import Store, open_store

BATCH = 1024
BATCHES_PER_ROUND = 30


def simulate(path: Path, n_cells: int, n_genes: int, rng: np.random.Generator) -> None:
    """Counts with 8 % non-zero on average, means over three decades; 100 conditions in random order."""
    means = np.exp(rng.normal(-3.6, 1.6, n_genes))
    depth = np.exp(rng.normal(0, 0.3, n_cells))
    blocks = [
        sparse.csr_matrix(rng.poisson(depth[start : start + 1000, None] * means).astype(np.float32))
        for start in range(0, n_cells, 1000)
    ]
    labels = np.array(["control", *(f"G{i}" for i in range(99))])
    obs = pd.DataFrame({"condition": labels[rng.integers(0, 100, n_cells)]}, index=[f"cell{i}" for i in range(n_cells)])
    var = pd.DataFrame(index=[f"G{i}" for i in range(n_genes)])
    ad.AnnData(sparse.vstack(blocks, format="csr"), obs=obs, var=var).write_h5ad(path)


def in_memory(store: Store) -> sparse.csr_matrix:
    """All counts, store order, as scipy holds them."""
    starts = range(0, store.n_cells, 1000)
    rows = (np.arange(start, min(start + 1000, store.n_cells)) for start in starts)
    return sparse.vstack([sparse.csr_matrix(store.dense(cells, normalized=False)) for cells in rows], format="csr")


@numba.njit(nogil=True)
def bare_scatter(cells, pointer, genes, counts, n_genes, out):
    """The least that raw counts from a CSR file cost."""
    for row in range(len(cells)):
        out[row, :] = 0
        for i in range(pointer[cells[row]], pointer[cells[row] + 1]):
            if genes[i] >= n_genes:
                break
            out[row, genes[i]] = counts[i]


def contestants(store: Store, folder: Path, n_genes: int) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    matrix = in_memory(store)
    for name, values in (("genes", matrix.indices), ("counts", matrix.data)):
        values.astype(np.uint16).tofile(folder / name)
    genes, counts = (np.memmap(folder / name, dtype=np.uint16, mode="r") for name in ("genes", "counts"))
    pointer = matrix.indptr.astype(np.int64)
    totals = store.obs["total_counts"].to_numpy()
    out = np.empty((BATCH, n_genes), dtype=np.float32)

    def scipy_raw(cells: np.ndarray) -> np.ndarray:
        return matrix[cells][:, :n_genes].toarray()

    def scipy_normalised(cells: np.ndarray) -> np.ndarray:
        dense = matrix[cells][:, :n_genes].toarray()
        dense *= (1e4 / totals[cells, None]).astype(np.float32)
        return np.log1p(dense, out=dense)

    def bare(cells: np.ndarray) -> np.ndarray:
        bare_scatter(cells, pointer, genes, counts, n_genes, out)
        return out

    return {
        "scipy CSR in RAM, raw": scipy_raw,
        "scipy CSR in RAM, log-normalised": scipy_normalised,
        "bare numba scatter over memmap, raw": bare,
        "store.dense, raw": lambda cells: store.dense(cells, n_genes, normalized=False, out=out),
        "store.dense, log-normalised": lambda cells: store.dense(cells, n_genes, out=out),
    }


def measure(read: Callable[[np.ndarray], np.ndarray], n_cells: int, n_batches: int, rng: np.random.Generator) -> float:
    """Thousand cells per second over batches of random cells."""
    batches = [rng.integers(0, n_cells, BATCH) for _ in range(n_batches)]
    start = time.perf_counter()
    for cells in batches:
        read(cells)
    return n_batches * BATCH / (time.perf_counter() - start) / 1e3


def peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=20_000)
    parser.add_argument("--genes", type=int, default=10_000)
    parser.add_argument("--panel", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        simulate(folder / "in.h5ad", options.cells, options.genes, rng)
        start = time.perf_counter()
        config = build_config({"qc.min_genes": 0, "qc.min_cells": 0, "panel.n_hvg": None})
        manifest = build_store(folder / "in.h5ad", folder / "store", config)
        size = sum(shard.bytes for shard in manifest.shards)
        print(
            f"{manifest.n_cells} cells × {len(manifest.genes)} genes, {manifest.n_entries / 1e6:.1f} M counts:"
            f" built in {time.perf_counter() - start:.1f} s, {size / 1e6:.0f} MB, peak memory {peak_gb():.2f} GB with the simulation"
        )
        store = open_store(folder / "store")
        width = min(options.panel, len(store.genes))
        readers = contestants(store, folder, width)
        check = rng.integers(0, store.n_cells, BATCH)
        results = [read(check).copy() for read in readers.values()]
        for result, expected in zip(results, (results[0], results[1], results[0], results[0], results[1]), strict=True):
            np.testing.assert_allclose(result, expected, rtol=1e-5)
        speeds: dict[str, list[float]] = {label: [] for label in readers}
        for _ in range(options.rounds):
            for label, read in readers.items():
                n_batches = BATCHES_PER_ROUND if "scipy" not in label else BATCHES_PER_ROUND // 5
                speeds[label].append(measure(read, store.n_cells, n_batches, rng))
        base = {kind: np.median(speeds[f"scipy CSR in RAM, {kind}"]) for kind in ("raw", "log-normalised")}
        print(f"batches of {BATCH} random cells × {width} genes, thousand cells/s:")
        for label, values in speeds.items():
            middle = float(np.median(values))
            ratio = middle / base[label.rsplit(", ", 1)[1]]
            print(f"  {label:<38}{middle:8.0f}  ({min(values):.0f} to {max(values):.0f})  {ratio:5.1f} × scipy")
        print(f"peak memory {peak_gb():.2f} GB (scipy's copy included)")


if __name__ == "__main__":
    main()
