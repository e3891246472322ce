"""Which control cell goes with which perturbed cell: optimal transport within a batch."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import ot
import torch
from jaxtyping import Float, Int
from torch import Tensor

MAX_ITERATIONS = 500  # beyond it, at a very small ε, the column marginal is approximate
CHECK_EVERY = 10
KERNEL_RANGE = -40.0  # smallest logit whose kernel float32 carries through the iterations
TOLERANCE = 1e-3  # total variation between the plan's row marginal and the uniform one


class Pairs(NamedTuple):
    """Positions in x0 and x1 of the cells that were paired."""

    i0: Int[Tensor, " pair"]
    i1: Int[Tensor, " pair"]


@torch.compiler.disable  # its length depends on the data: compiled code calls it as it is
@torch.no_grad()
def couple(
    x0: Float[Tensor, "cell latent"],
    x1: Float[Tensor, "cell latent"],
    uniforms: Float[Tensor, " cell"],
    kind: str,
    epsilon: float,
) -> Pairs:
    """One pair per control cell, by the plan that `kind` (`flow.coupling`) names.

    `sinkhorn`: the plan's row marginal is uniform, so row k is taken for pair k and its
    column drawn from the row with `uniforms[k]` ∈ [0, 1): unbiased, and less noisy than
    drawing rows as well. `exact`: the permutation of least cost. `none`: as they come.
    """
    i0 = torch.arange(len(x0), device=x0.device)
    if kind == "none":
        return Pairs(i0, i0.clone())
    with torch.autocast(x0.device.type, enabled=False):  # transport needs float32
        cost = relative_cost(x0, x1)
        if kind == "exact":
            uniform = np.full(len(x0), 1 / len(x0))
            plan = ot.emd(uniform, uniform, cost.double().cpu().numpy(), numItermax=10_000_000)
            return Pairs(i0, torch.as_tensor(plan.argmax(1), device=x0.device))
        assert kind == "sinkhorn", kind
        rows = conditional_plan(cost, epsilon)
        cumulative = rows.cumsum(1)
        # Scaled by the row's own sum: rounding may leave it a little off one.
        wanted = uniforms.to(cumulative)[:, None] * cumulative[:, -1:]
        i1 = torch.searchsorted(cumulative, wanted, right=True)[:, 0].clamp(max=len(x1) - 1)
        return Pairs(i0, i1)


def relative_cost(x0: Float[Tensor, "row latent"], x1: Float[Tensor, "column latent"]) -> Float[Tensor, "row column"]:
    """Squared Euclidean distance ÷ its mean; zero where all cells coincide."""
    cost = torch.cdist(x0.float(), x1.float()).square()
    return cost / cost.mean().clamp(min=torch.finfo(cost.dtype).tiny)


def conditional_plan(cost: Float[Tensor, "row column"], epsilon: float) -> Float[Tensor, "row column"]:
    """The entropic plan between uniform marginals with every row scaled to sum to one.

    Sinkhorn until the row marginal is within `TOLERANCE` of uniform (the column marginal
    is exact after each iteration): on the kernel itself where float32 holds it, about
    five times as fast, else in the log domain. Both give the same plan.
    """
    logits = cost / -epsilon
    # A constant per row or column changes the potentials, not the plan: now each has a maximum of 0.
    logits = logits - logits.amax(1, keepdim=True)
    logits = logits - logits.amax(0)
    if float(logits.amin()) > KERNEL_RANGE:
        kernel = logits.exp()
        weights = kernel * _kernel_scaling(kernel)
        return weights / weights.sum(1, keepdim=True)
    return torch.softmax(logits + _log_potential(logits), 1)


def _kernel_scaling(kernel: Float[Tensor, "row column"]) -> Float[Tensor, " column"]:
    n_rows, n_columns = kernel.shape
    row = torch.ones(n_rows, device=kernel.device, dtype=kernel.dtype)
    column = torch.ones(n_columns, device=kernel.device, dtype=kernel.dtype)
    for iteration in range(1, MAX_ITERATIONS + 1):
        previous, row = row, 1 / (n_rows * (kernel @ column))
        if iteration % CHECK_EVERY == 0 and _settled(previous / row):
            break
        column = 1 / (n_columns * (row @ kernel))
    return column


def _log_potential(logits: Float[Tensor, "row column"]) -> Float[Tensor, " column"]:
    n_rows, n_columns = logits.shape
    row = torch.zeros(n_rows, device=logits.device, dtype=logits.dtype)
    column = torch.zeros(n_columns, device=logits.device, dtype=logits.dtype)
    for iteration in range(1, MAX_ITERATIONS + 1):
        previous, row = row, -math.log(n_rows) - torch.logsumexp(logits + column, 1)
        if iteration % CHECK_EVERY == 0 and _settled((previous - row).exp()):
            break
        column = -math.log(n_columns) - torch.logsumexp(logits + row[:, None], 0)
    return column


def _settled(mass: Float[Tensor, " row"]) -> bool:
    """Whether each row's mass, relative to uniform, is one; `mass` is what the last column update left."""
    return float((mass - 1).abs().mean()) < TOLERANCE
