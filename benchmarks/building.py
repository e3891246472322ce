"""How long a cell store takes to build, and how much memory, beside a copy of the file and a sort by hand.

    python -m benchmarks.building [--cells 1000000] [--genes 2000] [--rounds 2] [--no-ray]

Every contestant runs in a process of its own, in turn; times begin after imports and after a
small build that loads the compiled loops. About 3 minutes on two quiet cores.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from anndata.io import write_elem
from scipy import sparse

from benchmarks.common import Timing, peak_memory, ratios, table, write_section
from scbig_dist.cluster.build import build_on_ray
from scbig_dist.cluster.session import ray_session
from scbig_dist.settings import build_config
from scbig_dist.store.append import append_store
from scbig_dist.store.build import build_store
from scbig_dist.store.reader import open_store
from scbig_dist.store.workers import threads

DENSITY = 0.08
DRAWN = 2_500  # cells drawn at once; a file repeats N_DRAWS of such draws in other orders
N_DRAWS = 20
CONFIG = {"qc.min_genes": 0, "qc.min_cells": 0}
GOAL_S, GOAL_NNZ, GOAL_GB = 30, 160e6, 2.0


class Cost(NamedTuple):
    seconds: float
    peak_gb: float  # anonymous memory


def simulate(path: Path, n_cells: int, n_genes: int, seed: int) -> int:
    """Write an uncompressed .h5ad, a piece at a time; returns its non-zero counts."""
    rng = np.random.default_rng(seed)
    means = np.exp(rng.normal(0, 1.6, n_genes))
    low, high = 1e-6, 1e2
    for _ in range(60):  # scale the means until the share of non-zero counts fits
        middle = (low * high) ** 0.5
        low, high = (low, middle) if (1 - np.exp(-means * middle)).mean() > DENSITY else (middle, high)
    draws = []
    for _ in range(min(N_DRAWS, -(-n_cells // DRAWN))):
        depth = np.exp(rng.normal(0, 0.3, (DRAWN, 1)))
        draws.append(sparse.csr_matrix(rng.poisson(depth * means * low).astype(np.float32)))
    labels = np.array(["control", *(f"G{i}" for i in range(99))])
    names = [f"s{seed}-{i}" for i in range(n_cells)]
    codes = pd.Categorical.from_codes(rng.integers(0, len(labels), n_cells), labels)
    with h5py.File(path, "w") as file:
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        group = file.create_group("X")
        shape = np.array([n_cells, n_genes])
        group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": shape})
        columns = {
            name: group.create_dataset(name, (0,), kind, maxshape=(None,), chunks=(1 << 18,))
            for name, kind in (("data", np.float32), ("indices", np.int32))
        }
        pointer, n_entries = [np.zeros(1, dtype=np.int64)], 0
        for start in range(0, n_cells, DRAWN):
            piece = draws[(start // DRAWN) % len(draws)][rng.permutation(DRAWN)[: n_cells - start]]
            for name, values in (("data", piece.data), ("indices", piece.indices)):
                columns[name].resize((n_entries + piece.nnz,))
                columns[name][n_entries:] = values
            pointer.append(n_entries + piece.indptr[1:].astype(np.int64))
            n_entries += piece.nnz
        group["indptr"] = np.concatenate(pointer)
        write_elem(file, "obs", pd.DataFrame({"condition": codes}, index=names))
        write_elem(file, "var", pd.DataFrame(index=[f"G{i}" for i in range(n_genes)]))
    return n_entries


def build(source: Path, out: Path) -> None:
    build_store(source, out, build_config({**CONFIG, "panel.n_hvg": None}), progress=False)


def build_with_one_thread(source: Path, out: Path) -> None:
    with threads(1) as run:
        build_store(source, out, build_config({**CONFIG, "panel.n_hvg": None}), progress=False, run=run)


def copy(source: Path, out: Path) -> None:
    """The bytes read and written once, on disk at the end."""
    shutil.copyfile(source, out)
    with open(out, "rb") as file:
        os.fsync(file.fileno())


def by_hand(source: Path, out: Path) -> None:
    """What one would write: read all, sort by condition, write; no ranking, no checks, no checksums."""
    adata = ad.read_h5ad(source)
    order = np.argsort(adata.obs["condition"].cat.codes.to_numpy(), kind="stable")
    adata[order].copy().write_h5ad(out)


def append(source: Path, out: Path) -> None:
    append_store(out, source, progress=False)


def measured(action: Callable[[Path, Path], None], source: Path, out: Path, small: Path) -> Cost:
    """Run in a fresh process; `small` is a small file that warms its compiled loops."""
    context = multiprocessing.get_context("spawn")
    answers = context.SimpleQueue()
    child = context.Process(target=_measure, args=(action, source, out, small, answers))
    child.start()
    child.join()
    if child.exitcode:
        raise SystemExit(f"{action.__name__} of {source} failed")
    return Cost(*answers.get())


def _measure(action, source, out, small, answers) -> None:
    build(small, out.with_name("warm"))
    shutil.rmtree(out.with_name("warm"))
    with peak_memory(0.01) as peak:
        began = time.perf_counter()
        action(source, out)
        seconds = time.perf_counter() - began
    answers.put((seconds, peak.gb))


def clear(out: Path) -> None:
    if out.is_dir():
        shutil.rmtree(out)
    out.unlink(missing_ok=True)


def ray_build(source: Path, folder: Path, rounds: int) -> tuple[Timing, Timing]:
    """In-process and Ray builds in turn, Ray started before; their stores must have the same bytes."""
    config, here, on_ray = build_config({**CONFIG, "panel.n_hvg": None}), Timing(), Timing()
    with ray_session(cpus=len(os.sched_getaffinity(0))):
        for round_ in range(rounds + 1):  # one to warm the workers
            for timing, run in (
                (here, lambda: build_store(source, folder / "here", config, progress=False)),
                (on_ray, lambda: build_on_ray([source], folder / "on-ray", config, "local", progress=False)),
            ):
                began = time.perf_counter()
                run()
                if round_:
                    timing.seconds.append(time.perf_counter() - began)
            assert open_store(folder / "here").key == open_store(folder / "on-ray").key
            clear(folder / "here")
            clear(folder / "on-ray")
    return here, on_ray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=1_000_000)
    parser.add_argument("--genes", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--no-ray", action="store_true")
    options = parser.parse_args()
    began = time.perf_counter()
    contestants: dict[str, Callable[[Path, Path], None]] = {
        "`store build`": build,
        "`store build`, one thread": build_with_one_thread,
        "copy of the file, flushed": copy,
        "`read_h5ad`, sort by condition, `write_h5ad`": by_hand,
    }
    with tempfile.TemporaryDirectory(prefix="scbig-building-") as name:
        folder = Path(name)
        n_entries = simulate(folder / "in.h5ad", options.cells, options.genes, seed=0)
        simulate(folder / "quarter.h5ad", options.cells // 4, options.genes, seed=0)
        n_more = simulate(folder / "more.h5ad", options.cells // 10, options.genes, seed=1)
        simulate(folder / "small.h5ad", 2_000, options.genes, seed=2)
        os.sync()  # what was simulated is no longer being written while others are timed
        timings = {label: Timing() for label in contestants}
        peaks = dict.fromkeys(contestants, 0.0)
        for _ in range(options.rounds):
            for label, action in contestants.items():
                cost = measured(action, folder / "in.h5ad", folder / "out", folder / "small.h5ad")
                timings[label].seconds.append(cost.seconds)
                peaks[label] = max(peaks[label], cost.peak_gb)
                clear(folder / "out")
        quarter = measured(build, folder / "quarter.h5ad", folder / "out", folder / "small.h5ad")
        clear(folder / "out")
        build(folder / "in.h5ad", folder / "out")
        size = sum(shard.bytes for shard in open_store(folder / "out").manifest.shards)
        more = measured(append, folder / "more.h5ad", folder / "out", folder / "small.h5ad")
        assert open_store(folder / "out").n_cells == options.cells + options.cells // 10
        clear(folder / "out")
        rows = [
            (
                label,
                timings[label].spread(digits=1),
                f"{n_entries / 1e6 / timings[label].median:.0f}",
                ratios(timings[label], timings["copy of the file, flushed"]).spread(digits=1),
                f"{peaks[label]:.2f}",
            )
            for label in contestants
        ]
        scaled = timings["`store build`"].median * GOAL_NNZ / n_entries
        peak = peaks["`store build`"]
        lines = [
            f"`python -m benchmarks.building`: {options.cells:,} simulated cells × {options.genes:,} genes, "
            f"{n_entries / 1e6:.0f} M non-zero counts, an uncompressed .h5ad of "
            f"{(folder / 'in.h5ad').stat().st_size / 1e9:.2f} GB (warm page cache) to a store of {size / 1e9:.2f} GB with every "
            "gene in the panel, checked, ranked, sorted and hashed. Each contestant in a process of its own, in turn.",
            "",
            table(("", "seconds", "M counts/s", "÷ copy", "peak anonymous memory, GB"), rows),
            "",
            f"Goal ≤ {GOAL_S} s for 160 M counts on two cores: {scaled:.1f} s, {'met' if scaled <= GOAL_S else 'not met'}. "
            f"Goal ≤ {GOAL_GB:.0f} GB whatever the number of cells: {peak:.2f} GB, {'met' if peak <= GOAL_GB else 'not met'}; "
            f"{options.cells // 4:,} cells take {quarter.peak_gb:.2f} GB, so a million cells more takes "
            f"{(peak - quarter.peak_gb) / (0.75 * options.cells) * 1e6:.2f} GB more.",
            "",
            f"`store append` of {options.cells // 10:,} cells ({n_more / 1e6:.0f} M counts) to that store: {more.seconds:.1f} s, "
            f"{more.peak_gb:.2f} GB; no shard that was there is written.",
        ]
        if not options.no_ray:
            here, on_ray = ray_build(folder / "in.h5ad", folder, 1)
            lines += [
                "",
                f"`store build --address local` (Ray started and warm, as many CPUs): {on_ray.median:.1f} s, "
                f"{ratios(on_ray, here).median:.2f} × the threads' {here.median:.1f} s in turn with it; the same bytes.",
            ]
        write_section("20-building", "Building a store", "\n".join(lines), time.perf_counter() - began)


if __name__ == "__main__":
    main()
