"""Between a module's expression and its token: one linear map per module, or one for all."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scbig_dist.nn.modules import ModuleLayout
from scbig_dist.nn.products import grouped_linear


class GenesToTokens(nn.Module):
    """Expression (centred) → one token per module."""

    def __init__(self, layout: ModuleLayout, width: int, shared: bool) -> None:
        super().__init__()
        self.layout = layout
        n_maps = 1 if shared else layout.n_modules
        fan_in = torch.full((1,), layout.width) if shared else layout.sizes
        bound = (fan_in.float() ** -0.5)[:, None, None]  # torch's default for a linear map of a module's own size
        self.weight = nn.Parameter(torch.empty(n_maps, layout.width, width).uniform_(-1, 1) * bound)
        self.bias = nn.Parameter(torch.empty(n_maps, width).uniform_(-1, 1) * bound[:, 0])

    def forward(self, x: Float[Tensor, "cell gene"]) -> Float[Tensor, "cell module d"]:
        grid = self.layout.pad(x)
        if len(self.weight) == 1:
            return grid @ self.weight[0] + self.bias
        return grouped_linear(grid, self.weight.transpose(1, 2)) + self.bias


class TokensToGenes(nn.Module):
    """One token per module → expression (centred)."""

    def __init__(self, layout: ModuleLayout, width: int, shared: bool) -> None:
        super().__init__()
        self.layout = layout
        n_maps = 1 if shared else layout.n_modules
        bound = width**-0.5
        self.weight = nn.Parameter(torch.empty(n_maps, width, layout.width).uniform_(-bound, bound))
        # Zero: the training mean of the genes is added behind this map.
        self.bias = nn.Parameter(torch.zeros(layout.n_modules, layout.width))

    def forward(self, tokens: Float[Tensor, "cell module d"]) -> Float[Tensor, "cell gene"]:
        if len(self.weight) == 1:
            grid = tokens @ self.weight[0] + self.bias
        else:
            grid = grouped_linear(tokens, self.weight.transpose(1, 2)) + self.bias
        return self.layout.unpad(grid)
