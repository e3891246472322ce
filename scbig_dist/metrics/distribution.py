"""Distances between clouds of predicted and true cells (SPEC: section 6).

Cells are (cell, feature), in the space of principal components of the training cells;
the two clouds may differ in size. Distances are Euclidean and in units of that space.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist, pdist

Array = NDArray[np.float64]

WASSERSTEIN_EPSILON = 0.05
_ITERATIONS = 1000
_TOLERANCE = 1e-6


def e_dist(predicted: Array, true: Array) -> float:
    """Energy distance 2E‖X−Y‖ − E‖X−X'‖ − E‖Y−Y'‖; NaN with fewer than two cells on a side.

    The unbiased form: X and X' are two different cells, so equal distributions score 0 on
    average (a single value may be slightly negative), whatever the number of cells.
    """
    if min(len(predicted), len(true)) < 2:
        return float("nan")
    return float(2 * cdist(predicted, true).mean() - pdist(predicted).mean() - pdist(true).mean())


def wasserstein(predicted: Array, true: Array, epsilon: float = WASSERSTEIN_EPSILON) -> float:
    """Entropic W1: the transport cost ⟨P, C⟩ of the Sinkhorn plan, its entropy not included.

    `epsilon` is relative to the mean cost. Larger than `wasserstein_exact` by at most
    about epsilon × mean cost × log(cells); NaN where a side has no cells.
    """
    if min(len(predicted), len(true)) < 1:
        return float("nan")
    cost = cdist(predicted, true)
    scale = float(cost.mean())
    if scale == 0:
        return 0.0
    return float((sinkhorn_plan(cost / scale, epsilon) * cost).sum())


def wasserstein_exact(predicted: Array, true: Array) -> float:
    """W1 by linear programming (POT `emd2`); NaN where a side has no cells."""
    if min(len(predicted), len(true)) < 1:
        return float("nan")
    import ot  # a second to import, which every trial would pay

    return float(ot.emd2(_uniform(len(predicted)), _uniform(len(true)), cdist(predicted, true), numItermax=1_000_000))


def sinkhorn_plan(cost: Array, epsilon: float) -> Array:
    """The entropic plan between uniform weights.

    A potential per row and column (their minima) is taken out of the cost first: the plan
    stays the same and no row or column of the kernel can underflow to nothing. Where the
    scalings still overflow, POT's log-domain solver takes over.
    """
    reduced = cost - cost.min(axis=1, keepdims=True)
    reduced = reduced - reduced.min(axis=0, keepdims=True)
    kernel = np.exp(-reduced / epsilon)
    a, b = _uniform(len(cost)), _uniform(cost.shape[1])
    v = np.ones_like(b)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        for step in range(_ITERATIONS):
            u = a / (kernel @ v)
            v = b / (kernel.T @ u)
            if step % 10 == 9 and np.abs(u * (kernel @ v) - a).sum() < _TOLERANCE:
                break
        plan = u[:, None] * kernel * v[None, :]
    if np.isfinite(plan).all():
        return plan
    import ot

    with warnings.catch_warnings():  # a plan short of convergence is within the tolerance of its use
        warnings.simplefilter("ignore")
        return ot.sinkhorn(a, b, cost, epsilon, method="sinkhorn_log", numItermax=_ITERATIONS)


def _uniform(n: int) -> Array:
    return np.full(n, 1.0 / n)
