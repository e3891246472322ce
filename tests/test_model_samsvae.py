"""samsVAE in worlds of sparse latent shifts: it beats what adds in expression, and finds who moves what."""

from __future__ import annotations

import torch
from baseline_cases import World, correlation, error, fit, latent_world, predicted_shifts, references
from scipy.optimize import linear_sum_assignment
from torch.distributions import Bernoulli, Normal, kl_divergence

from scbig_dist.models.samsvae import SamsVAE, TargetShifts

N_TARGETS, LATENT, N_GENES = 20, 8, 60
VALUES = {
    "baseline.width": 64, "baseline.latent_dim": LATENT, "baseline.lr": 3e-3, "baseline.steps": 1500,
    "baseline.n_layers": 1, "baseline.batch": 128, "baseline.sparsity": 0.1,
}  # fmt: skip


def sparse_world(mix: float, noise: float) -> tuple[World, torch.Tensor]:
    """Every target moves one or two of eight latent dimensions, far; each dimension has genes of its own, logistic in it.

    `mix` is what other dimensions add to a gene. Also the mask, (target, latent).
    """
    generator = torch.Generator().manual_seed(0)
    mask = torch.zeros(N_TARGETS, LATENT)
    for target in range(N_TARGETS):
        mask[target, torch.randperm(LATENT, generator=generator)[: 1 + target % 2]] = 1.0
    sign = torch.where(torch.rand(mask.shape, generator=generator) < 0.5, -1.0, 1.0)
    effects = mask * sign * (2.5 + 0.5 * torch.rand(mask.shape, generator=generator))
    loadings = mix * torch.randn(LATENT, N_GENES, generator=generator)
    gene = torch.arange(N_GENES)
    loadings[gene % LATENT, gene] += torch.where(torch.rand(N_GENES, generator=generator) < 0.5, -1.0, 1.0)
    level = 0.5 * torch.randn(N_GENES, generator=generator)
    decode = lambda z: 2 * torch.sigmoid(1.5 * (z @ loadings) + level)  # noqa: E731
    return latent_world(effects, decode, generator, noise=noise), mask


def test_it_beats_what_adds_in_expression() -> None:
    world, _ = sparse_world(mix=0.15, noise=0.2)
    # Near the evidence bound's own weights: twice the noise's variance, and one over the cells per target.
    values = VALUES | {"baseline.lr": 5e-3, "baseline.kl_weight": 0.16, "baseline.effect_weight": 0.003}
    found = predicted_shifts(fit(SamsVAE, world, world.inputs(), values), world, world.held_out)
    for name, other in references(world, world.held_out).items():
        assert error(found, world.truth) < 0.85 * error(other, world.truth), name
    assert correlation(found, world.truth) > 0.965


def test_it_finds_the_planted_shifts() -> None:
    """Its dimensions come in an order of their own: they are matched to the planted ones first."""
    world, mask = sparse_world(mix=0.0, noise=0.3)
    values = VALUES | {"baseline.kl_weight": 0.18, "baseline.effect_weight": 0.015, "baseline.steps": 800}
    shifts = fit(SamsVAE, world, world.inputs(), values).shifts
    on = (shifts.mask > 0.5).float().detach()
    together = mask.T @ on
    planted, found = linear_sum_assignment(-together.numpy())
    n_found = together[planted, found].sum()
    assert n_found > 0.9 * mask.sum()
    assert on.sum() < 2 * mask.sum(), "of 8 dimensions 1.5 are planted per target, and 4 are open before training"
    energy = shifts.expected().detach().square()
    assert energy.topk(2, dim=1).values.sum() > 0.88 * energy.sum()


def test_divergence_of_shifts_is_that_of_torch() -> None:
    """Spike and slab: where the mask is off an effect has its prior and costs nothing."""
    torch.manual_seed(0)
    shifts = TargetShifts(5, 3, prior=0.2)
    with torch.no_grad():
        for parameter in shifts.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    effect = shifts.effect
    slab = kl_divergence(Normal(effect.mean, effect.log_sd.exp()), Normal(0.0, 1.0))
    wanted = kl_divergence(Bernoulli(shifts.mask), Bernoulli(torch.tensor(0.2))) + shifts.mask * slab
    torch.testing.assert_close(shifts.divergence(), wanted.sum(1), rtol=1e-4, atol=1e-4)


def test_expected_shifts_are_the_mean_of_draws() -> None:
    torch.manual_seed(0)
    shifts = TargetShifts(4, 3, prior=0.1)
    with torch.no_grad():
        shifts.slow_mean.normal_(0, 0.2)
        shifts.slow_logit.normal_(0, 0.2)
        mean = torch.stack([shifts.draw() for _ in range(4000)]).mean(0)
    torch.testing.assert_close(mean, shifts.expected().detach(), atol=0.12, rtol=0)
