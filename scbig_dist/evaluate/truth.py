"""The true cells of held-out conditions, as every prediction of them is scored against."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from scbig_dist.conditions import Condition
from scbig_dist.evaluate.ground import Ground, side_by_side
from scbig_dist.evaluate.significance import expression_p
from scbig_dist.metrics import profiles
from scbig_dist.metrics.de import significant_genes
from scbig_dist.metrics.distribution import e_dist, wasserstein, wasserstein_exact
from scbig_dist.metrics.summary import DISTRIBUTION_METRICS
from scbig_dist.models.means import control_profiles, mean_of_cells, mean_profiles, target_columns

Array = NDArray[np.float64]
Scores = dict[str, Array]
"""{metric: (condition,)}, NaN where undefined."""


@dataclass(frozen=True)
class Prediction:
    """Predicted mean profiles (condition, gene), and per condition a cloud (cell, component) or None."""

    means: Array
    clouds: Sequence[Array | None]


@dataclass(frozen=True)
class Truth:
    """Conditions, their mean profile and that of their context's control (condition, gene),
    their 20 most shifted genes, their significant genes, the columns of their own targets,
    and at most `n_cells` of their cells in PCs."""

    conditions: tuple[Condition, ...]
    means: Array
    controls: Array
    top: NDArray[np.int64]
    significant: NDArray[np.bool_]
    own_targets: tuple[NDArray[np.int64], ...]
    clouds: tuple[Array, ...]


def find_truth(ground: Ground, conditions: Sequence[Condition], progress: bool = False) -> Truth:
    """Read the true cells of the conditions. Means are over all cells; DE and clouds over a seeded draw."""
    store, n_genes = ground.store, ground.n_genes
    means = mean_profiles(store, conditions, n_genes)
    controls = control_profiles(store, conditions, n_genes)
    return Truth(
        tuple(conditions),
        means,
        controls,
        profiles.top_genes(means, controls),
        significant_genes(expression_p(ground, conditions, progress)),
        tuple(target_columns(store, condition, n_genes) for condition in conditions),
        tuple(ground.cloud(true_cells(ground, condition)) for condition in conditions),
    )


def true_cells(ground: Ground, condition: Condition) -> NDArray[np.int64]:
    """The at most `n_cells` cells of a condition that make its true cloud."""
    return ground.draw(ground.store.cells(condition), ground.n_cells, f"cloud {condition.name}")


def from_shifts(ground: Ground, truth: Truth, shifts: Array) -> Prediction:
    """Control cells moved by (condition, gene) shifts; a condition with a NaN shift has no cells."""
    clouds = [
        None if np.isnan(shift).any() else ground.control_cloud(condition) + shift @ ground.pca.components.T
        for condition, shift in zip(truth.conditions, shifts, strict=True)
    ]
    return Prediction(truth.controls + shifts, clouds)


def from_cells(ground: Ground, cells: Iterable[NDArray[np.float32]]) -> Prediction:
    """Predicted cells (cell, gene), one array per condition, each let go once it is used.

    NaN cells are a prediction that a model does not give: no cloud, and every score NaN.
    """
    means: list[Array] = []
    clouds: list[Array | None] = []
    for block in cells:
        means.append(block.mean(axis=0, dtype=np.float64))
        clouds.append(None if np.isnan(means[-1]).any() else ground.project(block[: ground.n_cells]))
    return Prediction(np.stack(means), clouds)


def split_halves(ground: Ground, truth: Truth) -> tuple[Prediction, Truth]:
    """The noise ceiling: one seeded half of the true cells as prediction, the other as truth.

    Significant genes stay those of all cells. Half samples are noisier than what a
    prediction is scored against, so a perfect prediction would score above this; and
    Wasserstein distances grow as cells get fewer, so theirs are no floor.
    """
    halves: list[list[Array]] = [[], []]
    clouds: list[list[Array]] = [[], []]
    for condition in truth.conditions:
        order = ground.rng(f"halves {condition.name}").permutation(ground.store.cells(condition))
        for side, cells in enumerate((order[: len(order) // 2], order[len(order) // 2 :])):
            halves[side].append(mean_of_cells(ground.store, np.sort(cells), ground.n_genes))
            clouds[side].append(ground.cloud(np.sort(cells[: ground.n_cells])))
    means = np.array(halves[1])
    other = replace(truth, means=means, top=profiles.top_genes(means, truth.controls), clouds=tuple(clouds[1]))
    return Prediction(np.array(halves[0]), clouds[0]), other


def score(prediction: Prediction, truth: Truth, threads: int = 1) -> Scores:
    """Every metric of SPEC section 6 for every condition, in the order of the tables."""
    given, means, controls, top = prediction.means, truth.means, truth.controls, truth.top
    pairs = list(zip(prediction.clouds, truth.clouds, strict=True))
    distances = np.array(side_by_side(threads, _distances, pairs)).reshape(len(pairs), len(DISTRIBUTION_METRICS))
    return {
        "pearson_delta": profiles.pearson_delta(given, means, controls),
        "pearson_delta_de": profiles.pearson_delta_de(given, means, controls, top),
        "acc": profiles.acc(given, means, controls),
        "acc_de": profiles.acc_de(given, means, controls, top),
        "des": profiles.des(given, means, controls, truth.significant),
        "pds": _pds(given, truth),
        "l2": profiles.l2(given, means),
        "mse": profiles.mse(given, means),
        "mae": profiles.mae(given, means),
        "discr_cos": profiles.discr_cos(given, means, controls),
        **dict(zip(DISTRIBUTION_METRICS, distances.T, strict=True)),
    }


def _distances(pair: tuple[Array | None, Array]) -> tuple[float, ...]:
    """The DISTRIBUTION_METRICS of a predicted and a true cloud."""
    predicted, true = pair
    if predicted is None:
        return (float("nan"),) * len(DISTRIBUTION_METRICS)
    return e_dist(predicted, true), wasserstein(predicted, true), wasserstein_exact(predicted, true)


def _pds(predicted: Array, truth: Truth) -> Array:
    """Discrimination among the conditions of one context: across contexts it would be trivial."""
    scores = np.full(len(predicted), np.nan)
    contexts = np.array([condition.context for condition in truth.conditions])
    for context in np.unique(contexts):
        rows = np.flatnonzero(contexts == context)
        own = [truth.own_targets[row] for row in rows]
        scores[rows] = profiles.pds(predicted[rows], truth.means[rows], own)
    return scores
