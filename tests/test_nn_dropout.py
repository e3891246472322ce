"""Dropout: its rate, its independence, its gradient, and that the generator decides."""

from __future__ import annotations

import pytest
import torch

from scbig_dist.nn.dropout import Dropout


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_drops_a_share_and_keeps_the_mean(p: float) -> None:
    torch.manual_seed(0)
    out = Dropout(p)(torch.ones(400_001))  # no multiple of four
    dropped = (out == 0).double().mean().item()
    assert abs(dropped - p) < 5 * (p * (1 - p) / 400_001) ** 0.5 + 2**-17
    kept = out[out != 0].unique()
    assert len(kept) == 1 and abs(kept.item() - 1 / (1 - p)) < 1e-4 / (1 - p)


def test_neighbours_are_independent() -> None:
    torch.manual_seed(1)
    kept = (Dropout(0.3)(torch.ones(100_000, 8)) != 0).double()
    correlation = torch.corrcoef(kept.T) - torch.eye(8, dtype=torch.float64)
    assert correlation.abs().max() < 5 / 100_000**0.5


def test_gradient_passes_where_a_value_passed() -> None:
    torch.manual_seed(2)
    x = torch.randn(50, 3, requires_grad=True)
    out = Dropout(0.4)(x)
    out.backward(torch.full_like(out, 2.0))
    torch.testing.assert_close(x.grad, torch.where(out == 0, 0.0, 2 * out / x).detach())


def test_the_seed_decides_and_evaluation_is_the_identity() -> None:
    layer, x = Dropout(0.2), torch.randn(64, 64)
    first, other = ([torch.manual_seed(seed), layer(x)][1] for seed in (3, 4))
    torch.manual_seed(3)
    assert torch.equal(layer(x), first) and not torch.equal(first, other)
    layer.eval()
    assert layer(x) is x
    assert Dropout(0.0)(x) is x


def test_a_probability_close_to_one_rounds_below_it() -> None:
    out = Dropout(1 - 1e-7)(torch.ones(1000))
    assert torch.isfinite(out).all()
