"""A linear path from cells to the latent and back, beside an autoencoder's networks."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


class LinearSkip(nn.Module):
    """Components with orthonormal rows as encoder and, transposed, as decoder; `learned`: both as a start."""

    into: Tensor
    out: Tensor

    def __init__(self, components: Float[Tensor, "component gene"], learned: bool) -> None:
        super().__init__()
        for name, value in (("into", components.T), ("out", components)):
            value = value.float().clone(memory_format=torch.contiguous_format)
            if learned:
                self.register_parameter(name, nn.Parameter(value))
            else:
                self.register_buffer(name, value)

    def encode(self, x: Float[Tensor, "cell gene"]) -> Float[Tensor, "cell component"]:
        """Centred expression → its part of the latent."""
        return x @ self.into

    def decode(self, z: Float[Tensor, "cell component"]) -> Float[Tensor, "cell gene"]:
        return z @ self.out
