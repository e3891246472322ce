"""Normals, masks and gradient reversal against torch.distributions and finite differences."""

from __future__ import annotations

import torch
from torch.distributions import Bernoulli, Normal, kl_divergence

from scbig_dist.nn.gaussian import LOG_SD, Gaussian
from scbig_dist.nn.masks import draw_mask, mask_divergence
from scbig_dist.nn.reversal import reverse_gradient


def test_divergence_is_that_of_torch() -> None:
    torch.manual_seed(0)
    given = Gaussian(torch.randn(5, 3), torch.randn(5, 3))
    wanted = kl_divergence(Normal(given.mean, given.log_sd.exp()), Normal(0.0, 1.0)).sum(-1)
    torch.testing.assert_close(given.divergence(), wanted)


def test_draws_have_the_mean_and_the_deviation() -> None:
    torch.manual_seed(0)
    given = Gaussian(torch.full((20_000, 2), 3.0), torch.full((20_000, 2), 0.5).log())
    draws = given.draw()
    torch.testing.assert_close(draws.mean(0), torch.full((2,), 3.0), atol=0.02, rtol=0)
    torch.testing.assert_close(draws.std(0), torch.full((2,), 0.5), atol=0.02, rtol=0)


def test_deviations_stay_within_bounds() -> None:
    parts = torch.tensor([[0.0, 1.0, -50.0, 50.0]])
    given = Gaussian.from_parts(parts)
    assert given.mean.tolist() == [[0.0, 1.0]]
    assert given.log_sd.tolist() == [list(LOG_SD)]


def test_mask_divergence_is_that_of_torch() -> None:
    logits = torch.linspace(-6, 6, 12).view(4, 3)
    wanted = kl_divergence(Bernoulli(logits=logits), Bernoulli(torch.tensor(0.1))).sum(-1)
    torch.testing.assert_close(mask_divergence(logits, 0.1), wanted, rtol=1e-4, atol=1e-5)
    assert torch.isfinite(mask_divergence(torch.tensor([[60.0, -60.0]]), 0.001)).all()


def test_masks_are_zero_or_one_with_their_probability() -> None:
    torch.manual_seed(0)
    logits = torch.tensor([-2.0, 0.0, 1.0]).expand(20_000, 3)
    mask = draw_mask(logits)
    assert torch.equal(mask, mask.round())
    torch.testing.assert_close(mask.mean(0), torch.sigmoid(logits[0]), atol=0.015, rtol=0)


def test_masks_pass_a_gradient_that_points_the_right_way() -> None:
    torch.manual_seed(0)
    logits = torch.zeros(1000, 1, requires_grad=True)
    (draw_mask(logits).mean()).backward()
    assert (logits.grad > 0).all()


def test_reversal_changes_the_gradient_alone() -> None:
    x = torch.tensor([1.0, -2.0], requires_grad=True)
    out = reverse_gradient(x, 0.5)
    assert torch.equal(out, x)
    (3 * out).sum().backward()
    assert x.grad.tolist() == [-1.5, -1.5]
