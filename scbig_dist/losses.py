"""The two alignment losses: module correlations and pathway activations of decoded cells.

Gene modules and pathways come as `averages`, made once. All is computed in their dtype,
also under autocast: differences of large sums do not survive bfloat16.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec

import torch
from jaxtyping import Float
from torch import Tensor

from scbig_dist.half_steps import Potentials

P = ParamSpec("P")


def full_precision(function: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """The function with autocast off on every device that has it."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            return function(*args, **kwargs)

    return wrapped


def averages(membership: Float[Tensor, "set gene"]) -> Float[Tensor, "set gene"]:
    """A 0/1 matrix of gene sets with rows that average: each divided by its number of genes."""
    return membership / membership.sum(1, keepdim=True).clamp(min=1)


@full_precision
def set_means(x: Float[Tensor, "cell gene"], sets: Float[Tensor, "set gene"]) -> Float[Tensor, "cell set"]:
    """Mean expression over each of the gene sets (`averages` of modules or pathways); zero for an empty one."""
    return x.to(sets) @ sets.T


@full_precision
def module_correlation(
    x: Float[Tensor, "cell gene"], modules: Float[Tensor, "module gene"]
) -> Float[Tensor, "module module"]:
    """Pearson correlation over cells of the modules' means; zero where a module is constant."""
    means = set_means(x, modules)
    centre = means.mean(0)
    centred = means - centre
    square = centred.square().sum(0)
    # A constant module keeps a divisor of one: its correlation is 0 and its gradient finite.
    constant = square <= len(x) * (1e-10 * centre.square() + 1e-12)
    unit = centred / torch.where(constant, 1.0, square).sqrt()
    unit = torch.where(constant, 0.0, unit)
    return unit.T @ unit


def correlation_loss(
    pred_cells: Float[Tensor, "cell gene"],
    target_corr: Float[Tensor, "module module"],
    modules: Float[Tensor, "module gene"],
) -> Float[Tensor, ""]:
    """‖R_pred − R_true‖_F ÷ number of modules."""
    difference = module_correlation(pred_cells, modules) - target_corr
    return torch.linalg.matrix_norm(difference) / len(target_corr)


@full_precision
def sinkhorn_cost(
    a: Float[Tensor, "row feature"],
    b: Float[Tensor, "column feature"],
    epsilon: float,
    n_iterations: int,
    debiased: bool = False,
) -> Float[Tensor, ""]:
    """⟨P, C⟩ of the entropic plan between two clouds, C squared Euclidean, log-domain.

    `epsilon` is relative to the mean cost, which is held fixed in the gradient. The
    plan's own dependence on the points is differentiated through the iterations.
    `debiased` subtracts half the cost of either cloud against itself: 0 for equal clouds.
    """
    cost = _squared_distances(a, b)
    regularisation = epsilon * cost.detach().mean().clamp(min=1e-12)
    value = transport_cost(cost, regularisation, n_iterations)
    if not debiased:
        return value
    own_a = transport_cost(_squared_distances(a, a), regularisation, n_iterations)
    own_b = transport_cost(_squared_distances(b, b), regularisation, n_iterations)
    return value - (own_a + own_b) / 2


@torch.compiler.disable  # hundreds of half steps: compiled code calls them as they are
def transport_cost(
    cost: Float[Tensor, "row column"], regularisation: Float[Tensor, ""], n_iterations: int
) -> Float[Tensor, ""]:
    """⟨P, C⟩ after `n_iterations` of log-domain Sinkhorn between uniform marginals."""
    logits = -cost / regularisation
    row, column = Potentials.apply(logits, n_iterations)
    plan = (logits + row[:, None] + column).exp()
    return (plan * cost).sum()


def pathway_loss(
    pred: Float[Tensor, "row gene"],
    target_activation: Float[Tensor, "column pathway"],
    pathways: Float[Tensor, "pathway gene"],
    epsilon: float,
    n_iterations: int,
    debiased: bool = False,
) -> Float[Tensor, ""]:
    """Sinkhorn cost between predicted and true pathway activations ÷ number of pathways."""
    activation = set_means(pred, pathways)
    return sinkhorn_cost(activation, target_activation, epsilon, n_iterations, debiased) / len(pathways)


def _squared_distances(
    a: Float[Tensor, "row feature"], b: Float[Tensor, "column feature"]
) -> Float[Tensor, "row column"]:
    # Not cdist²: its square root has no gradient where two points coincide.
    shift = b.detach().mean(0)  # near the origin the expanded square loses no digits
    a, b = a - shift, b - shift
    return (a.square().sum(1)[:, None] + b.square().sum(1) - 2 * a @ b.T).clamp(min=0)
