"""The score that training is steered by: shifts of validation conditions, by a fast solve."""

from __future__ import annotations

import numpy as np
import torch

from scbig_dist.metrics.profiles import mse, pearson_delta
from scbig_dist.models.means import control_profiles, mean_profiles
from scbig_dist.models.protocol import PerturbationModel
from scbig_dist.train.context import WorkerContext
from scbig_dist.train.experiment import Experiment
from scbig_dist.train.random import generator


class Validation:
    """Truth is computed once; predictions draw the same control cells at every check."""

    def __init__(self, experiment: Experiment, context: WorkerContext) -> None:
        self._experiment, self._device = experiment, context.device
        store, conditions = experiment.store, experiment.split.val
        self._truth = mean_profiles(store, conditions, experiment.n_genes)
        self._control = control_profiles(store, conditions, experiment.n_genes)

    def score(self, model: PerturbationModel) -> dict[str, float]:
        """Mean Pearson correlation of shifts and mean squared error of profiles over conditions."""
        config, store = self._experiment.config, self._experiment.store
        predicted = np.empty_like(self._truth)
        for index, condition in enumerate(self._experiment.split.val):
            rng = generator(config.train.seed, "validation", index)
            rows = store.draw(store.control(condition.context), config.evaluate.n_val_cells, rng)
            x = torch.from_numpy(store.dense(rows, self._experiment.n_genes)).to(self._device)
            given = self._experiment.condition_input([condition]).to(self._device)
            predicted[index] = model.predict(x, given, fast=True).double().mean(dim=0).cpu().numpy()
        return {
            "val_pearson_delta": float(np.nanmean(pearson_delta(predicted, self._truth, self._control))),
            "val_mse": float(np.mean(mse(predicted, self._truth))),
        }
