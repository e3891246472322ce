"""Alignment losses against numpy, POT and finite differences."""

from __future__ import annotations

import numpy as np
import ot
import pytest
import torch

from scbig_dist.losses import (
    averages,
    correlation_loss,
    module_correlation,
    pathway_loss,
    set_means,
    sinkhorn_cost,
    transport_cost,
)

LABELS = torch.tensor([0, 1, 0, 2, 1, 1, 0])
MODULES = averages((torch.arange(3)[:, None] == LABELS).float())


def cells(n: int, n_genes: int = 7, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, n_genes, generator=torch.Generator().manual_seed(seed))


def test_set_means_equal_a_loop() -> None:
    x = cells(5)
    loop = torch.stack([x[:, k == LABELS].mean(1) for k in range(3)], 1)
    torch.testing.assert_close(set_means(x, MODULES), loop)


def test_module_correlation_equals_numpy() -> None:
    x = cells(40) + 3
    expected = np.corrcoef(set_means(x, MODULES).double().numpy(), rowvar=False)
    np.testing.assert_allclose(module_correlation(x, MODULES).numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("level", [0.0, 3.7])
def test_a_constant_module_correlates_with_nothing_and_has_a_gradient(level: float) -> None:
    x = cells(20)
    x[:, LABELS == 1] = level
    x.requires_grad_()
    correlation = module_correlation(x, MODULES)
    assert (correlation[1] == 0).all() and correlation[0, 0].item() == pytest.approx(1)
    correlation_loss(x, torch.eye(3), MODULES).backward()
    assert x.grad is not None and torch.isfinite(x.grad).all()


def test_an_empty_module_is_constant() -> None:
    membership = torch.cat([MODULES, torch.zeros(1, 7)])
    assert (module_correlation(cells(20), membership)[3] == 0).all()


def test_correlation_loss_closed_form() -> None:
    x = cells(30)
    target = module_correlation(x, MODULES)
    assert float(correlation_loss(x, target, MODULES)) == pytest.approx(0, abs=1e-6)
    assert float(correlation_loss(x, target + 0.5, MODULES)) == pytest.approx(0.5, rel=1e-5)  # √(9·0.25)/3


def test_correlation_loss_gradient() -> None:
    x = cells(6).double().requires_grad_()
    target = module_correlation(cells(9, seed=1).double(), MODULES.double())
    assert torch.autograd.gradcheck(lambda x: correlation_loss(x, target, MODULES.double()), (x,))


def test_gradient_at_the_target_is_finite() -> None:
    x = cells(6).requires_grad_()
    correlation_loss(x, module_correlation(x, MODULES).detach(), MODULES).backward()
    assert x.grad is not None and torch.isfinite(x.grad).all()


def test_pathway_activation_is_the_mean_of_its_genes() -> None:
    matrix = torch.tensor([[1.0, 1, 0, 0, 1, 0, 0], [0, 0, 0, 0, 0, 0, 1]])
    x = cells(4)
    expected = torch.stack([x[:, [0, 1, 4]].mean(1), x[:, 6]], 1)
    torch.testing.assert_close(set_means(x, averages(matrix)), expected)


@pytest.mark.parametrize("epsilon", [1.0, 0.1])
@pytest.mark.parametrize("n", [25, 40])
def test_sinkhorn_cost_equals_pot(epsilon: float, n: int) -> None:
    a, b = cells(30).double(), cells(n, seed=1).double() + 0.3
    cost = ot.dist(a.numpy(), b.numpy())
    expected = ot.sinkhorn2(ot.unif(30), ot.unif(n), cost, epsilon * cost.mean(), numItermax=500)
    assert float(sinkhorn_cost(a, b, epsilon, 500)) == pytest.approx(float(expected), rel=1e-6)


def test_single_precision_equals_double() -> None:
    a, b = cells(30) * 5, cells(30, seed=1) * 5 + 1
    single = float(sinkhorn_cost(a, b, 0.1, 100))
    assert single == pytest.approx(float(sinkhorn_cost(a.double(), b.double(), 0.1, 100)), rel=1e-4)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 100.0])
def test_loss_lives_where_the_primal_kernel_underflows(scale: float) -> None:
    """exp(−C/0.1) of clouds this far apart is all 0 in float32; ours scales with the mean cost."""
    a, b = (scale * cells(20, 50)).requires_grad_(), scale * (cells(20, 50, seed=1) + 2)
    if scale >= 1:
        assert float(torch.exp(-torch.cdist(a.detach(), b).square() / 0.1).max()) == 0
    loss = sinkhorn_cost(a, b, 0.1, 100)
    loss.backward()
    assert float(loss.detach()) / scale**2 == pytest.approx(
        float(sinkhorn_cost(cells(20, 50), cells(20, 50, seed=1) + 2, 0.1, 100)), rel=1e-3
    )
    assert a.grad is not None and torch.isfinite(a.grad).all() and float(a.grad.abs().max()) > 0


def test_transport_cost_gradient() -> None:
    cost = cells(5, 6).double().requires_grad_()
    regularisation = torch.tensor(0.2, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda c: transport_cost(c, regularisation, 20), (cost,))


def test_debiased_cost_is_zero_for_equal_clouds_and_its_gradient_finite() -> None:
    a = cells(15).requires_grad_()
    loss = sinkhorn_cost(a, a.detach(), 0.1, 200, debiased=True)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0, abs=1e-6)
    assert float(sinkhorn_cost(a.detach(), a.detach(), 0.1, 200)) > 1e-3
    assert a.grad is not None and torch.isfinite(a.grad).all()


def test_autocast_changes_nothing() -> None:
    x, target = cells(20) + 5, cells(15, seed=1) + 5
    corr = torch.eye(3)

    def both() -> tuple[torch.Tensor, torch.Tensor]:
        activation = set_means(target, torch.eye(7))
        return correlation_loss(x, corr, MODULES), pathway_loss(x, activation, torch.eye(7), 0.1, 50)

    with torch.autocast("cpu", torch.bfloat16):
        cast = both()
    assert all(torch.equal(one, other) for one, other in zip(cast, both(), strict=True))


def test_pathway_loss_is_the_cost_per_pathway() -> None:
    matrix = averages(torch.tensor([[1.0, 1, 0, 0, 1, 0, 0], [0, 0, 1, 0, 0, 0, 1]]))
    pred, target = cells(12), set_means(cells(9, seed=1), matrix)
    expected = sinkhorn_cost(set_means(pred, matrix), target, 0.1, 100) / 2
    torch.testing.assert_close(pathway_loss(pred, target, matrix, 0.1, 100), expected)


def test_descending_the_pathway_loss_moves_cells_to_the_target() -> None:
    matrix = torch.eye(7)
    pred, target = cells(16).requires_grad_(), cells(16, seed=1) + 1
    optimiser = torch.optim.Adam([pred], 0.05)
    for _ in range(100):
        optimiser.zero_grad()
        pathway_loss(pred, target, matrix, 0.1, 30).backward()
        optimiser.step()
    torch.testing.assert_close(pred.detach().mean(0), target.mean(0), atol=0.05, rtol=0)
