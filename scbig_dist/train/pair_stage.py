"""The one stage of a trained baseline: perturbed cells beside control cells of their context."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from scbig_dist.models.protocol import PairBatch
from scbig_dist.train.context import WorkerContext
from scbig_dist.train.experiment import Experiment
from scbig_dist.train.random import generator
from scbig_dist.train.residence import cell_source
from scbig_dist.train.validation import Validation


class PairStage:
    """Update i depends on (seed, i) alone; its conditions are dealt out to the ranks."""

    name = "cells"
    clip: float | None = 1.0
    weight_decay = 0.0
    schedule = "constant"
    check_names: tuple[str, ...] = ("val_pearson_delta", "val_mse", "score")

    def __init__(self, experiment: Experiment, context: WorkerContext) -> None:
        config = experiment.config
        self._experiment, self._context = experiment, context
        self._config, self._seed = config.baseline, config.train.seed
        self.micro_per_step = context.world_size
        self.n_steps, self.lr = self._config.steps, self._config.lr
        self._conditions = list(experiment.split.train)
        self._input = experiment.condition_input(self._conditions)
        experiment.store.expect_random(True)
        cells = experiment.train_cells()
        self._source, note = cell_source(experiment.store, cells, experiment.n_genes, context.device)
        self.notes = [note] if note else []
        self._validation = Validation(experiment, context) if experiment.split.val else None

    def micro_batches(self, step: int) -> Iterator[PairBatch]:
        rng, store = generator(self._seed, "cells", step), self._experiment.store
        chosen = rng.integers(len(self._conditions), size=self._config.conditions_per_step)
        size = self._config.batch // self._config.conditions_per_step
        control, perturbed = [], []
        for condition in (self._conditions[row] for row in chosen):
            control.append(store.draw(store.control(condition.context), size, rng))
            perturbed.append(store.draw(condition, size, rng))
        own = slice(self._context.rank, None, self._context.world_size)
        rows = torch.from_numpy(chosen[own])
        yield PairBatch(
            self._source(np.concatenate(control[own])),
            self._source(np.concatenate(perturbed[own])),
            self._input.rows(rows).to(self._context.device),
        )

    def n_cells(self, step: int) -> int:
        return 2 * self._config.batch

    def is_check(self, step: int) -> bool:
        return self._validation is not None and (step % self._config.validate_every == 0 or step == self.n_steps)

    def check(self, model: Any) -> dict[str, float]:
        assert self._validation is not None
        figures = self._validation.score(model)
        return {**figures, "score": -figures["val_pearson_delta"]}

    def patience(self) -> int | None:
        return self._config.patience if self._validation is not None else None
