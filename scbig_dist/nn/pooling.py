"""From a cell's tokens to one vector: mean, attention and set-transformer pooling, or none."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scbig_dist.nn.attention import Attention
from scbig_dist.nn.blocks import FeedForward, PlainBlock

N_SEEDS = 4  # of set-transformer pooling


class MeanPooling(nn.Module):
    """The mean over tokens."""

    def forward(self, tokens: Float[Tensor, "cell token d"]) -> Float[Tensor, "cell d"]:
        return tokens.mean(1)


class AttentionPooling(nn.Module):
    """One learned seed attends to the tokens."""

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.seed = nn.Parameter(torch.empty(1, width).normal_(0, 0.02))
        self.attention = Attention(width, n_heads)
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Float[Tensor, "cell token d"]) -> Float[Tensor, "cell d"]:
        return self.norm(self.seed + self.attention.gather(self.seed, tokens)[:, 0])


class SetTransformerPooling(nn.Module):
    """Several seeds attend to the tokens, then to each other, then are averaged (Lee et al. 2019, PMA and SAB)."""

    def __init__(self, width: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.seeds = nn.Parameter(torch.empty(N_SEEDS, width).normal_(0, 0.02))
        self.attention = Attention(width, n_heads)
        self.norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, dropout)
        self.mix = PlainBlock(width, n_heads, dropout)

    def forward(self, tokens: Float[Tensor, "cell token d"]) -> Float[Tensor, "cell d"]:
        seeds = self.norm(self.seeds + self.attention.gather(self.seeds, tokens))
        return self.mix(self.feed_forward(seeds)).mean(1)


class NoPooling(nn.Module):
    """All tokens side by side, for a map that treats each by itself."""

    def forward(self, tokens: Float[Tensor, "cell token d"]) -> Float[Tensor, "cell token*d"]:
        return tokens.flatten(1)


def build_pooling(kind: str, width: int, n_heads: int, dropout: float) -> nn.Module:
    """The pooling that `gcae.pooling` names."""
    if kind == "flat":
        return NoPooling()
    if kind == "mean":
        return MeanPooling()
    if kind == "attention":
        return AttentionPooling(width, n_heads)
    assert kind == "set_transformer", kind
    return SetTransformerPooling(width, n_heads, dropout)
