"""Multi-head attention with bias-free queries, keys and values, and its two absorbed forms."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from scbig_dist.nn.products import grouped_linear, product_nt


class Attention(nn.Module):
    """Attention of one set over another; three forms of one function.

    `forward` projects both sides. `gather` and `spread` are the same function where one
    side has few points: projections of the many tokens are multiplied into the side of
    the few, which saves work while points × heads < width.
    """

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        assert width % n_heads == 0
        self.n_heads = n_heads
        self.head_width = width // n_heads
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(
        self,
        queries: Float[Tensor, "cell query d"],
        tokens: Float[Tensor, "cell token d"],
        mask: Bool[Tensor, "cell token"] | None = None,
    ) -> Float[Tensor, "cell query d"]:
        """Queries attend to tokens; `mask` is true where a token may be seen, at least one per row."""
        q, k, v = self._split(self.query(queries)), self._split(self.key(tokens)), self._split(self.value(tokens))
        allowed = None if mask is None else mask[:, None, None, :]
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def gather(
        self, points: Float[Tensor, "point d"], tokens: Float[Tensor, "cell token d"]
    ) -> Float[Tensor, "cell point d"]:
        """Points that all cells share attend to many tokens, which are never projected."""
        n_cells, (n_points, width) = (
            len(tokens),
            points.shape,
        )  # sizes in full: a part of a short batch may have no cell
        q = self.query(points).unflatten(1, (self.n_heads, -1)) * self.head_width**-0.5
        folded = torch.einsum("phe,hed->phd", q, self._heads(self.key))
        weights = (tokens @ folded.flatten(0, 1).T).softmax(1)  # (cell, token, point·head)
        mixed = (weights.transpose(1, 2) @ tokens).view(n_cells * n_points, self.n_heads, width)
        values = grouped_linear(mixed, self._heads(self.value))
        return self.out(values.view(n_cells, n_points, width))

    def spread(
        self, tokens: Float[Tensor, "cell token d"], points: Float[Tensor, "cell point d"]
    ) -> Float[Tensor, "cell token d"]:
        """Many tokens attend to few points of their cell; tokens are never projected."""
        n_cells, n_points, width = points.shape
        each, rows = (n_cells * n_points, self.n_heads, self.head_width), (n_cells, n_points * self.n_heads, width)
        k = (self.key(points) * self.head_width**-0.5).view(each)
        v = self.value(points).view(each)
        keys = grouped_linear(k, self._heads(self.query).transpose(1, 2)).view(rows)
        values = grouped_linear(v, self.out.weight.unflatten(1, (self.n_heads, -1)).transpose(0, 1))
        logits = product_nt(tokens, keys)  # (cell, token, point·head)
        weights = logits.unflatten(2, (n_points, self.n_heads)).softmax(2).flatten(2)
        return weights @ values.view(rows) + self.out.bias

    def weights(
        self, queries: Float[Tensor, "cell query d"], tokens: Float[Tensor, "cell token d"]
    ) -> Float[Tensor, "cell query token"]:
        """What each query takes from each token, averaged over heads: rows of sum 1. To be read; no form above needs it."""
        q, k = self._split(self.query(queries)), self._split(self.key(tokens))
        return (q @ k.transpose(2, 3) * self.head_width**-0.5).softmax(3).mean(1)

    def _split(self, x: Float[Tensor, "cell token d"]) -> Float[Tensor, "cell head token e"]:
        return x.unflatten(2, (self.n_heads, self.head_width)).transpose(1, 2)

    def _heads(self, linear: nn.Linear) -> Float[Tensor, "head e d"]:
        return linear.weight.unflatten(0, (self.n_heads, self.head_width))
