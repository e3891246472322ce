"""samsVAE in a world of sparse latent shifts: it wins there, and finds how sparse they are."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from baseline_cases import World, correlation, error, fit, latent_world, predicted_shifts, references

from scbig_dist.models.samsvae import SamsVAE

N_TARGETS, LATENT = 20, 8
VALUES = {
    "baseline.width": 64, "baseline.latent_dim": LATENT, "baseline.lr": 3e-3, "baseline.steps": 1500,
    "baseline.kl_weight": 0.08, "baseline.sparsity": 0.1, "baseline.effect_weight": 0.05,
}  # fmt: skip


def sparse_world() -> tuple[World, torch.Tensor]:
    """Every target moves one or two of eight latent dimensions, far; genes are floored at zero."""
    generator = torch.Generator().manual_seed(0)
    mask = torch.zeros(N_TARGETS, LATENT)
    for target in range(N_TARGETS):
        n = 1 + target % 2
        mask[target, torch.randperm(LATENT, generator=generator)[:n]] = 1.0
    sign = torch.where(torch.rand(N_TARGETS, LATENT, generator=generator) < 0.5, -1.0, 1.0)
    effects = mask * sign * (2.5 + 0.5 * torch.rand(N_TARGETS, LATENT, generator=generator))
    loadings = torch.randn(LATENT, 60, generator=generator) / LATENT**0.5
    level = torch.rand(60, generator=generator)
    return latent_world(effects, lambda z: torch.relu(z @ loadings + level), generator), mask


@pytest.fixture(scope="module")
def fitted() -> tuple[Any, World, torch.Tensor]:
    world, mask = sparse_world()
    return fit(SamsVAE, world, world.inputs(), VALUES), world, mask


def test_it_beats_what_adds_in_expression(fitted: Any) -> None:
    model, world, _ = fitted
    found = predicted_shifts(model, world, world.held_out)
    for name, other in references(world, world.held_out).items():
        print(name, error(other, world.truth), correlation(other, world.truth) if name != "control" else 0)
    print("sams", error(found, world.truth), correlation(found, world.truth))
    print(torch.sigmoid(model.shifts.mask_logit).mean(), (torch.sigmoid(model.shifts.mask_logit) > 0.5).float().sum(1))
