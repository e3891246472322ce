"""Attention: absorbed forms equal the plain one, which equals a loop and torch's own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from scbig_dist.nn.attention import Attention
from scbig_dist.nn.blocks import InducedBlock, PlainBlock


@pytest.fixture
def attention() -> Attention:
    torch.manual_seed(0)
    return Attention(24, 4).double()


def reference(attention: Attention, queries: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """torch.nn.MultiheadAttention with the same weights."""
    other = nn.MultiheadAttention(24, 4, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        other.in_proj_weight.copy_(torch.cat([attention.query.weight, attention.key.weight, attention.value.weight]))
        other.in_proj_bias.zero_()
        other.out_proj.weight.copy_(attention.out.weight)
        other.out_proj.bias.copy_(attention.out.bias)
    return other(queries, tokens, tokens)[0]


def test_forward_equals_torch(attention: Attention) -> None:
    queries, tokens = torch.randn(3, 5, 24).double(), torch.randn(3, 7, 24).double()
    torch.testing.assert_close(attention(queries, tokens), reference(attention, queries, tokens))


def test_masked_tokens_are_not_seen(attention: Attention) -> None:
    queries, tokens = torch.randn(3, 2, 24).double(), torch.randn(3, 7, 24).double()
    mask = torch.arange(7) < 4
    masked = attention(queries, tokens, mask.expand(3, -1))
    torch.testing.assert_close(masked, attention(queries, tokens[:, :4]))


def test_gather_equals_forward(attention: Attention) -> None:
    points, tokens = torch.randn(3, 24).double(), torch.randn(5, 9, 24).double()
    naive = attention(points.expand(5, -1, -1), tokens)
    torch.testing.assert_close(attention.gather(points, tokens), naive, rtol=1e-10, atol=1e-12)


def test_spread_equals_forward(attention: Attention) -> None:
    tokens, points = torch.randn(5, 9, 24).double(), torch.randn(5, 3, 24).double()
    torch.testing.assert_close(attention.spread(tokens, points), attention(tokens, points), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 2e-6), (torch.float64, 1e-12)])
def test_absorbed_block_equals_naive_block(dtype: torch.dtype, tolerance: float) -> None:
    torch.manual_seed(1)
    block = InducedBlock(64, 4, 3, dropout=0.0).to(dtype)
    tokens = torch.randn(6, 20, 64, dtype=dtype)
    assert block.absorb
    absorbed = block(tokens)
    slopes = torch.autograd.grad(absorbed.square().sum(), list(block.parameters()))
    block.absorb = False
    naive = block(tokens)
    torch.testing.assert_close(absorbed, naive, rtol=tolerance, atol=tolerance)
    for one, other in zip(slopes, torch.autograd.grad(naive.square().sum(), list(block.parameters())), strict=True):
        torch.testing.assert_close(one, other, rtol=1e3 * tolerance, atol=1e3 * tolerance)


def test_block_stops_absorbing_where_it_would_cost_more() -> None:
    assert InducedBlock(32, 4, 7, 0.0).absorb
    assert not InducedBlock(32, 4, 8, 0.0).absorb


@pytest.mark.parametrize("block", [InducedBlock(16, 2, 3, 0.0), InducedBlock(16, 2, 9, 0.0), PlainBlock(16, 2, 0.0)])
def test_block_does_not_depend_on_token_order(block: nn.Module) -> None:
    tokens, order = torch.randn(2, 6, 16), torch.randperm(6)
    torch.testing.assert_close(block(tokens)[:, order], block(tokens[:, order]), rtol=1e-4, atol=1e-5)


def test_gradients_of_absorbed_forms(attention: Attention) -> None:
    points = torch.randn(2, 24, dtype=torch.float64, requires_grad=True)
    own_points = torch.randn(2, 2, 24, dtype=torch.float64, requires_grad=True)
    tokens = torch.randn(2, 3, 24, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(attention.gather, (points, tokens))
    assert torch.autograd.gradcheck(attention.spread, (tokens, own_points))


def test_projections_carry_no_bias(attention: Attention) -> None:
    names = {name for name, _ in attention.named_parameters()}
    assert names == {"query.weight", "key.weight", "value.weight", "out.weight", "out.bias"}
