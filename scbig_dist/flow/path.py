"""The noisy straight path between paired latents, and its velocity."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor


class PathSample(NamedTuple):
    """A point on each pair's path: state `x_t`, target velocity `u_t`, time `t`."""

    x_t: Float[Tensor, "cell latent"]
    u_t: Float[Tensor, "cell latent"]
    t: Float[Tensor, " cell"]


def sample_path(
    x0: Float[Tensor, "cell latent"],
    x1: Float[Tensor, "cell latent"],
    t: Float[Tensor, " cell"],
    noise: Float[Tensor, "cell latent"],
    sigma: float,
) -> PathSample:
    """`x_t = (1−t)x0 + t·x1 + σ·noise`, `u_t = x1 − x0`; `noise` is standard normal."""
    share = t[:, None]
    return PathSample((1 - share) * x0 + share * x1 + sigma * noise, x1 - x0, t)
