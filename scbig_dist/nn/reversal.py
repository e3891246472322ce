"""Gradient reversal: an adversary behind it learns, what lies before it unlearns (Ganin et al. 2016)."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


def reverse_gradient(x: Float[Tensor, "*shape"], weight: float) -> Float[Tensor, "*shape"]:
    """`x` as it is; its gradient is multiplied by −`weight`."""
    return _Reversal.apply(x, weight)  # type: ignore[no-any-return]


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Tensor, weight: float) -> Tensor:
        context.weight = weight
        return x.view_as(x)

    @staticmethod
    def backward(context: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return -context.weight * grads[0], None
