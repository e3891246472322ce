"""A multilayer perceptron: hidden layers of one width between two linear maps."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from scbig_dist.nn.dropout import Dropout


class MLP(nn.Module):
    """`n_layers` hidden layers (linear, LayerNorm, SiLU, dropout), then a linear map out.

    LayerNorm, not batch norm: a cell's prediction must not depend on who shares its batch,
    nor a worker's on how many workers there are.
    """

    def __init__(self, n_in: int, n_out: int, width: int, n_layers: int, dropout: float) -> None:
        super().__init__()
        hidden: list[nn.Module] = []
        for layer in range(n_layers):
            hidden += [
                nn.Linear(width if layer else n_in, width),
                nn.LayerNorm(width),
                nn.SiLU(),
                Dropout(dropout),
            ]
        self.hidden = nn.Sequential(*hidden)
        self.out = nn.Linear(width if n_layers else n_in, n_out)

    def forward(self, x: Float[Tensor, "row i"]) -> Float[Tensor, "row o"]:
        return self.out(self.hidden(x))
