"""Post-norm attention blocks over module tokens: induced, plain, and lean."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from scbig_dist.config import GCAEConfig
from scbig_dist.nn.attention import Attention
from scbig_dist.nn.dropout import Dropout


class FeedForward(nn.Module):
    """Residual MLP d → 2d → d with GELU and dropout, normalised afterwards."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.expand = nn.Linear(width, 2 * width)
        self.contract = nn.Linear(2 * width, width)
        self.dropout = Dropout(dropout)
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Float[Tensor, "cell token d"]) -> Float[Tensor, "cell token d"]:
        hidden = self.contract(nn.functional.gelu(self.expand(tokens)))
        return self.norm(tokens + self.dropout(hidden))


class InducedBlock(nn.Module):
    """Tokens exchange information through `n_inducing` learned points: linear in the number of tokens."""

    def __init__(self, width: int, n_heads: int, n_inducing: int, dropout: float) -> None:
        super().__init__()
        self.points = nn.Parameter(torch.empty(n_inducing, width).normal_(0, 0.02))
        self.gather = Attention(width, n_heads)
        self.mix = Attention(width, n_heads)
        self.spread = Attention(width, n_heads)
        self.gather_norm = nn.LayerNorm(width)
        self.mix_norm = nn.LayerNorm(width)
        self.spread_norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, dropout)
        self.absorb = n_inducing * n_heads < width  # beyond, projecting the tokens is cheaper

    def forward(self, tokens: Float[Tensor, "cell token d"]) -> Float[Tensor, "cell token d"]:
        points = self._points(tokens)
        spread = self.spread.spread(tokens, points) if self.absorb else self.spread(tokens, points)
        return self.feed_forward(self.spread_norm(tokens + spread))

    def weights(self, tokens: Float[Tensor, "cell token d"]) -> Float[Tensor, "cell token token"]:
        """What each token (row) takes from each token through the points, rows of sum 1: spread · gather.

        Each factor is averaged over its heads, which equals the average over all pairs of heads.
        The mixing among the points between them is left out.
        """
        shared = self.points.expand(tokens.shape[0], -1, -1)
        return self.spread.weights(tokens, self._points(tokens)) @ self.gather.weights(shared, tokens)

    def _points(self, tokens: Float[Tensor, "cell token d"]) -> Float[Tensor, "cell point d"]:
        shared = self.points.expand(tokens.shape[0], -1, -1)
        gathered = self.gather.gather(self.points, tokens) if self.absorb else self.gather(shared, tokens)
        points = self.gather_norm(shared + gathered)
        return self.mix_norm(points + self.mix(points, points))


class PlainBlock(nn.Module):
    """Full self-attention among the tokens."""

    def __init__(self, width: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = Attention(width, n_heads)
        self.norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, dropout)

    def forward(self, tokens: Float[Tensor, "cell token d"]) -> Float[Tensor, "cell token d"]:
        return self.feed_forward(self.norm(tokens + self.attention(tokens, tokens)))

    def weights(self, tokens: Float[Tensor, "cell token d"]) -> Float[Tensor, "cell token token"]:
        """What each token (row) takes from each, averaged over heads; rows of sum 1."""
        return self.attention.weights(tokens, tokens)


class LeanBlock(nn.Module):
    """One block for a whole stack: tokens enter once, the points are processed, tokens are written once.

    `n_blocks` plain blocks work on the `n_inducing` points; a token meets no MLP, so that many
    tokens cost little (Jaegle et al. 2021, Perceiver IO, with tokens as their own output queries).
    """

    def __init__(self, width: int, n_heads: int, n_inducing: int, n_blocks: int, dropout: float) -> None:
        super().__init__()
        self.points = nn.Parameter(torch.empty(n_inducing, width).normal_(0, 0.02))
        self.gather = Attention(width, n_heads)
        self.gather_norm = nn.LayerNorm(width)
        self.process = nn.Sequential(*(PlainBlock(width, n_heads, dropout) for _ in range(n_blocks)))
        self.spread = Attention(width, n_heads)
        self.spread_norm = nn.LayerNorm(width)

    def forward(self, tokens: Float[Tensor, "cell token d"]) -> Float[Tensor, "cell token d"]:
        return self.spread_norm(tokens + self.spread.spread(tokens, self._points(tokens)))

    def weights(self, tokens: Float[Tensor, "cell token d"]) -> Float[Tensor, "cell token token"]:
        """As in `InducedBlock`: spread · gather, the processing between them left out."""
        shared = self.points.expand(tokens.shape[0], -1, -1)
        return self.spread.weights(tokens, self._points(tokens)) @ self.gather.weights(shared, tokens)

    def _points(self, tokens: Float[Tensor, "cell token d"]) -> Float[Tensor, "cell point d"]:
        return self.process(self.gather_norm(self.points + self.gather.gather(self.points, tokens)))


class Blocks(nn.Sequential):
    """Blocks one after another; with `recompute` a backward pass computes each again instead of keeping it."""

    def __init__(self, *blocks: nn.Module, recompute: bool = False) -> None:
        super().__init__(*blocks)
        self.recompute = recompute

    def forward(self, tokens: Float[Tensor, "cell token d"]) -> Float[Tensor, "cell token d"]:
        for block in self:
            if self.recompute and torch.is_grad_enabled():
                tokens = checkpoint(block, tokens, use_reentrant=False)
            else:
                tokens = block(tokens)
        return tokens

    def weights(self, tokens: Float[Tensor, "cell token d"]) -> Float[Tensor, "cell token token"]:
        """The blocks' attention from token (row) to token, averaged over blocks; to be read, not trained through."""
        maps = []
        block: Any
        for block in self:
            maps.append(block.weights(tokens))
            tokens = block(tokens)
        return torch.stack(maps).mean(0)


def build_blocks(config: GCAEConfig, recompute: bool) -> Blocks:
    """The stack that `gcae.encoder` and `gcae.block` name."""
    width, heads, dropout = config.width, config.n_heads, config.dropout
    if config.block == "lean":
        return Blocks(LeanBlock(width, heads, config.n_inducing, config.n_blocks, dropout), recompute=recompute)

    def block() -> nn.Module:
        if config.encoder == "plain":
            return PlainBlock(width, heads, dropout)
        return InducedBlock(width, heads, config.n_inducing, dropout)

    return Blocks(*(block() for _ in range(config.n_blocks)), recompute=recompute)
