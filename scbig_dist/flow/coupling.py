"""Which perturbed cell goes with each control cell: optimal transport within a group of cells."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from scbig_dist.half_steps import half_step

MAX_ITERATIONS = 500  # beyond it, at a very small ε, the column marginal is approximate
CHECK_EVERY = 10
UNCHECKED_ITERATIONS = 100  # where a look at the marginal would stop the device's queue
KERNEL_RANGE = -40.0  # smallest logit whose kernel float32 carries through the iterations
TOLERANCE = 1e-3  # total variation between the plan's row marginal and the uniform one


@torch.compiler.disable  # its length depends on the data: compiled code calls it as it is
@torch.no_grad()
def couple(
    x0: Float[Tensor, "group cell latent"],
    x1: Float[Tensor, "group cell latent"],
    uniforms: Float[Tensor, "group cell"],
    kind: str,
    epsilon: float,
) -> Int[Tensor, "group cell"]:
    """For each control cell of a group a perturbed cell of it, by the plan that `kind` (`flow.coupling`) names.

    `sinkhorn`: the plan's row marginal is uniform, so control cell k is taken once and its
    partner drawn from row k with `uniforms[k]` ∈ [0, 1): unbiased, and less noisy than
    drawing rows as well. `exact`: the permutation of least cost. `none`: as they come.
    """
    if kind == "none":
        return torch.arange(x0.shape[1], device=x0.device).expand(len(x0), -1)
    with torch.autocast(x0.device.type, enabled=False):  # transport needs float32
        cost = relative_cost(x0, x1)
        if kind == "exact":
            return torch.stack([_permutation(each) for each in cost])
        assert kind == "sinkhorn", kind
        cumulative = conditional_plan(cost, epsilon).cumsum(2)
        # Scaled by the row's own sum: rounding may leave it a little off one.
        wanted = uniforms.to(cumulative)[..., None] * cumulative[..., -1:]
        return torch.searchsorted(cumulative, wanted, right=True)[..., 0].clamp(max=x1.shape[1] - 1)


def relative_cost(
    x0: Float[Tensor, "group row latent"], x1: Float[Tensor, "group column latent"]
) -> Float[Tensor, "group row column"]:
    """Squared Euclidean distance ÷ the group's mean; zero where all cells coincide."""
    cost = torch.cdist(x0.float(), x1.float()).square()
    return cost / cost.mean((1, 2), keepdim=True).clamp(min=torch.finfo(cost.dtype).tiny)


def conditional_plan(cost: Float[Tensor, "group row column"], epsilon: float) -> Float[Tensor, "group row column"]:
    """The entropic plan between uniform marginals with every row scaled to sum to one.

    Sinkhorn until the row marginal is within `TOLERANCE` of uniform (the column marginal
    is exact after each iteration): on the kernel itself where float32 holds it, about
    five times as fast, else in the log domain. Both give the same plan. On an accelerator
    a fixed number of iterations in the log domain, so that nothing waits for its results.
    """
    logits = cost / -epsilon
    # A constant per row or column changes the potentials, not the plan: now each has a maximum of 0.
    logits = logits - logits.amax(2, keepdim=True)
    logits = logits - logits.amax(1, keepdim=True)
    if cost.device.type == "cpu" and float(logits.amin()) > KERNEL_RANGE:
        kernel = logits.exp_()
        weights = kernel * _kernel_scaling(kernel)
        return weights / weights.sum(2, keepdim=True)
    return torch.softmax(logits + _log_potential(logits), 2)


def _kernel_scaling(kernel: Float[Tensor, "group row column"]) -> Float[Tensor, "group 1 column"]:
    n_groups, n_rows, n_columns = kernel.shape
    row, column = kernel.new_ones(n_groups, 1, n_rows), kernel.new_ones(n_groups, n_columns, 1)
    for iteration in range(1, MAX_ITERATIONS + 1):
        previous, row = row, 1 / (n_rows * (kernel @ column)).transpose(1, 2)
        if iteration % CHECK_EVERY == 0 and _settled((previous / row)[:, 0]):
            break
        column = 1 / (n_columns * (row @ kernel)).transpose(1, 2)
    return column.transpose(1, 2)


def _log_potential(logits: Float[Tensor, "group row column"]) -> Float[Tensor, "group 1 column"]:
    n_groups, n_rows, n_columns = logits.shape
    logits, turned = logits.contiguous(), logits.transpose(1, 2).contiguous()
    row, column = logits.new_zeros(n_groups, n_rows), logits.new_zeros(n_groups, n_columns)
    checked = logits.device.type == "cpu"
    for iteration in range(1, (MAX_ITERATIONS if checked else UNCHECKED_ITERATIONS) + 1):
        look = checked and iteration % CHECK_EVERY == 0
        previous = row.clone() if look else row
        half_step(logits, column, -math.log(n_rows), row)
        if look and _settled((previous - row).exp()):
            break
        half_step(turned, row, -math.log(n_columns), column)
    return column[:, None]


def _settled(mass: Float[Tensor, "group row"]) -> bool:
    """Whether each row's mass, relative to uniform, is one; `mass` is what the last column update left."""
    return float((mass - 1).abs().mean(1).max()) < TOLERANCE


def _permutation(cost: Float[Tensor, "row column"]) -> Int[Tensor, " row"]:
    import ot  # a second to import, which every start of a training would pay

    uniform = np.full(len(cost), 1 / len(cost))
    plan = ot.emd(uniform, uniform, cost.double().cpu().numpy(), numItermax=10_000_000)
    return torch.as_tensor(plan.argmax(1), device=cost.device)
