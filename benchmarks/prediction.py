"""`scbig scale` beside trainings that were really run: seconds of both stages and peak memory.

    python -m benchmarks.prediction [--shared DIR]

Every prediction and every training is a process of its own, one after the other on one thread.
Without ../shared/data the semi-synthetic screen is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.common import HERE, gflops, in_turn, product, table, write_section
from scbig_dist.screen.simulate import simulate_screen
from scbig_dist.screen.simulate_truth import Recipe
from scbig_dist.settings import load_config
from scbig_dist.store.build import build_store

ROOT = HERE.parent
SEMI_SYNTHETIC = "norman2019_semisynthetic_41100x1657.h5ad"
OPEN_QC = {"qc.min_genes": 0, "qc.min_cells": 0}
SMALL = "configs/cpu_small.yaml"
PAPER = "configs/norman_additive.yaml"
CASES = {  # name: store, config, settings
    "cpu_small, 1,657 genes": ("norman", SMALL, {"autoencoder.epochs": 1, "flow.steps": 1000, "flow.validate_every": 500}),
    "cpu_small, 10,000 genes": ("wide", SMALL, {"autoencoder.epochs": 4, "flow.steps": 1000, "align.every": 5}),
    "the paper's sizes, 10,000 genes, batch 64": (
        "wide",
        PAPER,
        {
            "autoencoder.epochs": 1, "autoencoder.batch": 64, "flow.batch": 256, "flow.accumulate": 1, "flow.steps": 12,
            "flow.validate_every": 12, "flow.target_embedding": "learned", "train.threads": 1, "priors.pathways": None,
        },
    ),
}  # fmt: skip


def train(store: str, config: str, settings: str, run: str) -> None:
    """What a training process does here: `train_run`, its memory watched."""
    from scbig_dist.train.context import LocalContext
    from scbig_dist.train.experiment import settle
    from scbig_dist.train.memory import AnonymousPeak
    from scbig_dist.train.run import train_run

    with AnonymousPeak() as peak:
        values = json.loads(settings) | {"store": store}
        train_run(settle(load_config(Path(config), values), values), Path(run), LocalContext(), progress=False)
    print(json.dumps(json.loads((Path(run) / "run.json").read_text()) | {"anonymous_gb": peak.gb}))


def call(*command: str) -> dict:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, env=environment, cwd=ROOT)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def peak() -> str:
    """GFLOP/s of a product, now: where it moves between a prediction and its training, the machine did."""
    torch.set_num_threads(1)
    return f"{gflops(in_turn({'product': product()}, rounds=5)['product']):.0f}"


def make_stores(folder: Path, shared: Path) -> dict[str, Path]:
    stores = {}
    if (shared / SEMI_SYNTHETIC).is_file():
        stores["norman"] = folder / "norman"
        options = OPEN_QC | {"data.total_counts": "n_umis_total"}
        build_store(shared / SEMI_SYNTHETIC, stores["norman"], load_config(None, options), progress=False)
    recipe = Recipe(n_cells=2500, n_genes=10_000, n_perturbations=20, n_contexts=1, n_modules=16)
    simulate_screen(folder / "wide.h5ad", recipe, progress=False)
    stores["wide"] = folder / "wide"
    build_store(
        folder / "wide.h5ad", stores["wide"], load_config(None, OPEN_QC | {"panel.n_hvg": None}), progress=False
    )
    return stores


def row(name: str, store: Path, config: str, settings: dict, run: Path) -> list[list[str]]:
    settings = {"split.n_val": 4, "split.n_test": 4} | settings if store.name == "wide" else settings
    if store.name == "wide":
        settings = settings | {"panel.n_hvg": None}
    options = [f"--set={address}={json.dumps(value)}" for address, value in settings.items()]
    predict = (
        "-c",
        "from scbig_dist.cli import main; main()",
        "scale",
        config,
        "--store",
        str(store),
        "--json",
        *options,
    )
    real = ("-c", "import sys; from benchmarks.prediction import train; train(*sys.argv[1:])", str(store), config)
    peaks = [peak()]
    predicted = call(*predict)
    peaks.append(peak())
    measured = call(*real, json.dumps(settings), str(run))
    peaks.append(peak())
    hours = {stage["name"]: stage["hours"] for stage in predicted["stages"]}
    rows = []
    for what, value, found, digits in (
        ("stage 1, s", 3600 * hours["autoencoder"], measured["seconds_autoencoder"], 1),
        ("stage 2, s", 3600 * hours["flow"], measured["seconds_flow"], 1),
        ("whole run, s", 3600 * predicted["hours"], measured["seconds_total"], 1),
        ("memory, GB", predicted["host_gb"], measured["anonymous_gb"], 2),
    ):
        speed = ", ".join(peaks) if name else ""
        rows.append([name, what, f"{value:.{digits}f}", f"{found:.{digits}f}", f"{value / found:.2f}", speed])
        name = ""
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared" / "data")
    arguments = parser.parse_args()
    began, rows = time.perf_counter(), []
    with tempfile.TemporaryDirectory(prefix="scbig-prediction-") as name:
        folder = Path(name)
        stores = make_stores(folder, arguments.shared)
        for index, (case, (store, config, settings)) in enumerate(CASES.items()):
            if store in stores:
                rows += row(case, stores[store], config, settings, folder / f"run-{index}")
    ratios = [float(line[-2]) for line in rows]
    within = sum(0.8 <= ratio <= 1.2 for ratio in ratios)
    body = (
        "`python -m benchmarks.prediction`: what `scbig scale --store` predicts beside what `train_run` then took, a "
        "process each, on one thread. Memory is the peak of anonymous memory (RssAnon). "
        "What is not predicted: reading the priors, auditing the modules, the start of the process. The last column is the "
        "machine: GFLOP/s of a product before the prediction, between it and the training, and behind that.\n\n"
        + table(["configuration", "what", "predicted", "measured", "predicted ÷ measured", "GFLOP/s"], rows)
        + f"\n\nGoal: within 20 %: {'met' if within == len(rows) else 'not met'} ({within} of {len(rows)} figures)."
    )
    write_section("60-prediction", "Predicted and measured", body, time.perf_counter() - began)


if __name__ == "__main__":
    main()
