"""A small store of random counts: what a training is measured on where only its sizes matter."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp

from scbig_dist.config import Config
from scbig_dist.screen.splits import Split
from scbig_dist.settings import build_config
from scbig_dist.store.build import build_store
from scbig_dist.store.reader import open_store
from scbig_dist.train.experiment import Experiment

N_TRAIN, N_VAL = 4, 2  # conditions of two targets
CELLS = 2048  # to train on, at least: a block of what is encoded at once
VAL_CELLS = 128  # of a validation condition


def random_experiment(
    config: Config, folder: Path, n_genes: int, entries_per_cell: float, batch: int, rng: np.random.Generator
) -> Experiment:
    """Write a store to `folder` and open it, its training cells a multiple of `batch`, every gene in the panel."""
    n_train = -(-CELLS // batch) * batch
    targets = [f"g{2 * i}+g{2 * i + 1}" for i in range(N_TRAIN + N_VAL)]
    # Control cells are training cells, as many as those of a condition.
    sizes = [len(part) for part in np.array_split(np.arange(n_train), N_TRAIN + 1)] + [VAL_CELLS] * N_VAL
    condition = np.repeat(["control", *targets], sizes)
    length = min(max(round(entries_per_cell), 1), n_genes)
    # Every so many genes from a random one on: draws without replacement would cost more than all the rest.
    start, step = rng.integers(n_genes, size=len(condition)), n_genes / length
    genes = (start[:, None] + np.floor(step * np.arange(length)).astype(np.int64)) % n_genes
    counts = 1 + rng.geometric(0.5, size=genes.shape)
    pointer = np.arange(len(condition) + 1) * length
    x = sp.csr_matrix((counts.ravel().astype(np.float32), genes.ravel(), pointer), shape=(len(condition), n_genes))
    x.sort_indices()
    obs = pd.DataFrame({"condition": condition}, index=[f"c{i}" for i in range(len(condition))])
    var = pd.DataFrame(index=[f"g{i}" for i in range(n_genes)])
    anndata.AnnData(x, obs=obs, var=var).write_h5ad(folder / "random.h5ad")
    open_qc = {"qc.min_genes": 0, "qc.min_cells": 0, "qc.min_cells_per_condition": 1, "panel.n_hvg": None}
    build_store(folder / "random.h5ad", folder / "store", build_config(open_qc), progress=False)
    store = open_store(folder / "store")
    perturbed = [each for each in store.conditions if not each.is_control]
    split = Split("random", None, tuple(perturbed[:N_TRAIN]), tuple(perturbed[N_TRAIN:]), ())
    return Experiment(config, store, split, len(store.genes))
