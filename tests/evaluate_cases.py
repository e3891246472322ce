"""A small additive screen in two contexts, as a store, for tests of baselines and evaluation."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from scbig_dist.conditions import Condition
from scbig_dist.settings import load_config
from scbig_dist.store.build import build_store
from scbig_dist.store.reader import Store, open_store

TARGETS = ["A", "B", "C", "D", "E"]
N_GENES = 60


def write_screen(path: Path, contexts: tuple[str, ...] = ("k562", "rpe1"), seed: int = 0) -> Path:
    """Poisson counts of 60 genes; log effects of the targets add up. E is perturbed but not measured."""
    rng = np.random.default_rng(seed)
    genes = [*TARGETS[:4], *(f"g{i}" for i in range(N_GENES - 4))]
    effects = {target: rng.normal(0, 1.0, N_GENES) * (rng.random(N_GENES) < 0.4) for target in TARGETS}
    labels = [*TARGETS, *("+".join(pair) for pair in combinations(TARGETS, 2))]
    blocks, rows = [], []
    for context in contexts:
        base = rng.normal(1.0, 0.7, N_GENES)
        for label, n in [("control", 120), *((label, 40) for label in labels)]:
            shift = sum((effects[target] for target in label.split("+") if target in effects), np.zeros(N_GENES))
            blocks.append(rng.poisson(np.exp(base + shift), (n, N_GENES)))
            rows += [(label, context)] * n
    obs = pd.DataFrame(rows, columns=["condition", "line"], index=[f"cell{i}" for i in range(len(rows))])
    data = ad.AnnData(sp.csr_matrix(np.concatenate(blocks).astype(np.float32)), obs=obs, var=pd.DataFrame(index=genes))
    data.write_h5ad(path)
    return path


def make_store(folder: Path, **options: object) -> Store:
    """`write_screen` built into a store with all genes in the panel."""
    settings = {"data.context": "line", "qc.min_genes": 0, "qc.min_cells": 0, "panel.n_hvg": None}
    config = load_config(None, {**settings, "panel.hvg_flavor": "seurat"})
    source = write_screen(folder / "screen.h5ad", **options)  # type: ignore[arg-type]
    build_store(source, folder / "store", config, progress=False)
    return open_store(folder / "store")


def conditions(context: str, *perturbations: str) -> tuple[Condition, ...]:
    return tuple(Condition(context, perturbation) for perturbation in perturbations)
