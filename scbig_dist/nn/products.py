"""Products whose operands and gradients are never rearranged in memory on a CPU.

For tokens of a few hundred cells such copies cost more than a tenth of a training step.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

MOST_GROUPS = 256  # beyond, each product is so small that calling it costs more than the copies


def grouped_linear(x: Float[Tensor, "row group i"], weight: Float[Tensor, "group o i"]) -> Float[Tensor, "row group o"]:
    """`out[r, g] = weight[g] @ x[r, g]`.

    One linear map per group (an attention head, a gene module) on rows whose groups lie side by side.
    A batched product wants the groups in front and copies both ways for it; here it is a product per
    group, in place between strided rows.
    """
    if _by_hand(x) and len(weight) <= MOST_GROUPS:
        return _GroupedLinear.apply(x, weight)  # type: ignore[no-any-return]
    return torch.einsum("rgi,goi->rgo", x, weight).contiguous()


def product_nt(a: Float[Tensor, "cell row d"], b: Float[Tensor, "cell column d"]) -> Float[Tensor, "cell row column"]:
    """`a @ bᵀ` by cell. Plain autograd leaves the gradient of `b` transposed, to be copied by whoever takes it."""
    if _by_hand(a):
        return _ProductNT.apply(a, b)  # type: ignore[no-any-return]
    return a @ b.transpose(1, 2)


def _by_hand(x: Tensor) -> bool:
    return x.device.type == "cpu" and not torch.compiler.is_compiling() and not torch.is_autocast_enabled("cpu")


class _GroupedLinear(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Tensor, weight: Tensor) -> Tensor:
        context.save_for_backward(x, weight)
        out = x.new_empty(len(x), *weight.shape[:2])
        for group, matrix in enumerate(weight):
            torch.mm(x[:, group], matrix.T, out=out[:, group])
        return out

    @staticmethod
    def backward(context: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None]:
        (grad,), (x, weight) = grads, context.saved_tensors
        for_x = torch.empty_like(x) if context.needs_input_grad[0] else None
        for_weight = torch.empty_like(weight) if context.needs_input_grad[1] else None
        for group, matrix in enumerate(weight):
            if for_x is not None:
                torch.mm(grad[:, group], matrix, out=for_x[:, group])
            if for_weight is not None:
                torch.mm(grad[:, group].T, x[:, group], out=for_weight[group])
        return for_x, for_weight


class _ProductNT(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, a: Tensor, b: Tensor) -> Tensor:
        context.save_for_backward(a, b)
        return a @ b.transpose(1, 2)

    @staticmethod
    def backward(context: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        (grad,), (a, b) = grads, context.saved_tensors
        return grad @ b, grad.transpose(1, 2) @ a
