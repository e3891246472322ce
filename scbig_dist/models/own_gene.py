"""What a perturbation does to the very gene that it hits: taken from training, where a latent says little of one gene."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from scbig_dist.models.protocol import ConditionInput


@dataclass(frozen=True)
class OwnShifts:
    """Mean shifts of targets' own genes in training; kept with a run's weights."""

    column: Int[Tensor, " target"]
    """Panel columns of the targets, -1 outside the panel."""
    shift: Float[Tensor, " target"]
    """Mean over the training conditions that hit the target; of an unseen target `typical`."""
    typical: Float[Tensor, ""]
    """Mean over the targets of training."""
    control_mean: Float[Tensor, "context gene"]


class OwnGene(nn.Module):
    """Moves predicted cells so that the mean of each target's own gene is the control's plus its shift."""

    column: Tensor
    shift: Tensor
    typical: Tensor
    control_mean: Tensor

    def __init__(self, inputs: OwnShifts) -> None:
        super().__init__()
        for name, value in vars(inputs).items():
            self.register_buffer(name, value, persistent=False)

    def extend(self, column: Int[Tensor, " target"]) -> None:
        """Add targets that training has not met, by their panel columns."""
        self.column = torch.cat([self.column, column.to(self.column)])
        self.shift = torch.cat([self.shift, self.typical.expand(len(column))])

    def forward(self, cells: Float[Tensor, "cell gene"], condition: ConditionInput) -> Float[Tensor, "cell gene"]:
        """The cells of one condition; their spread around the mean stays as it is."""
        targets = condition.targets[0][condition.targets[0] >= 0]
        targets = targets[self.column[targets] >= 0]
        columns = self.column[targets]
        wanted = self.control_mean[condition.context[0], columns] + self.shift[targets]
        moved = cells.clone()
        moved[:, columns] += wanted.to(cells) - cells[:, columns].mean(0)
        return moved
