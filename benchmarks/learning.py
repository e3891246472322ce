"""What cheaper settings learn: the lean block, ways to align, conditions per step.

    python -m benchmarks.learning [--screen FILE.h5ad] [--ppi FILE] [--pathways FILE] [--seeds 2] [--only NAME]

Short trainings of `configs/cpu_small.yaml` on the semi-synthetic screen, split `additive`, one thread each,
two at a time. Scores are of the validation conditions; test is not touched. About 20 minutes: not
part of `make bench`, whose page keeps this section as it was last written (`make bench-learning`).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks.common import table, write_section
from scbig_dist import losses
from scbig_dist.screen.pathways import pathway_matrix, read_pathways
from scbig_dist.settings import build_config, load_config
from scbig_dist.store.build import build_store
from scbig_dist.train.context import LocalContext
from scbig_dist.train.experiment import settle
from scbig_dist.train.predictor import load_predictor
from scbig_dist.train.run import train_run

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
STORE = {"qc.min_genes": 0, "qc.min_cells": 3, "data.total_counts": "n_umis_total", "panel.n_hvg": None}
SHORT = {"autoencoder.epochs": 3, "flow.steps": 1200, "flow.validate_every": 200}
PCA = {"gcae.encoder": "pca", "align.lambda_corr": 0.0, "align.lambda_path": 0.0}
N_CELLS = 128

BLOCKS = {
    f"K {k}, {block}": {"grc.n_modules": k, "gcae.block": block, "align.lambda_corr": 0.0, "align.lambda_path": 0.0}
    for k in (16, 64)
    for block in ("full", "lean")
}
ALIGNMENTS = {
    "off": {"align.lambda_corr": 0.0, "align.lambda_path": 0.0},
    "solve, 8 steps": {"align.every": 1, "align.n_cells": 64, "align.n_solver_steps": 8},
    "solve, 8 steps, every 4th step at 4 times the weight": {
        "align.every": 4,
        "align.n_cells": 64,
        "align.n_solver_steps": 8,
        "align.lambda_corr": 0.4,
        "align.lambda_path": 0.4,
    },
    "solve, 4 steps": {"align.every": 1, "align.n_cells": 64, "align.n_solver_steps": 4},
    "solve, 2 steps": {"align.every": 1, "align.n_cells": 64, "align.n_solver_steps": 2},
    "solve, 1 step": {"align.every": 1, "align.n_cells": 64, "align.n_solver_steps": 1},
    "one_step": {"align.every": 1, "align.n_cells": 64, "align.estimate": "one_step"},
}
CONDITIONS = {str(n): {**PCA, "flow.conditions_per_step": n} for n in (1, 2, 4, 8, 16)}


def run(task: tuple[str, dict[str, Any], str, str]) -> dict[str, Any]:
    """Train one variant; its scores, curve and cost."""
    name, values, store, root = task
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp(dir=root))
    overrides = SHORT | values | {"store": store}
    config = settle(load_config(ROOT / "configs" / "cpu_small.yaml", overrides))
    train_run(config, folder, LocalContext(), artifact_root=Path(root) / "artifacts", progress=False)
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    curve = [(r["micro_step"] * config.flow.batch, r["val_pearson_delta"]) for r in records if "val_pearson_delta" in r]
    cost = json.loads((folder / "run.json").read_text())
    return {
        "name": name,
        "curve": curve,
        **aligned(folder),
        **{k: cost[k] for k in cost if "seconds" in k or "step_ms" in k},
    }


def aligned(folder: Path) -> dict[str, float]:
    """Both alignment losses of decoded full solves, and what the latent carries at best, over validation conditions."""
    predictor = load_predictor(folder)
    store, config, genes = predictor.store, predictor.config, predictor.experiment.genes
    modules = torch.from_numpy(pd.read_csv(folder / "modules.tsv", sep="\t")["module"].to_numpy())
    membership = losses.averages((torch.arange(config.grc.n_modules)[:, None] == modules).float())
    sets = pathway_matrix(read_pathways(Path(str(config.priors.pathways))), genes, config.priors.min_genes)
    pathways, found = losses.averages(torch.from_numpy(sets.matrix)), []
    control = {}
    for condition in predictor.split.val:
        true = torch.from_numpy(store.dense(store.cells(condition)[:N_CELLS], predictor.n_genes))
        if condition.context not in control:
            cells = store.cells(store.control(condition.context))
            control[condition.context] = store.dense(cells, predictor.n_genes).mean(0)
        cells = torch.from_numpy(predictor.predict(condition, N_CELLS, 0))
        decoded = predictor.reconstruct(true.numpy()).mean(0) - control[condition.context]
        corr = losses.correlation_loss(cells, losses.module_correlation(true, membership), membership)
        path = losses.pathway_loss(cells, losses.set_means(true, pathways), pathways, 0.1, 100, debiased=True)
        ceiling = np.corrcoef(decoded, true.numpy().mean(0) - control[condition.context])[0, 1]
        found.append((float(corr), float(path), float(ceiling)))
    corr, path, ceiling = np.mean(found, axis=0)
    return {"corr": corr, "path": path, "ceiling": ceiling}


def both(values: list[float], digits: int) -> str:
    """Mean over seeds, and each."""
    return f"{np.mean(values):.{digits}f} ({', '.join(f'{value:.{digits}f}' for value in values)})"


def blocks_section(results: dict[str, list[dict[str, Any]]]) -> str:
    rows = [
        [
            name,
            both([r["ceiling"] for r in runs], 3),
            both([r["curve"][-1][1] for r in runs], 3),
            both([r["autoencoder_step_ms"] for r in runs], 1),
            both([r["seconds_autoencoder"] for r in runs], 0),
        ]
        for name, runs in results.items()
    ]
    header = ["block", "pearson_delta of reconstructed cells", "val_pearson_delta", "stage-1 ms", "stage-1 s"]
    return "**The lean block** (alignment off, same number of updates):\n\n" + table(header, rows)


def alignment_section(results: dict[str, list[dict[str, Any]]]) -> str:
    rows = [
        [
            name,
            both([r["curve"][-1][1] for r in runs], 3),
            both([1e3 * r["corr"] for r in runs], 1),
            both([1e3 * r["path"] for r in runs], 3),
        ]
        for name, runs in results.items()
    ]
    header = ["alignment, every step", "val_pearson_delta", "L_corr ×10³", "L_path (debiased) ×10³"]
    return (
        "**Ways to align.** Both losses are measured on cells of a full solve, whatever a run was trained on; low is good:\n\n"
        + table(header, rows)
    )


def conditions_section(results: dict[str, list[dict[str, Any]]]) -> str:
    reached = np.mean([r["curve"][-1][1] for r in results["1"]])
    rows = []
    for name, runs in results.items():
        cells = [next((c for c, score in r["curve"] if score >= reached), float("nan")) for r in runs]
        marks = [np.mean([r["curve"][i][1] for r in runs]) for i in (0, 1, 3, -1)]
        rows.append([name, *(f"{mark:.3f}" for mark in marks), both([c / 1e3 for c in cells], 0)])
        rows[-1].append(f"{np.mean([r['step_ms'] for r in runs]):.1f}")
    at = [f"after {results['1'][0]['curve'][i][0] / 1e3:,.0f}k cells" for i in (0, 1, 3, -1)]
    header = ["`flow.conditions_per_step`", *at, f"thousand cells to {reached:.3f}", "ms per update of 256 cells"]
    return (
        "**Conditions per step** (PCA latents, alignment off): val_pearson_delta by cells seen, and the cells until the "
        "score where one condition per step ends (nan: never):\n\n" + table(header, rows)
    )


SECTIONS: dict[str, tuple[dict[str, dict[str, Any]], Callable[[dict[str, list[dict[str, Any]]]], str]]] = {
    "blocks": (BLOCKS, blocks_section),
    "alignment": (ALIGNMENTS, alignment_section),
    "conditions": (CONDITIONS, conditions_section),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--screen", type=Path, default=DATA / "norman2019_semisynthetic_41100x1657.h5ad")
    parser.add_argument("--ppi", type=Path, default=DATA / "string_v12_links_symbol.tsv.gz")
    parser.add_argument("--pathways", type=Path, default=DATA / "reactome_pathways.gmt.gz")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--work", type=Path, help="a folder to keep the store and the stages in, for another try")
    parser.add_argument("--only", choices=list(SECTIONS), help="one of the three questions")
    options = parser.parse_args()
    began = time.perf_counter()
    texts = []
    with tempfile.TemporaryDirectory() as temporary:
        root = str(options.work.resolve()) if options.work else temporary
        store = Path(root) / "store"
        if not store.exists():
            build_store(options.screen, store, build_config(STORE), progress=False)
        priors = {"priors.ppi": str(options.ppi), "priors.pathways": str(options.pathways)}
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
            for name, (variants, section) in SECTIONS.items():
                if options.only in (None, name):
                    tasks = [
                        (variant, priors | values | {"train.seed": seed, "split.seed": 0}, str(store), root)
                        for variant, values in variants.items()
                        for seed in range(options.seeds)
                    ]
                    results: dict[str, list[dict[str, Any]]] = {}
                    for found in pool.map(run, tasks):
                        print({k: v for k, v in found.items() if k != "curve"}, flush=True)
                        results.setdefault(found["name"], []).append(found)
                    texts.append(section(results))
    intro = (
        f"`python -m benchmarks.learning`: **semi-synthetic** screen, {SHORT['autoencoder.epochs']} epochs of stage 1, "
        f"{SHORT['flow.steps']:,} updates of stage 2, {options.seeds} seeds of the training (mean, and each), validation conditions."
    )
    name = "40-learning" + (f"-{options.only}" if options.only else "")
    write_section(name, "What cheaper settings learn", intro + "\n\n" + "\n\n".join(texts), time.perf_counter() - began)


if __name__ == "__main__":
    main()
