"""The velocity field of the flow: (time, state, condition) → velocity."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scbig_dist.config import FlowConfig
from scbig_dist.nn.dropout import Dropout

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
        self.time = nn.Sequential(TimeFeatures(width), *_layer(width, width, dropout), *_layer(width, width, dropout))
        self.state = nn.Sequential(*_layer(latent_dim, width, dropout), *_layer(width, width, dropout))
        # One linear map of the concatenation, in three parts: a shared time or condition then stays one row.
        bound = (2 * width + config.condition_dim) ** -0.5
        self.join_state = _part(width, width, bound, bias=True)
        self.join_time = _part(width, width, bound, bias=False)
        self.join_condition = _part(config.condition_dim, width, bound, bias=False)
        self.head = nn.Sequential(
            nn.SiLU(), Dropout(dropout), *_layer(width, width, dropout), nn.Linear(width, latent_dim)
        )

    def forward(
        self,
        t: Float[Tensor, " #cell"] | Float[Tensor, ""],
        x: Float[Tensor, "cell latent"],
        condition: Float[Tensor, "group d"] | Float[Tensor, " d"],
    ) -> Float[Tensor, "cell latent"]:
        """Velocities. A scalar `t` is shared by all cells, a condition by its equal share of neighbouring rows."""
        joined = self.join_state(self.state(x)) + self.join_time(self.time(t.reshape(-1)))
        given = self.join_condition(condition.reshape(-1, condition.shape[-1]))
        joined = (joined.unflatten(0, (len(given), -1)) + given[:, None]).flatten(0, 1)
        return self.head(joined)

    def at_times(self, t: Float[Tensor, " time"], condition: Float[Tensor, " d"]) -> Float[Tensor, "time width"]:
        """What several times under one condition add to any state: computed at once, each row for `move`."""
        return self.join_time(self.time(t)) + self.join_condition(condition)

    def move(self, x: Float[Tensor, "cell latent"], given: Float[Tensor, " width"]) -> Float[Tensor, "cell latent"]:
        """Velocities of states at one time under one condition, a row of `at_times`."""
        return self.head(self.join_state(self.state(x)) + given)


def _layer(n_in: int, n_out: int, dropout: float) -> list[nn.Module]:
    return [nn.Linear(n_in, n_out), nn.SiLU(), Dropout(dropout)]


def _part(n_in: int, n_out: int, bound: float, bias: bool) -> nn.Linear:
    """A part of a wider linear map: weights as torch draws them for the whole."""
    linear = nn.Linear(n_in, n_out, bias=bias)
    for parameter in linear.parameters():
        nn.init.uniform_(parameter, -bound, bound)
    return linear
