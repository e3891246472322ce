"""Distances between clouds of predicted and true cells (SPEC: section 6).

Cells are (cell, feature), in the space of principal components of the training cells;
the two clouds may differ in size. Distances are Euclidean and in units of that space.
All are computed without the GIL, so that conditions may go to threads.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from scbig_dist.metrics.jit import jit

Array = NDArray[np.float64]

WASSERSTEIN_EPSILON = 0.05
_ITERATIONS = 1000
_TOLERANCE = 1e-6


def e_dist(predicted: Array, true: Array) -> float:
    """Energy distance 2E‖X−Y‖ − E‖X−X'‖ − E‖Y−Y'‖; NaN with fewer than two cells on a side.

    The unbiased form: X and X' are two different cells, so equal distributions score 0 on
    average (a single value may be slightly negative), whatever the number of cells. NaN where
    a cloud has one.
    cell-eval's `pearson_edistance` is another number: it correlates, over conditions, the
    distances of true and of predicted cells to control, and pairs each cell with itself too.
    """
    if min(len(predicted), len(true)) < 2:
        return float("nan")
    predicted, true = _rows(predicted), _rows(true)
    return float(2 * distances(predicted, true).mean() - _mean_within(predicted) - _mean_within(true))


def wasserstein(predicted: Array, true: Array, epsilon: float = WASSERSTEIN_EPSILON) -> float:
    """Entropic W1: the transport cost ⟨P, C⟩ of the Sinkhorn plan, its entropy not included.

    `epsilon` is relative to the mean cost. Larger than `wasserstein_exact` by at most
    about epsilon × mean cost × log(cells); NaN where a side has no cells or a cell is NaN.
    """
    cost = _cost(predicted, true)
    if cost is None:
        return float("nan")
    scale = float(cost.mean())
    if scale == 0:
        return 0.0
    return float((sinkhorn_plan(cost / scale, epsilon) * cost).sum())


def wasserstein_exact(predicted: Array, true: Array) -> float:
    """W1 by linear programming (POT `emd2`); NaN where a side has no cells or a cell is NaN."""
    cost = _cost(predicted, true)
    if cost is None:
        return float("nan")
    import ot  # a second to import, which every trial would pay

    return float(ot.emd2(_uniform(len(cost)), _uniform(cost.shape[1]), cost, numItermax=1_000_000))


def distances(x: Array, y: Array) -> Array:
    """Euclidean distances of the rows of both, (row of x, row of y)."""
    return _distances(_rows(x), _rows(y))


def sinkhorn_plan(cost: Array, epsilon: float) -> Array:
    """The entropic plan between uniform weights.

    A potential per row and column (their minima) is taken out of the cost first: the plan
    stays the same and no row or column of the kernel can underflow to nothing. Where the
    scalings still overflow, POT's log-domain solver takes over.
    """
    reduced = cost - cost.min(axis=1, keepdims=True)
    reduced -= reduced.min(axis=0, keepdims=True)
    kernel = np.exp(reduced / -epsilon)
    u, v = _scalings(kernel, _ITERATIONS, _TOLERANCE)
    with np.errstate(over="ignore", invalid="ignore"):
        plan = u[:, None] * kernel * v
    if np.isfinite(plan).all():
        return plan
    import ot

    a, b = _uniform(len(cost)), _uniform(cost.shape[1])
    with warnings.catch_warnings():  # a plan short of convergence is within the tolerance of its use
        warnings.simplefilter("ignore")
        return ot.sinkhorn(a, b, cost, epsilon, method="sinkhorn_log", numItermax=_ITERATIONS)


def _cost(predicted: Array, true: Array) -> Array | None:
    if min(len(predicted), len(true)) < 1:
        return None
    cost = distances(predicted, true)
    return None if np.isnan(cost).any() else cost


def _rows(x: Array) -> Array:
    return np.ascontiguousarray(x, dtype=np.float64)


def _uniform(n: int) -> Array:
    return np.full(n, 1.0 / n)


@jit
def _distances(x, y):
    n, m, width = x.shape[0], y.shape[0], x.shape[1]
    result = np.empty((n, m))
    for i in range(n):
        for j in range(m):
            total = 0.0
            for k in range(width):
                total += (x[i, k] - y[j, k]) ** 2
            result[i, j] = np.sqrt(total)
    return result


@jit
def _mean_within(x):
    """Mean distance over pairs of two different rows."""
    n, width = x.shape
    result = 0.0
    for i in range(n):
        for j in range(i):
            total = 0.0
            for k in range(width):
                total += (x[i, k] - x[j, k]) ** 2
            result += np.sqrt(total)
    return result / (n * (n - 1) / 2)


@jit
def _scalings(kernel, n_iterations, tolerance):
    """u and v of diag(u) K diag(v) with uniform marginals, to an L1 error of the rows below the tolerance.

    A row gives its u and adds to the columns' sums while it is in the cache: the kernel is read
    once per iteration, and the error of the last one costs nothing.
    """
    n, m = kernel.shape
    u, v = np.zeros(n), np.ones(m)
    for step in range(n_iterations):
        columns = np.zeros(m)
        error = 0.0
        for i in range(n):
            row = 0.0
            for j in range(m):
                row += kernel[i, j] * v[j]
            error += abs(u[i] * row - 1.0 / n)
            u[i] = 1.0 / (n * row)
            for j in range(m):
                columns[j] += kernel[i, j] * u[i]
        for j in range(m):
            v[j] = 1.0 / (m * columns[j])
        if step > 0 and error < tolerance:
            break
    return u, v
