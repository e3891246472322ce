"""Targets of conditions as indicators, and which of them a model can say something about."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F


def target_indicators(targets: Int[Tensor, "condition slot"], n_targets: int) -> Float[Tensor, "condition target"]:
    """1 where a condition hits a target, else 0; targets of rows ≥ `n_targets` and empty slots (-1) are left out."""
    inside = (targets >= 0) & (targets < n_targets)
    rows = F.one_hot(targets.where(inside, n_targets), n_targets + 1)[..., :n_targets]
    return rows.amax(1).to(torch.get_default_dtype())


def seen_targets(targets: Int[Tensor, "condition slot"], n_targets: int) -> Bool[Tensor, " target"]:
    """Targets that occur in any of the conditions."""
    return target_indicators(targets, n_targets).any(0)


def are_defined(targets: Int[Tensor, "condition slot"], usable: Bool[Tensor, " target"]) -> Bool[Tensor, " condition"]:
    """Conditions whose targets are all usable; a target past the end of the table is not."""
    padded = F.pad(usable, (0, 1))  # a last row that is False
    index = torch.where(targets < 0, 0, targets.clamp(max=len(usable)))
    return (padded[index] | (targets < 0)).all(1)


def dose_strength(dose: Float[Tensor, " condition"], top: float) -> Float[Tensor, " condition"]:
    """How far a dose carries an effect: log1p(dose) ÷ log1p(`top`); 1 where no dose is given (0)."""
    if top <= 0:
        return torch.ones_like(dose)
    return torch.where(dose > 0, torch.log1p(dose) / torch.log1p(torch.tensor(top)).to(dose), 1.0)
