"""A small screen with everything a store must sort out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from scbig_dist.config import Config
from scbig_dist.settings import build_config

LOOSE = {"qc.min_genes": 0, "qc.min_cells": 0, "qc.min_cells_per_condition": 1}
LABELS = ["control", "GENE3", "GENE7", "GENE7+GENE3", "GENE11", "ABSENT"]


def screen(n_cells: int = 240, n_genes: int = 160, seed: int = 0, labels: list[str] | None = None) -> ad.AnnData:
    """Counts with a mean per gene over three decades; labels and two contexts in turn."""
    rng = np.random.default_rng(seed)
    means = np.exp(rng.uniform(np.log(0.05), np.log(40), n_genes))
    depth = np.exp(rng.normal(0, 0.3, n_cells))
    shape = rng.uniform(0.3, 3, n_genes)
    rate = rng.gamma(shape, 1 / shape, (n_cells, n_genes)) * depth[:, None] * means
    counts = rng.poisson(rate).astype(np.float32)
    labels = LABELS if labels is None else labels
    obs = pd.DataFrame(
        {
            "condition": [labels[i % len(labels)] for i in range(n_cells)],
            "line": [("K562", "A549")[(i // len(labels)) % 2] for i in range(n_cells)],
            "plate": [f"p{i % 3}" for i in range(n_cells)],
            "total": counts.sum(axis=1) + rng.integers(50, 500, n_cells),
        },
        index=[f"cell{i}" for i in range(n_cells)],
    )
    var = pd.DataFrame(index=[f"GENE{i}" for i in range(n_genes)])
    return ad.AnnData(sparse.csr_matrix(counts), obs=obs, var=var)


def write(adata: ad.AnnData, folder: Path, name: str = "screen.h5ad") -> Path:
    adata.write_h5ad(folder / name)
    return folder / name


def config(**values: Any) -> Config:
    """Loose QC, all genes; `data__context="line"` sets data.context."""
    named = {name.replace("__", "."): value for name, value in values.items()}
    return build_config({**LOOSE, "panel.n_hvg": None, **named})
