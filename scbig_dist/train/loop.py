"""The training loop: the same for every stage, one process or many."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from scbig_dist.config import Config
from scbig_dist.errors import UserError
from scbig_dist.models.protocol import Batch, PerturbationModel
from scbig_dist.train.checkpoint import load_checkpoint, load_optimizer, newest_sound, save_checkpoint, tensors_of
from scbig_dist.train.context import WorkerContext
from scbig_dist.train.feed import Feeder
from scbig_dist.train.gradients import gradients_of
from scbig_dist.train.log import RunLog, peak_memory_gb
from scbig_dist.train.pace import Pace

LOG_SECONDS = 1.0  # about the time between two records, checks aside


class StageData(Protocol):
    """What a stage feeds the loop. Everything depends on (seed, step, rank) alone: batches are made ahead, in a thread."""

    name: str
    n_steps: int
    micro_per_step: int
    lr: float
    schedule: str
    weight_decay: float
    clip: float | None
    check_names: tuple[str, ...]

    def micro_batches(self, step: int) -> Iterable[Batch]:
        """This rank's share of update `step`."""
        ...

    def n_cells(self, step: int) -> int:
        """Cells in update `step`, over all ranks."""
        ...

    def is_check(self, step: int) -> bool:
        """Whether the model is validated after `step` updates."""
        ...

    def check(self, model: Any) -> dict[str, float]:
        """Validation figures (rank 0 computes them); `score` among them is kept best-low."""
        ...

    def patience(self) -> int | None:
        """Checks without a better score after which the stage ends; None: never."""
        ...


