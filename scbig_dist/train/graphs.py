"""Micro-batches as CUDA graphs: what a GPU would wait for, launch by launch, is launched at once.

A step of a model of this size is thousands of small kernels; from Python each takes longer to launch than to run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

WARM = 2  # runs on a stream of their own before a capture: libraries set themselves up, compiled code is compiled
ALIGNED = 64  # gradients begin at multiples of so many numbers, as tensors of their own would

Backward = Callable[[Any], dict[str, Tensor]]
"""Adds a batch's gradients to those that stand; the loss and its parts. It must not wait for a result."""


@dataclasses.dataclass(frozen=True)
class _Graph:
    graph: torch.cuda.CUDAGraph
    inputs: list[Tensor]
    names: list[str]
    values: Tensor
    touched: frozenset[int]
    """Places of the parameters that get a gradient."""


class Graphs:
    """A graph per form of batch (the shapes and values in it), captured when the form is first met.

    Gradients of all parameters stand side by side in `gradients`, where the graphs add to them. Random numbers
    follow the device's generator as it stands at a call, and are those of the same operations launched one by one.
    Other threads may work on the device while a graph is captured.
    """

    def __init__(self, backward: Backward, learning: list[nn.Parameter]) -> None:
        self._backward, self._learning = backward, learning
        starts, end = [], 0
        for parameter in learning:
            starts.append(end)
            end += -(-parameter.numel() // ALIGNED) * ALIGNED
        self.gradients = torch.zeros(end, device=learning[0].device, dtype=learning[0].dtype)
        self._views = [
            self.gradients[start : start + parameter.numel()].view_as(parameter)
            for start, parameter in zip(starts, learning, strict=True)
        ]
        self._graphs: dict[Hashable, _Graph] = {}
        self._pool = torch.cuda.graph_pool_handle()  # one graph runs at a time: they share their memory
        self._touched: frozenset[int] = frozenset()
        self._attach()

    def __call__(self, batch: Any) -> dict[str, Tensor]:
        """Add a batch's gradients; the loss and its parts."""
        tensors, form = _parts(batch)
        graph = self._graphs.get(form)
        if graph is None:
            graph = self._graphs[form] = self._capture(batch, tensors)
        torch._foreach_copy_(graph.inputs, tensors)
        graph.graph.replay()
        self._touched |= graph.touched
        return dict(zip(graph.names, graph.values.clone().unbind(), strict=True))

    def show(self) -> None:
        """Leave gradients to those parameters alone that got some since `clear`: an optimiser passes over the others."""
        for place in set(range(len(self._learning))) - self._touched:
            self._learning[place].grad = None

    def clear(self) -> None:
        self.gradients.zero_()
        self._touched = frozenset()
        self._attach()

    def close(self) -> None:
        """Let go of everything on the device."""
        self._graphs.clear()
        for parameter in self._learning:
            parameter.grad = None

    def _attach(self) -> None:
        for parameter, view in zip(self._learning, self._views, strict=True):
            parameter.grad = view

    def _capture(self, batch: Any, tensors: list[Tensor]) -> _Graph:
        inputs = [tensor.clone() for tensor in tensors]
        still = _with_tensors(batch, iter(inputs))
        device = self.gradients.device
        stream, current = _warm_stream(device), torch.cuda.current_stream(device)
        stream.wait_stream(current)
        with torch.random.fork_rng([device]):  # the first call draws what every other would
            with torch.cuda.stream(stream):
                for _ in range(WARM):
                    for parameter in self._learning:
                        parameter.grad = None  # what stands stays as it is, and what is touched shows
                    names = list(self._backward(still))
            current.wait_stream(stream)
            touched = frozenset(place for place, each in enumerate(self._learning) if each.grad is not None)
            self._attach()
            graph = torch.cuda.CUDAGraph()
            # Other threads make the coming batches: only this one must keep to what a graph can hold.
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                found = self._backward(still)
                values = torch.stack([found[name].float() for name in names])
        return _Graph(graph, inputs, names, values, touched)


@cache
def _warm_stream(device: torch.device) -> torch.cuda.Stream:
    """One per process: a library keeps its workspaces (67 MB of cuBLAS on an H100) for every stream it has met."""
    return torch.cuda.Stream(device)


def _parts(value: Any) -> tuple[list[Tensor], Hashable]:
    """The tensors of a batch in order, and all else that a graph has built in."""
    if isinstance(value, Tensor):
        return [value], (value.shape, value.dtype)
    if not dataclasses.is_dataclass(value):
        return [], value
    parts = [_parts(getattr(value, field.name)) for field in dataclasses.fields(value)]
    return [tensor for tensors, _ in parts for tensor in tensors], (type(value), *(form for _, form in parts))


def _with_tensors(value: Any, tensors: Any) -> Any:
    """The batch with other tensors in the places of its own."""
    if isinstance(value, Tensor):
        return next(tensors)
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    return dataclasses.replace(
        value, **{field.name: _with_tensors(getattr(value, field.name), tensors) for field in dataclasses.fields(value)}
    )
