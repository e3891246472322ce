"""Half steps of Sinkhorn's iteration in the log domain, forward and backward; on a GPU a kernel each.

A half step gives `offset − logsumexp(logits + other)` over the columns; the potentials of an entropic plan are two
in turn, on the logits and on their transpose (Peyré and Cuturi 2019, Computational Optimal Transport, section 4.4).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

try:  # comes with the CUDA builds of PyTorch
    import triton
    import triton.language as tl
except ImportError:
    triton = None

MOST_COLUMNS = 16_384  # a kernel holds a row


def half_step(
    logits: Float[Tensor, "group row column"],
    other: Float[Tensor, "group column"],
    offset: float,
    out: Float[Tensor, "group row"],
) -> None:
    """Into `out`: `offset − logsumexp over columns of (logits + other)`. Contiguous all; without gradient."""
    if not _by_kernel(logits):
        torch.sub(offset, torch.logsumexp(logits + other[:, None], 2), out=out)
        return
    n_groups, n_rows, n_columns = logits.shape
    _half_step[(n_groups * n_rows,)](logits, other, out, n_rows, n_columns, offset, BLOCK=_block(n_columns))


def pull(
    logits: Float[Tensor, "row column"],
    own: Float[Tensor, " row"],
    other: Float[Tensor, " column"],
    weight: Float[Tensor, " column"],
    offset: float,
    grad: Float[Tensor, "row column"],
    out: Float[Tensor, " row"],
) -> None:
    """The gradient `weight` of a half step that gave `other` from `own`, back to `own` (into `out`) and to the logits
    (added to `grad`).

    `offset` is minus that half step's. The logits lie as `own` does: transposed to how the half step read them.
    """
    if not _by_kernel(logits):
        share = (logits + other).add_((own + offset)[:, None]).exp_()
        grad.addcmul_(share, weight, value=-1)
        torch.mv(share, weight, out=out).neg_()
        return
    n_rows, n_columns = logits.shape
    _pull[(n_rows,)](logits, own, other, weight, grad, out, n_columns, offset, BLOCK=_block(n_columns))


class Potentials(torch.autograd.Function):
    """(logits (row, column), iterations) → the potentials (row, column), from zero; differentiated through all iterations."""

    @staticmethod
    def forward(context: Any, logits: Tensor, n_iterations: int) -> tuple[Tensor, Tensor]:
        n_rows, n_columns = logits.shape
        logits, turned = logits.contiguous(), logits.T.contiguous()
        rows = logits.new_empty(n_iterations, 1, n_rows)
        columns = logits.new_zeros(n_iterations + 1, 1, n_columns)
        before, *after = columns
        for row, column in zip(rows, after, strict=True):
            half_step(logits[None], before, -math.log(n_rows), row)
            half_step(turned[None], row, -math.log(n_columns), column)
            before = column
        context.save_for_backward(logits, turned, rows, columns)
        return rows[-1, 0].clone(), columns[-1, 0].clone()

    @staticmethod
    def backward(context: Any, *grads: Tensor) -> tuple[Tensor, None]:
        last: Tensor | None = grads[0]  # what is asked of the last row potential itself
        for_row, for_column = torch.empty_like(grads[0]), grads[1].clone()
        logits, turned, rows, columns = context.saved_tensors
        n_rows, n_columns = logits.shape
        grad, grad_turned = torch.zeros_like(logits), torch.zeros_like(turned)
        befores, afters = columns[:-1, 0].flip(0), columns[1:, 0].flip(0)
        for row, before, after in zip(rows[:, 0].flip(0), befores, afters, strict=True):
            pull(logits, row, after, for_column, math.log(n_columns), grad, for_row)
            if last is not None:
                for_row.add_(last)
                last = None
            pull(turned, before, row, for_row, math.log(n_rows), grad_turned, for_column)
        return grad.add_(grad_turned.T), None


def _by_kernel(logits: Tensor) -> bool:
    fits = logits.dtype == torch.float32 and logits.shape[-1] <= MOST_COLUMNS
    return triton is not None and fits and (logits.is_cuda or triton.knobs.runtime.interpret)


def _block(n_columns: int) -> int:
    return max(int(triton.next_power_of_2(n_columns)), 16)


if triton is not None:

    @triton.jit
    def _half_step(logits, other, out, n_rows, n_columns, offset, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
        row = tl.program_id(0).to(tl.int64)
        column = tl.arange(0, BLOCK)
        inside = column < n_columns
        x = tl.load(logits + row * n_columns + column, mask=inside, other=-float("inf"))
        x += tl.load(other + row // n_rows * n_columns + column, mask=inside, other=0.0)
        top = tl.max(x, 0)
        tl.store(out + row, offset - top - tl.log(tl.sum(tl.exp(x - top), 0)))

    @triton.jit
    def _pull(logits, own, other, weight, grad, out, n_columns, offset, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
        row = tl.program_id(0).to(tl.int64)
        column = tl.arange(0, BLOCK)
        inside = column < n_columns
        place = row * n_columns + column
        x = tl.load(logits + place, mask=inside, other=-float("inf"))
        x += tl.load(own + row) + offset + tl.load(other + column, mask=inside, other=0.0)
        share = tl.exp(x) * tl.load(weight + column, mask=inside, other=0.0)
        tl.store(grad + place, tl.load(grad + place, mask=inside, other=0.0) - share, mask=inside)
        tl.store(out + row, -tl.sum(share, 0))
