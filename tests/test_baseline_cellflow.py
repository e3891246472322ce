"""CellFlow's form of our flow in a world where means hardly move: perturbations silence the variation of a programme."""

from __future__ import annotations

import json
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
from run_cases import train_small

from scbig_dist.evaluate import evaluate_run
from scbig_dist.settings import load_config
from scbig_dist.store.build import build_store

N_GENES = 40
SILENCED = {"A": 0, "B": 1, "C": 0, "D": 1}  # target: the programme whose spread it takes
TRAIN = ["A", "B", "C", "D", "A+D", "B+C", "C+D"]


def write_world(path: Path) -> None:
    """Counts around two programmes, each of half the genes; a target leaves a tenth of its programme's spread."""
    rng = np.random.default_rng(0)
    loadings = np.zeros((2, N_GENES))
    loadings[np.arange(N_GENES) % 2, np.arange(N_GENES)] = rng.choice([-0.9, 0.9], N_GENES)
    blocks, labels = [], []
    for label, n in [("control", 400), *((name, 150) for name in [*TRAIN, "A+B"])]:
        spread = np.ones(2)
        for target in label.split("+") if label != "control" else []:
            spread[SILENCED[target]] = 0.1
        programmes = rng.normal(size=(n, 2)) * spread
        blocks.append(rng.poisson(np.exp(2.0 + programmes @ loadings)))
        labels += [label] * n
    genes = [*SILENCED, *(f"g{i}" for i in range(N_GENES - 4))]
    obs = pd.DataFrame({"condition": labels}, index=[f"c{i}" for i in range(len(labels))])
    x = sp.csr_matrix(np.concatenate(blocks).astype(np.float32))
    ad.AnnData(x, obs=obs, var=pd.DataFrame(index=genes)).write_h5ad(path)


def test_it_beats_every_moved_cloud_of_control_cells(tmp_path: Path) -> None:
    write_world(tmp_path / "world.h5ad")
    kept = load_config(None, {"qc.min_genes": 0, "qc.min_cells": 0, "panel.n_hvg": None, "panel.hvg_flavor": "seurat"})
    build_store(tmp_path / "world.h5ad", tmp_path / "store", kept, progress=False)
    (tmp_path / "split.json").write_text(json.dumps({"kind": "additive", "test": ["A+B"]}))
    run = train_small(
        tmp_path / "store", tmp_path / "run", split__file=str(tmp_path / "split.json"), split__n_val=0,
        flow__lr=3e-3, flow__batch=256, flow__conditions_per_step=4, flow__steps=300, flow__width=64, flow__sigma=0.0,
        flow__dropout=0.0, flow__pooling="sum", flow__validate_every=300, gcae__latent_dim=6, flow__coupling_epsilon=0.1,
        flow__solver="midpoint", flow__solver_steps=8, evaluate__n_cells=150,
    )  # fmt: skip
    scores = {method: row["e_dist"] for method, row in evaluate_run(run, progress=False).items()}
    others = ("Control", "Mean-shift", "Additive", "Ridge-additive", "Linear")
    assert scores["CellFlow"] < 0.5 * min(scores[method] for method in others), scores
