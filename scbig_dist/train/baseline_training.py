"""How a baseline is trained: from the screen's shifts, and where it has a stage on pairs of cells."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scbig_dist.models.build import build_baseline
from scbig_dist.train.baseline_inputs import names_of, screen_inputs
from scbig_dist.train.context import WorkerContext
from scbig_dist.train.experiment import BLOCK, Experiment
from scbig_dist.train.log import RunLog
from scbig_dist.train.loop import run_stage
from scbig_dist.train.pair_stage import PairStage


class BaselineTraining:
    """What `train_run` walks through for every `model.name` but `scbig`."""

    def __init__(self, experiment: Experiment, context: WorkerContext) -> None:
        self._experiment, self._context = experiment, context
        self.notes: list[str] = []
        self.inputs = screen_inputs(experiment, self.notes)

    def build(self) -> Any:
        return build_baseline(self.inputs, self._experiment.config, names_of(self._experiment))

    def audit(self, run: Path) -> None:
        """A baseline has no modules to show."""

    def train(self, model: Any, run: Path, log: RunLog) -> dict[str, Any]:
        """Its stage, where it has one; what that cost."""
        if not model.stages:
            return {"seconds_stages": 0.0}
        experiment, context = self._experiment, self._context
        stage = PairStage(experiment, context)
        for note in stage.notes:
            log.say(f"note: {note}")
        cost = run_stage(model, stage, experiment.config, context, run / "checkpoints" / stage.name, log)
        if hasattr(model, "finish"):
            model.eval()
            model.finish(self._walk)
        costs = {name: cost[name] for name in ("step_ms", "cells_per_s", "data_wait")}
        return {"seconds_cells": cost["seconds"], "seconds_stages": cost["seconds"], **costs}

    def _walk(self) -> Iterator[tuple[int, Tensor, Tensor]]:
        """(row of the training condition, its cells, control cells of its context) in dense blocks, all of both."""
        store, device, n_genes = self._experiment.store, self._context.device, self._experiment.n_genes
        for row, condition in enumerate(c for c in self._experiment.split.train if not c.is_control):
            cells, control = store.cells(condition), store.cells(store.control(condition.context))
            for start in range(0, len(cells), BLOCK):
                x = store.dense(cells[start : start + BLOCK], n_genes)
                other = store.dense(control[:BLOCK], n_genes)
                yield row, torch.from_numpy(x).to(device), torch.from_numpy(other).to(device)
