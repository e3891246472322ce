"""Gradients of an update, averaged over all ranks: operation by operation, or on a GPU as one graph per micro-batch."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from scbig_dist.config import Config
from scbig_dist.models.protocol import Batch, PerturbationModel, StageLoss
from scbig_dist.train.context import WorkerContext
from scbig_dist.train.graphs import Graphs
from scbig_dist.train.random import torch_seeded

Losses = tuple[Tensor, dict[str, Tensor]]
"""The loss of this rank's micro-batches, and its named parts."""


class Gradients(Protocol):
    """Fills the gradients of what learns."""

    def __call__(self, batches: Iterable[Batch], step: int) -> Losses: ...

    def clear(self) -> None:
        """Called behind the optimiser's step."""
        ...

    def close(self) -> None:
        """Called when the stage has ended."""
        ...


class StageLossModule(nn.Module):
    """A module whose forward is the stage's loss: what data-parallel training and compilation wrap."""

    def __init__(self, model: PerturbationModel, stage: str) -> None:
        super().__init__()
        assert isinstance(model, nn.Module)
        self.model: Any = model
        self.stage = stage

    def forward(self, batch: Batch) -> Losses:
        loss: StageLoss = self.model.loss(self.stage, batch)
        return loss.total, loss.parts


def gradients_of(
    model: PerturbationModel,
    stage: str,
    learning: list[nn.Parameter],
    n_micro: int,
    config: Config,
    context: WorkerContext,
) -> Gradients:
    """The form that fits device and model; `n_micro`: micro-batches of an update over all ranks."""
    kind = _Graphed if with_graphs(stage, config, context.device) else _Eager
    return kind(StageLossModule(model, stage), stage, learning, max(n_micro // context.world_size, 1), config, context)


def with_graphs(stage: str, config: Config, device: torch.device) -> bool:
    """Whether micro-batches are launched as graphs: nothing in them may ask the host, or restore random states."""
    asks = config.model.name != "scbig" or (stage == "flow" and config.flow.coupling == "exact")
    return device.type == "cuda" and config.train.graphs and not asks and not config.train.checkpoint_activations


class _Common:
    def __init__(
        self,
        loss: StageLossModule,
        stage: str,
        learning: list[nn.Parameter],
        n_micro: int,
        config: Config,
        context: WorkerContext,
    ) -> None:
        self.loss, self.stage, self.learning, self.n_micro = loss, stage, learning, n_micro
        self.config, self.context = config, context

    def seeded(self, step: int, index: int) -> AbstractContextManager[None]:
        """Dropout depends on the micro-batch's number among those of all ranks."""
        micro_step = (step * self.n_micro + index) * self.context.world_size + self.context.rank
        return torch_seeded(self.config.train.seed, self.stage, micro_step, self.context.device)

    def precision(self) -> AbstractContextManager[Any]:
        reduced = self.config.train.precision == "bfloat16"
        return torch.autocast(self.context.device.type, torch.bfloat16) if reduced else nullcontext()


class _Eager(_Common):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        # With the decoder learning through the alignment alone, some micro-batches leave it untouched; a baseline may
        # have tables of which a batch reads a few rows.
        partly = self.config.flow.train_autoencoder or self.config.model.name != "scbig"
        wrapped: Any = self.context.wrap(self.loss, find_unused=partly)
        self._wrapped: Any = torch.compile(wrapped) if self.config.train.compile else wrapped

    def __call__(self, batches: Iterable[Batch], step: int) -> Losses:
        total: Tensor | None = None
        parts: dict[str, list[Tensor]] = {}
        for index, batch in enumerate(batches):
            with ExitStack() as stack:
                stack.enter_context(self.seeded(step, index))
                if self.context.world_size > 1 and index < self.n_micro - 1:
                    stack.enter_context(self._wrapped.no_sync())
                stack.enter_context(self.precision())
                loss, named = self._wrapped(batch)
                (loss / self.n_micro).backward()
            total = loss.detach() if total is None else total + loss.detach()
            for name, value in named.items():
                parts.setdefault(name, []).append(value)
        assert total is not None
        # A term that is off in some micro-batches is averaged over those of this rank where it is on.
        return total / self.n_micro, {name: torch.stack(values).mean() for name, values in parts.items()}

    def clear(self) -> None:
        for parameter in self.learning:
            parameter.grad = None

    def close(self) -> None:
        self.clear()


class _Graphed(_Common):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        compiled: Any = torch.compile(self.loss) if self.config.train.compile else self.loss
        self._graphs = Graphs(lambda batch: self._backward(compiled, batch), self.learning)

    def _backward(self, loss: Any, batch: Batch) -> dict[str, Tensor]:
        with self.precision():
            total, named = loss(batch)
            (total / self.n_micro).backward()
        return {"": total.detach(), **named}

    def __call__(self, batches: Iterable[Batch], step: int) -> Losses:
        parts: dict[str, list[Tensor]] = {}
        for index, batch in enumerate(batches):
            with self.seeded(step, index):
                for name, value in self._graphs(batch).items():
                    parts.setdefault(name, []).append(value)
        if self.context.world_size > 1:
            flat = self._graphs.gradients
            flat.copy_(self.context.sum(flat)).div_(self.context.world_size)
        self._graphs.show()
        means = {name: torch.stack(values).mean() for name, values in parts.items()}
        return means.pop(""), means

    def clear(self) -> None:
        self._graphs.clear()

    def close(self) -> None:
        self._graphs.close()
