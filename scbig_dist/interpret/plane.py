"""Cells in two dimensions, by principal components and by UMAP (figure 7 of the paper)."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd

from scbig_dist.interpret.condition import ConditionCells
from scbig_dist.nn.pca import fit_pca
from scbig_dist.train.experiment import Experiment
from scbig_dist.train.random import generator

N_COMPONENTS = 50
MAX_PCA_CELLS = 5_000


@dataclass(frozen=True)
class Plane:
    """`points`: a row per cell, columns `cells` (control, true, predicted), `PC1`, `PC2`, and `UMAP1`, `UMAP2` if asked.

    `shares` are the parts of the variance of the turned-to cells, over all genes, that PC1 and PC2 hold.
    """

    points: pd.DataFrame
    shares: tuple[float, float]
    turned_to: str


def project(experiment: Experiment, cells: ConditionCells, seed: int, umap: bool) -> Plane:
    """50 components of training cells, turned to the two directions in which control and true cells vary most.

    Predicted cells are placed there (without true ones they take their part). Components of the few shown cells alone
    would fit their noise, and set them further apart than any prediction could follow.
    """
    second = "predicted" if cells.true is None else "true"
    groups = {"control": cells.control, "true": cells.true, "predicted": cells.predicted}
    clouds = {name: cloud for name, cloud in groups.items() if cloud is not None}
    rng = generator(seed, "plane")
    rows = experiment.train_cells()
    rows = rows if len(rows) <= MAX_PCA_CELLS else np.sort(rng.choice(rows, MAX_PCA_CELLS, replace=False))
    known = experiment.store.dense(rows, experiment.n_genes)
    n = min(N_COMPONENTS, experiment.n_genes, len(rows) - 1)
    pca = fit_pca(lambda: [known], experiment.n_genes, n, rng)
    every = (np.concatenate(list(clouds.values())) - pca.mean) @ pca.components.T
    kinds = np.repeat(list(clouds), [len(cloud) for cloud in clouds.values()])
    shown = np.isin(kinds, ("control", second))
    centre = every[shown].mean(axis=0)
    _, sd, turn = np.linalg.svd(every[shown] - centre, full_matrices=False)
    turn *= np.sign(turn[np.arange(len(turn)), np.abs(turn).argmax(axis=1)])[:, None]
    turned = (every - centre) @ turn.T
    points = pd.DataFrame({"cells": kinds, "PC1": turned[:, 0], "PC2": turned[:, 1]})
    if umap:
        points[["UMAP1", "UMAP2"]] = _umap(every, seed)
    fitted = np.concatenate([clouds["control"], clouds[second]]).astype(np.float64)
    total = float(np.square(fitted - fitted.mean(axis=0)).sum())
    shares = np.square(sd[:2]) / total
    return Plane(points, (float(shares[0]), float(shares[1])), f"control and {second} cells")


def _umap(components: np.ndarray, seed: int) -> np.ndarray:
    """UMAP of all cells together, one thread, so that a seed gives the same picture."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # umap warns that a seed means one thread
        from umap import UMAP  # seconds to import

        neighbours = min(15, len(components) - 1)
        model = UMAP(n_neighbors=neighbours, random_state=seed, n_jobs=1)
        return np.asarray(model.fit_transform(components))
