"""Dropout whose masks cost little on a CPU: 16 random bits an element, drawn four elements at a time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STEPS = 2**16  # a probability is rounded to a multiple of 1/STEPS


class Dropout(nn.Module):
    """torch's `Dropout`, with the probability rounded to 16 bits on a CPU.

    Masks come from torch's own generator, which the training loop seeds. On other devices
    and under torch.compile it is torch's own dropout, fused there.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        if x.device.type != "cpu" or torch.compiler.is_compiling():
            return F.dropout(x, self.p)
        return _CheapDropout.apply(x, self.p)  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        return f"p={self.p}"


class _CheapDropout(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Tensor, p: float) -> Tensor:
        dropped = min(round(p * STEPS), STEPS - 1)
        context.scale = STEPS / (STEPS - dropped)
        keep = _keep(x.shape, dropped)
        context.save_for_backward(keep)
        return x * keep.to(x.dtype).mul_(context.scale)

    @staticmethod
    def backward(context: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (grad,), (keep,) = grads, context.saved_tensors
        # A bool factor would be converted element by element inside the product: ten times as slow.
        return grad * keep.to(grad.dtype).mul_(context.scale), None


def _keep(shape: torch.Size, dropped: int) -> Tensor:
    """True with probability 1 − dropped/STEPS, independently."""
    n = shape.numel()
    draws = torch.empty(-(-n // 4), dtype=torch.int64).random_(-(2**63), None)
    return (draws.view(torch.int16)[:n] >= dropped - STEPS // 2).view(shape)
