"""Diagonal normal distributions: drawn by reparametrisation, compared with the standard normal."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

LOG_SD = (-7.0, 3.0)  # beyond, a step of the optimiser overflows or a posterior is a point


@dataclass(frozen=True)
class Gaussian:
    """Means and logarithms of standard deviations, one normal per entry."""

    mean: Float[Tensor, "*rows latent"]
    log_sd: Float[Tensor, "*rows latent"]

    @staticmethod
    def from_parts(parts: Float[Tensor, "*rows both"]) -> Gaussian:
        """From a network's output: means in the first half of the columns, log sd in the second."""
        mean, log_sd = parts.chunk(2, dim=-1)
        return Gaussian(mean, log_sd.clamp(*LOG_SD))

    def draw(self) -> Float[Tensor, "*rows latent"]:
        """One differentiable draw; the noise comes from torch's own generator, which the loop seeds."""
        return self.mean + self.log_sd.exp() * torch.randn_like(self.mean)

    def divergence(self) -> Float[Tensor, "*rows"]:
        """Kullback-Leibler divergence from the standard normal in nats, summed over the last axis."""
        terms = self.mean.square() + (2 * self.log_sd).exp() - 2 * self.log_sd - 1
        return terms.sum(-1) / 2
