"""The score that training is steered by: shifts of validation conditions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from scbig_dist.conditions import Condition
from scbig_dist.models.protocol import ConditionInput
from scbig_dist.models.scbig import ScBIG
from scbig_dist.train.context import WorkerContext
from scbig_dist.train.experiment import Experiment
from scbig_dist.train.random import generator


class Validation:
    """Pearson correlation of predicted and true shifts on validation conditions, by a fast solve."""

    def __init__(self, experiment: Experiment, context: WorkerContext) -> None:
        self._experiment, self._device = experiment, context.device
        self._conditions: Sequence[Condition] = experiment.split.val
        self._controls = {
            context: self._mean(store_cells)
            for context, store_cells in (
                (c, experiment.store.cells(experiment.store.control(c))) for c in {v.context for v in self._conditions}
            )
        }
        self._truth = [self._mean(experiment.store.cells(condition)) for condition in self._conditions]

    def _mean(self, cells: np.ndarray) -> np.ndarray:
        total = np.zeros(self._experiment.n_genes)
        for block in self._experiment.blocks(cells)():
            total += block.sum(axis=0, dtype=np.float64)
        return total / len(cells)

    def score(self, model: ScBIG) -> dict[str, float]:
        config, store = self._experiment.config, self._experiment.store
        correlations, errors = [], []
        for index, condition in enumerate(self._conditions):
            rng = generator(config.train.seed, "validation", index)
            rows = rng.choice(store.cells(store.control(condition.context)), config.evaluate.n_val_cells)
            x = torch.from_numpy(store.dense(rows, self._experiment.n_genes)).to(self._device)
            given = self._experiment.condition_input([condition])
            given = ConditionInput(
                given.targets.to(self._device), given.context.to(self._device), given.dose.to(self._device)
            )
            predicted = model.predict(x, given, fast=True).double().mean(dim=0).cpu().numpy()
            control = self._controls[condition.context]
            correlations.append(np.corrcoef(predicted - control, self._truth[index] - control)[0, 1])
            errors.append(np.square(predicted - self._truth[index]).mean())
        return {"val_pearson_delta": float(np.nanmean(correlations)), "val_mse": float(np.mean(errors))}