def run_stage(
    model: PerturbationModel, data: StageData, config: Config, context: WorkerContext, checkpoints: Path, log: RunLog
) -> dict[str, float | None]:
    """Train one stage to its end from its newest checkpoint; returns what it cost.

    The model holds the best weights where the stage has a patience, else the last.
    """
    assert isinstance(model, nn.Module)
    modules = model.stage_modules(data.name)
    learning = [parameter for module in modules for parameter in module.parameters()]
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for parameter in learning:
        parameter.requires_grad_(True)
    # Without decay AdamW is Adam.
    optimizer = torch.optim.AdamW(learning, lr=data.lr, weight_decay=data.weight_decay, fused=True)
    state: dict[str, Any] = {"best": None, "bad": 0, "stopped": False, "seconds": 0.0}
    best: dict[str, Tensor] | None = None
    start = 0
    if (found := _agreed(checkpoints, context, log)) is not None:
        saved = load_checkpoint(found)
        model.load_state_dict(saved.model)
        load_optimizer(optimizer, saved.optimizer)
        state |= saved.state
        best, start = saved.best, saved.step
    gradients = gradients_of(model, data.name, learning, data.micro_per_step, config, context)
    log.stage(data.name, data.n_steps, start)
    began, pace = time.perf_counter() - state["seconds"], Pace()
    due = start + 1  # the next record
    steps = range(start, start if state["stopped"] else data.n_steps)
    _learn(model, modules)
    with Feeder(data.micro_batches, steps) as feed, closing(gradients):
        for step in steps:
            tick = time.perf_counter()
            before = feed.waited
            total, parts = gradients(feed.step(), step)
            if data.clip is not None:
                nn.utils.clip_grad_norm_(learning, data.clip)
            for group in optimizer.param_groups:
                group["lr"] = data.lr * _course(data.schedule, step / data.n_steps)
            optimizer.step()
            gradients.clear()
            now = time.perf_counter()
            pace.add(now - tick, feed.waited - before)
            done = step + 1
            last, checked = done == data.n_steps, data.is_check(done)
            record: dict[str, Any] = {}
            if checked:
                model.eval()
                figures = _from_rank_zero(data, model, context)
                _learn(model, modules)
                record = {name: value for name, value in figures.items() if name != "score"}
                if state["best"] is None or figures["score"] < state["best"]:
                    state |= {"best": figures["score"], "bad": 0}
                    best = tensors_of(model) if data.patience() is not None else None
                else:
                    state["bad"] += 1
                state["stopped"] = (limit := data.patience()) is not None and state["bad"] >= limit
            if checked or last or done >= due:
                assert pace.step_s is not None and pace.data_wait is not None
                # Workers speak of the loss where it is written alone: each word costs them a wait. The next record is
                # so many updates away, by their common pace, that none needs to ask another's clock.
                shared = context.sum(torch.stack([total, total.new_tensor(pace.step_s)])) / context.world_size
                loss, common_s = shared.tolist()
                due = done + max(round(LOG_SECONDS / common_s), 1)
                cells_per_s = data.n_cells(step) / pace.step_s
                record |= {"loss": loss, **{name: float(value) for name, value in parts.items()}}
                record |= {"step_ms": 1e3 * pace.step_s, "cells_per_s": cells_per_s, "data_wait": pace.data_wait}
                record |= {"peak_mem_gb": peak_memory_gb()}
                record |= {"micro_step": done * data.micro_per_step, "seconds": now - began}
                if not math.isfinite(record["loss"]):
                    raise UserError(
                        f"{data.name} update {done}: the loss is {record['loss']}; lower {data.name}.lr={data.lr:g} and start anew"
                    )
                log.write({"stage": data.name, "step": done, **record})
                log.step(
                    done,
                    f"loss {record['loss']:.4f} · {cells_per_s:,.0f} cells/s · {record['peak_mem_gb']:.1f} GB"
                    f" · data wait {pace.data_wait:.1%}",
                )
            if done % config.train.checkpoint_every == 0 or last or state["stopped"]:
                state["seconds"] = time.perf_counter() - began
                if context.rank == 0:
                    save_checkpoint(checkpoints, done, model, optimizer, state, best)
                log.saved(data.name, done)
                context.saved(last=last or state["stopped"])
            if checked:
                context.report({"step": done, **record}, None)
            if state["stopped"]:
                break
    if best is not None:
        model.load_state_dict(best)
    model.eval()
    step_s = pace.step_s  # None where a run is resumed behind its last step: it has measured nothing
    return {
        "seconds": time.perf_counter() - began,
        "step_ms": None if step_s is None else 1e3 * step_s,
        "cells_per_s": None if step_s is None else data.n_cells(0) / step_s,
        "data_wait": pace.data_wait_overall,
    }


def _agreed(checkpoints: Path, context: WorkerContext, log: RunLog) -> Path | None:
    """The checkpoint that every rank goes on from: rank 0 chooses, for a shared disk may show the others an older state."""
    found = newest_sound(checkpoints, log.warn) if context.rank == 0 else None
    step = int(found.name.removeprefix("step-")) if found is not None else 0
    if context.world_size > 1:
        step = int(context.sum(torch.tensor(step, dtype=torch.int64, device=context.device)).item())
    return checkpoints / f"step-{step:08d}" if step else None


def _learn(model: nn.Module, modules: Iterable[nn.Module]) -> None:
    model.eval()  # what is frozen has no dropout
    for module in modules:
        module.train()


def _course(schedule: str, done: float) -> float:
    """Share of the learning rate after a share of the stage's updates."""
    return 0.5 * (1 + math.cos(math.pi * done)) if schedule == "cosine" else 1.0


def _from_rank_zero(data: StageData, model: nn.Module, context: WorkerContext) -> dict[str, float]:
    """One rank's figures for all, so that every rank takes the same decision."""
    figures = data.check(model) if context.rank == 0 else {}
    if context.world_size == 1:
        return figures
    values = torch.tensor([figures.get(name, 0.0) for name in data.check_names], dtype=torch.float64)
    summed = context.sum(values.to(context.device)).tolist()
    return dict(zip(data.check_names, summed, strict=True))
