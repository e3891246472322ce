"""What a training costs on one GPU: by the launch or as a graph, by arithmetic, modules, genes, and trials that share it.

    python -m benchmarks.gpu

Updates are those of the training's own loop on random cells. Needs a GPU; about two minutes on one of 2024. The
paper's figures are shown as published, on its hardware.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from benchmarks.common import HERE, table, write_section
from scbig_dist.models.scbig import ScBIG
from scbig_dist.settings import build_config, load_config
from scbig_dist.train.context import LocalContext
from scbig_dist.train.flow_stage import FlowStage
from scbig_dist.train.measure import Rates, _inputs, measure
from scbig_dist.train.random_store import random_experiment
from scbig_dist.train.stopwatch import seconds_of_updates

GENES, ENTRIES = 2051, 0.25  # the paper's panel; share of a cell's counts that are not 0
PAPER = {"priors.pathways": "a file of 1,000 sets", "train.gpus": 1.0}
FORMS = {
    "float32, operations one by one": {"train.graphs": False},
    "**float32, graphs (the default)**": {},
    "bfloat16, operations one by one": {"train.precision": "bfloat16", "train.graphs": False},
    "**bfloat16, graphs**": {"train.precision": "bfloat16"},
}
MICRO_BATCHES = 500_000  # of the paper's stage 2
SHARING = (1, 2, 4)
SMALL = HERE.parent / "configs" / "cpu_small.yaml"


def rates(values: dict[str, Any], genes: int = GENES) -> Rates:
    return measure(build_config(PAPER | values), genes, ENTRIES * genes, 1, updates_alone=True)


def by_form() -> str:
    rows, first = [], None
    for name, values in FORMS.items():
        found = rates(values)
        plain = found.micro_batch + found.optimizer
        times = (found.update, plain, plain + found.alignment)
        first = first or times
        cells = [f"{1e3 * each:.2f} ({before / each:.1f}×)" for each, before in zip(times, first, strict=True)]
        hours = MICRO_BATCHES * (found.micro_batch + found.alignment) / 3600  # Adam comes once in twenty
        memory = [f"{found.stage_gb[stage]:.2f}" for stage in ("autoencoder", "flow")]
        rows.append([name, *cells, f"{hours:.1f}", *memory])
        print(rows[-1], flush=True)
    return table(
        [
            "arithmetic and launch",
            "stage 1, 256 cells: ms",
            "stage 2, 1,024 cells: ms",
            "with both losses: ms",
            f"{MICRO_BATCHES:,} of these: hours",
            "stage 1: GB",
            "stage 2: GB",
        ],
        rows,
    )


def by_modules(published: dict[str, Any]) -> str:
    theirs, rows, ours = published["step_time_n_modules"]["rows"], [], {}
    for name, (k, batch, ms) in theirs.items():
        found = rates({"grc.n_modules": k, "autoencoder.batch": batch})
        ours[name] = 1e3 * found.update
        rows.append([k, batch, ours[name], found.stage_gb["autoencoder"], ms])
        print(rows[-1], flush=True)
    return table(
        ["modules", "cells", "ms", "÷ 32 modules", "GB", "published: ms", "published ÷ 32 modules"],
        [
            [f"{k:,}", batch, f"{ms:.1f}", f"{ms / ours['K 32']:.2f}", f"{gb:.2f}", f"{their}", f"{their / theirs['K 32'][2]:.2f}"]
            for k, batch, ms, gb, their in rows
        ],
    )  # fmt: skip


def by_genes(published: dict[str, Any]) -> str:
    names, rows = published["scaling_hvg"]["columns"], []
    for name, values in published["scaling_hvg"]["rows"].items():
        row = dict(zip(names, values, strict=True))
        sizes = {
            "grc.n_modules": row["n_modules"], "gcae.n_inducing": row["n_inducing"], "gcae.latent_dim": row["latent_dim"],
            "autoencoder.batch": row["stage1_batch"], "flow.batch": row["stage2_batch"],
        }  # fmt: skip
        found = rates(sizes, row["n_genes"])
        both = 1e3 * (found.micro_batch + found.optimizer + found.alignment)
        own = [f"{1e3 * found.update:.1f}", f"{both:.1f}", *(f"{found.stage_gb[stage]:.2f}" for stage in ("autoencoder", "flow"))]  # fmt: skip
        rows.append([name, f"{row['n_genes']:,}", *own, row["stage2_ms"], row["stage1_gb"], row["stage2_gb"]])
        print(rows[-1], flush=True)
    return table(
        [
            "row of table 9", "genes", "stage 1: ms", "stage 2 with both losses: ms", "stage 1: GB", "stage 2: GB",
            "published: stage 2, ms", "published: stage 1, GB", "published: stage 2, GB",
        ],
        rows,
    )  # fmt: skip


def _trial(n: int, barrier: Any) -> tuple[float, float]:
    """One of `n` small trainings that run at the same time: seconds of an update, GB on the GPU."""
    config = load_config(SMALL, {"train.gpus": 1 / n, "panel.n_hvg": None})
    context, rng = LocalContext(1 / n), np.random.default_rng(0)
    with tempfile.TemporaryDirectory(prefix="scbig-gpu-") as folder:
        experiment = random_experiment(config, Path(folder), GENES, ENTRIES * GENES, config.autoencoder.batch, rng)
        model = ScBIG(_inputs(experiment, rng), config).to(context.device)
        stage = FlowStage(experiment, model, context)
        barrier.wait()
        (seconds,) = seconds_of_updates(model, stage, experiment, context, 1)
        barrier.wait()
    return seconds, torch.cuda.max_memory_allocated() / 1e9


def by_trials() -> str:
    spawn, rows, alone = multiprocessing.get_context("spawn"), [], 0.0
    for n in SHARING:
        with spawn.Manager() as manager, ProcessPoolExecutor(n, mp_context=spawn) as pool:
            barrier = manager.Barrier(n)
            found = list(pool.map(_trial, [n] * n, [barrier] * n))
        updates = sum(1 / seconds for seconds, _ in found)
        alone = alone or updates
        mean, gb = np.mean([seconds for seconds, _ in found]), max(gb for _, gb in found)
        rows.append([n, f"{1 / n:g}", f"{1e3 * mean:.2f}", f"{updates:,.0f}", f"{updates / alone:.2f}", f"{gb:.2f}"])
        print(rows[-1], flush=True)
    return table(
        ["trials", "train.gpus of each", "ms per update", "updates per second, all", "÷ one trial", "GB of each"], rows
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("no GPU is visible to this process: this benchmark has nothing to measure")
    began = time.perf_counter()
    published = yaml.safe_load((HERE.parent / "tune" / "published.yaml").read_text())
    name = torch.cuda.get_device_name()
    form, trials, modules, genes = by_form(), by_trials(), by_modules(published), by_genes(published)
    body = (
        f"`python -m benchmarks.gpu` on one {name} (torch {torch.__version__}): updates of the training's own loop on random "
        f"cells, Adam included, the paper's model ({GENES:,} genes, K 32, M 8, width 256, velocity field of width 1,024). Memory is the peak "
        "of tensors. In brackets: times as fast as the first row.\n\n"
        f"{form}\n\nA micro-batch is a thousand to eight thousand kernels, most of which run for less time than Python takes to launch one; "
        "as a graph they are launched at once (`train.graphs`). The iterations of Sinkhorn are a kernel per half step in every row.\n\n"
        "**Trials that share a GPU** (configs/cpu_small.yaml at the paper's number of genes, stage 2 of each at the same time, "
        f"in processes of their own):\n\n{trials}\n\n"
        "**Modules** (the paper's table 8, stage 1, float32; published on one RTX 3090 with JAX: other hardware, so compare the "
        f"growth):\n\n{modules}\n\n"
        "**Genes** (the paper's table 9, float32, cells of the GPU's memory included; published on an RTX 4090 or 3090, "
        f"its step times mixed):\n\n{genes}"
    )
    write_section("35-gpu", "On a GPU", body, time.perf_counter() - began)


if __name__ == "__main__":
    main()
