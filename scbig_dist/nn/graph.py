"""A graph convolution over lists of neighbours."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn


class GraphConvolution(nn.Module):
    """Each node becomes a linear map of the weighted mean of itself (weight 1) and its neighbours.

    Neighbours are listed by row, -1 where there are fewer. A node that does not `carry` adds
    nothing to any mean, its own included: it is then the mean of its neighbours alone. A node
    without a carrying neighbour that does not carry either has nothing (`reached` is False).
    """

    index: Tensor
    share: Tensor
    reached: Tensor

    def __init__(
        self,
        graph: Int[Tensor, "node neighbour"],
        weight: Float[Tensor, "node neighbour"],
        carry: Bool[Tensor, " node"],
        n_in: int,
        n_out: int,
    ) -> None:
        super().__init__()
        own = torch.arange(len(graph), device=graph.device)[:, None]
        index = torch.cat([own, graph.where(graph >= 0, own)], 1)
        raw = torch.cat([torch.ones_like(own, dtype=weight.dtype), weight.where(graph >= 0, 0.0)], 1)
        raw = raw * carry[index]
        total = raw.sum(1, keepdim=True)
        # Made of a model's inputs, which are saved beside its weights.
        self.register_buffer("index", index, persistent=False)
        self.register_buffer("share", raw / total.where(total > 0, 1.0), persistent=False)
        self.register_buffer("reached", total[:, 0] > 0, persistent=False)
        self.linear = nn.Linear(n_in, n_out)

    def forward(self, nodes: Float[Tensor, "node i"]) -> Float[Tensor, "node o"]:
        return self.linear((nodes[self.index] * self.share[..., None]).sum(1))
