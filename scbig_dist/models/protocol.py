"""What a perturbation model is to the training loop, and the records they exchange."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


@dataclass(frozen=True)
class ConditionInput:
    """Conditions as a model sees them.

    `targets` holds rows of the target vocabulary, -1 where a slot is empty; `dose` is in
    the screen's own unit, 0 where the screen has none.
    """

    targets: Int[Tensor, "condition slot"]
    context: Int[Tensor, " condition"]
    dose: Float[Tensor, " condition"]

    def to(self, device: torch.device) -> ConditionInput:
        """The same on a device."""
        return ConditionInput(self.targets.to(device), self.context.to(device), self.dose.to(device))

    def rows(self, index: Int[Tensor, " row"]) -> ConditionInput:
        """The conditions at these places."""
        return ConditionInput(self.targets[index], self.context[index], self.dose[index])


@dataclass(frozen=True)
class CellBatch:
    """Stage 1: log-normalised cells of one rank, and the mean number of cells per rank.

    The loss divides by `n_mean`, not by its own rows, so that ranks with unequal shares of
    the last batch still average to the loss of the whole. `weights` of the rows' errors; None: all 1.
    """

    x: Float[Tensor, "cell gene"]
    n_mean: float
    weights: Float[Tensor, " cell"] | None = None


@dataclass(frozen=True)
class AlignBatch:
    """Control cells of one condition and what its true cells look like (SPEC: section 5)."""

    x0: Float[Tensor, "cell feature"]
    condition: int
    target_corr: Float[Tensor, "module module"] | None
    target_activation: Float[Tensor, "cell pathway"] | None


@dataclass(frozen=True)
class FlowBatch:
    """Stage 2: control and perturbed cells, grouped by condition, with all the randomness.

    Cells are latents where the encoder is frozen, expression where it learns. Row i of
    both belongs to condition `group[i]`; groups are contiguous and of equal size.
    """

    x0: Float[Tensor, "cell feature"]
    x1: Float[Tensor, "cell feature"]
    conditions: ConditionInput
    t: Float[Tensor, " cell"]
    noise: Float[Tensor, "cell latent"]
    uniforms: Float[Tensor, " cell"]
    keep: Float[Tensor, " condition"]
    align: AlignBatch | None
    target_noise: Float[Tensor, "condition slot e"] | None = None
    """Added to the frozen vectors of targets."""


@dataclass(frozen=True)
class PairBatch:
    """Perturbed cells and control cells of the same contexts, log-normalised, grouped by condition.

    Row i of `x` belongs to condition i ÷ (cells per condition); groups are contiguous and of equal
    size. Row i of `control` is an independent draw from that condition's context, not its pair.
    """

    control: Float[Tensor, "cell gene"]
    x: Float[Tensor, "cell gene"]
    conditions: ConditionInput


@dataclass(frozen=True)
class ShiftBatch:
    """Genes of training conditions that the base was fitted without: features, and what is missing to the truth."""

    features: Float[Tensor, "row feature"]
    correction: Float[Tensor, " row"]


Batch = CellBatch | FlowBatch | PairBatch | ShiftBatch
"""What some stage feeds its model."""


@dataclass(frozen=True)
class StageLoss:
    """The loss to descend, and its named parts for the log (detached)."""

    total: Tensor
    parts: dict[str, Tensor] = field(default_factory=dict)


class PerturbationModel(Protocol):
    """A model that is trained in stages and predicts perturbed cells from control cells."""

    stages: tuple[str, ...]

    def stage_modules(self, stage: str) -> list[nn.Module]:
        """The modules that learn in a stage."""
        ...

    def loss(self, stage: str, batch: Batch) -> StageLoss:
        """The loss of one micro-batch."""
        ...

    def predict(
        self, control: Float[Tensor, "cell gene"], condition: ConditionInput, fast: bool
    ) -> Float[Tensor, "cell gene"]:
        """Log-normalised expression of the cells under one condition."""
        ...
