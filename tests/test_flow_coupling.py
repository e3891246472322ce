"""Coupling against POT, and the draw of pairs against the plan."""

from __future__ import annotations

import numpy as np
import ot
import pytest
import torch

from scbig_dist.flow import coupling
from scbig_dist.flow.coupling import conditional_plan, couple, relative_cost


def clouds(n0: int, n1: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """One group of control and one of perturbed cells."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, n0, 3, generator=generator), torch.randn(1, n1, 3, generator=generator) + 1


@pytest.mark.parametrize("epsilon", [1.0, 0.1, 0.02])
@pytest.mark.parametrize("n0, n1", [(30, 30), (20, 35)])
def test_plan_equals_pot(epsilon: float, n0: int, n1: int) -> None:
    x0, x1 = clouds(n0, n1)
    cost = ot.dist(x0[0].double().numpy(), x1[0].double().numpy())
    plan = ot.sinkhorn(ot.unif(n0), ot.unif(n1), cost / cost.mean(), epsilon, method="sinkhorn_log", numItermax=20_000)
    ours = conditional_plan(relative_cost(x0, x1), epsilon)[0].numpy()
    assert np.abs(ours / n0 - plan).sum() < 5e-3  # total mass is 1


@pytest.mark.parametrize("epsilon", [1.0, 0.3])
def test_kernel_and_log_domain_give_the_same_plan(monkeypatch: pytest.MonkeyPatch, epsilon: float) -> None:
    cost = relative_cost(*clouds(40, 40))
    kernel = conditional_plan(cost, epsilon)
    monkeypatch.setattr(coupling, "KERNEL_RANGE", 1.0)
    torch.testing.assert_close(conditional_plan(cost, epsilon), kernel, rtol=1e-3, atol=1e-5)


def test_plan_is_finite_where_the_kernel_underflows() -> None:
    x0, x1 = clouds(25, 25)
    x1[0, 0] += 300.0  # one far outlier: exp(−cost/ε) is 0 in float32 for its column
    plan = conditional_plan(relative_cost(x0, x1), 0.005)
    assert torch.isfinite(plan).all()
    torch.testing.assert_close(plan.sum(2), torch.ones(1, 25))


def test_pairs_follow_the_plan() -> None:
    x0, x1 = clouds(6, 6)
    plan = conditional_plan(relative_cost(x0, x1), 0.5)[0]
    generator, n_draws = torch.Generator().manual_seed(0), 4000
    counts = torch.zeros(6, 6)
    for _ in range(n_draws):
        partners = couple(x0, x1, torch.rand(1, 6, generator=generator), "sinkhorn", 0.5)
        counts[torch.arange(6), partners[0]] += 1
    assert (counts.sum(1) == n_draws).all()
    deviation = (counts / n_draws - plan) / (plan * (1 - plan) / n_draws).sqrt().clamp(min=1e-3)
    assert deviation.abs().max() < 5


@pytest.mark.parametrize("extreme", [0.0, 1 - 2**-24])
def test_extreme_uniforms_stay_in_range(extreme: float) -> None:
    x0, x1 = clouds(50, 50)
    for epsilon in (1.0, 0.005):
        partners = couple(x0, x1, torch.full((1, 50), extreme), "sinkhorn", epsilon)
        assert int(partners.min()) >= 0 and int(partners.max()) < 50


def test_exact_is_the_cheapest_permutation() -> None:
    x0, x1 = clouds(40, 40)
    partners = couple(x0, x1, torch.rand(1, 40), "exact", 1.0)[0]
    assert sorted(partners.tolist()) == list(range(40))
    cost = ot.dist(x0[0].double().numpy(), x1[0].double().numpy())
    ours = cost[np.arange(40), partners.numpy()].mean()
    assert ours == pytest.approx(ot.emd2(ot.unif(40), ot.unif(40), cost), rel=1e-5)


def test_small_epsilon_approaches_exact() -> None:
    x0, x1 = clouds(40, 40)
    cost = relative_cost(x0, x1)
    exact = couple(x0, x1, torch.rand(1, 40), "exact", 1.0)[0]
    plan = conditional_plan(cost, 0.003) / 40
    assert float((plan * cost).sum()) == pytest.approx(float(cost[0, torch.arange(40), exact].mean()), rel=0.02)


def test_none_keeps_the_order() -> None:
    assert couple(*clouds(5, 5), torch.rand(1, 5), "none", 1.0).tolist() == [[0, 1, 2, 3, 4]]


@pytest.mark.parametrize("kind", ["sinkhorn", "exact"])
def test_autocast_changes_no_pair(kind: str) -> None:
    x0, x1 = clouds(30, 30)
    uniforms = torch.rand(1, 30)
    plain = couple(x0, x1, uniforms, kind, 0.5)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(couple(x0, x1, uniforms, kind, 0.5), plain)


def test_equal_cells_couple_without_nan() -> None:
    same = torch.ones(1, 8, 3)
    partners = couple(same, same, torch.linspace(0, 0.99, 8)[None], "sinkhorn", 1.0)
    assert partners[0].tolist() == list(range(8))  # a flat plan: the column is ⌊8u⌋


@pytest.mark.parametrize("kind, epsilon", [("sinkhorn", 1.0), ("sinkhorn", 0.02), ("exact", 1.0)])
def test_groups_are_coupled_one_by_one(kind: str, epsilon: float) -> None:
    clouds_of = [clouds(20, 20, seed) for seed in range(3)]
    x0, x1 = (torch.cat(part) for part in zip(*clouds_of, strict=True))
    uniforms = torch.rand(3, 20, generator=torch.Generator().manual_seed(1))
    together = couple(x0, x1 * torch.tensor([1.0, 5.0, 0.1])[:, None, None], uniforms, kind, epsilon)
    for group, scale in enumerate((1.0, 5.0, 0.1)):
        alone = couple(x0[[group]], scale * x1[[group]], uniforms[[group]], kind, epsilon)
        # Groups stop together, so that one of them may iterate longer than it would alone.
        assert (together[group] == alone[0]).float().mean() >= 0.9


def test_unchecked_iterations_reach_the_same_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an accelerator computes: no look at the marginal in between."""
    cost = relative_cost(*clouds(40, 40))
    wanted = conditional_plan(cost, 0.1)
    monkeypatch.setattr(coupling, "KERNEL_RANGE", 1.0)
    monkeypatch.setattr(coupling, "_settled", lambda mass: False)
    monkeypatch.setattr(coupling, "MAX_ITERATIONS", coupling.UNCHECKED_ITERATIONS)
    torch.testing.assert_close(conditional_plan(cost, 0.1), wanted, rtol=5e-2, atol=1e-4)
