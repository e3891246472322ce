"""Post-norm attention blocks over module tokens (SPEC: induced and plain)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scbig_dist.nn.attention import Attention


class FeedForward(nn.Module):
    """Residual MLP d → 2d → d with GELU and dropout, normalised afterwards."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.expand = nn.Linear(width, 2 * width)
        self.contract = nn.Linear(2 * width, width)
        self.dropout = nn.Dropout(dropout)
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
        shared = self.points.expand(tokens.shape[0], -1, -1)
        gathered = self.gather.gather(self.points, tokens) if self.absorb else self.gather(shared, tokens)
        points = self.gather_norm(shared + gathered)
        points = self.mix_norm(points + self.mix(points, points))
        spread = self.spread.spread(tokens, points) if self.absorb else self.spread(tokens, points)
        return self.feed_forward(self.spread_norm(tokens + spread))


class PlainBlock(nn.Module):
    """Full self-attention among the tokens."""

    def __init__(self, width: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = Attention(width, n_heads)
        self.norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, dropout)

    def forward(self, tokens: Float[Tensor, "cell token d"]) -> Float[Tensor, "cell token d"]:
        return self.feed_forward(self.norm(tokens + self.attention(tokens, tokens)))
