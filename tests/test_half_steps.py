"""Half steps of Sinkhorn: the potentials, and gradients through all iterations, are those of plain autograd."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from scbig_dist.half_steps import Potentials


def plainly(logits: Tensor, n_iterations: int) -> tuple[Tensor, Tensor]:
    """The definition, for autograd to differentiate."""
    n_rows, n_columns = logits.shape
    column = logits.new_zeros(n_columns)
    for _ in range(n_iterations):
        row = -math.log(n_rows) - torch.logsumexp(logits + column, 1)
        column = -math.log(n_columns) - torch.logsumexp(logits + row[:, None], 0)
    return row, column


@pytest.mark.parametrize("shape", [(7, 7), (5, 12), (1, 3), (9, 1)])
@pytest.mark.parametrize("n_iterations", [1, 2, 30])
@pytest.mark.parametrize("spread", [1.0, 30.0])
def test_potentials_and_gradients_are_those_of_autograd(shape, n_iterations, spread):
    generator = torch.Generator().manual_seed(0)
    logits = -spread * torch.rand(shape, generator=generator, dtype=torch.float64)
    weights = [torch.randn(n, generator=generator, dtype=torch.float64) for n in shape]
    found = []
    for form in (plainly, Potentials.apply):
        leaf = logits.clone().requires_grad_()
        row, column = form(leaf, n_iterations)
        (row @ weights[0] + column @ weights[1]).backward()
        found.append((row.detach(), column.detach(), leaf.grad))
    for expected, value in zip(*found, strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-12)


def test_one_of_the_two_potentials_may_be_all_that_is_used():
    logits = torch.rand(4, 6, dtype=torch.float64).requires_grad_()
    row, _ = Potentials.apply(logits, 5)
    row.sum().backward()
    alone = torch.autograd.grad(plainly(logits, 5)[0].sum(), logits)[0]
    torch.testing.assert_close(logits.grad, alone)
