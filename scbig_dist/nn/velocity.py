"""The velocity field of the flow: (time, state, condition) → velocity."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from scbig_dist.config import FlowConfig

MAX_FREQUENCY = 100.0  # radians per unit of time; higher ones make the ODE stiff for no gain


class TimeFeatures(nn.Module):
    """Cosines and sines of t at `width`/2 frequencies, geometric from 1 to 100 radians per unit of time."""

    frequencies: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        exponents = torch.linspace(0, math.log(MAX_FREQUENCY), width // 2)
        self.register_buffer("frequencies", exponents.exp(), persistent=False)

    def forward(self, t: Float[Tensor, " cell"]) -> Float[Tensor, "cell width"]:
        angles = t[:, None] * self.frequencies
        return torch.cat([angles.cos(), angles.sin()], 1)


class VelocityField(nn.Module):
    """Time and state through an MLP each, joined with the condition by a third."""

    def __init__(self, latent_dim: int, config: FlowConfig) -> None:
        super().__init__()
        width, dropout = config.width, config.dropout
        self.sizes = [width, width, config.condition_dim]
        self.time = nn.Sequential(TimeFeatures(width), *_layer(width, width, dropout), *_layer(width, width, dropout))
        self.state = nn.Sequential(*_layer(latent_dim, width, dropout), *_layer(width, width, dropout))
        self.join = nn.Linear(sum(self.sizes), width)
        self.head = nn.Sequential(
            nn.SiLU(), nn.Dropout(dropout), *_layer(width, width, dropout), nn.Linear(width, latent_dim)
        )

    def forward(
        self,
        t: Float[Tensor, " #cell"] | Float[Tensor, ""],
        x: Float[Tensor, "cell latent"],
        condition: Float[Tensor, "#cell d"] | Float[Tensor, " d"],
    ) -> Float[Tensor, "cell latent"]:
        """Velocities; a scalar `t` or a single condition vector is shared by all cells and computed once."""
        # The join is one linear map of the concatenation, taken apart so that shared parts stay one row.
        for_time, for_state, for_condition = self.join.weight.split(self.sizes, 1)
        joined = F.linear(self.state(x), for_state, self.join.bias)
        joined = joined + F.linear(self.time(t.reshape(-1)), for_time)
        joined = joined + F.linear(condition, for_condition)
        return self.head(joined)


def _layer(n_in: int, n_out: int, dropout: float) -> list[nn.Module]:
    return [nn.Linear(n_in, n_out), nn.SiLU(), nn.Dropout(dropout)]
