"""Between the stages of cells: the mean head learns what its base gets wrong where it has not seen the answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from scbig_dist.conditions import Condition
from scbig_dist.models.baselines import training_shifts
from scbig_dist.models.means import BLOCK
from scbig_dist.models.protocol import ShiftBatch
from scbig_dist.models.scbig import ScBIG
from scbig_dist.models.shift_head import ShiftInputs
from scbig_dist.train.context import WorkerContext
from scbig_dist.train.experiment import Experiment
from scbig_dist.train.random import generator
from scbig_dist.train.target_relations import target_relations

MAX_VALUES = 100_000_000  # features in memory: 400 MB; more examples are drawn down to it
CONTROL_CELLS = 2_000  # behind a context's standard deviations


def shift_inputs(experiment: Experiment) -> ShiftInputs:
    """Means and deviations, straight from the store."""
    store, n_genes = experiment.store, experiment.n_genes
    shifts = training_shifts(store, experiment.split.train, n_genes)
    mean, sd = (torch.full((len(experiment.contexts), n_genes), torch.nan) for _ in range(2))
    for row, context in enumerate(experiment.contexts):
        if any(condition.context == context for condition in experiment.controls):
            mean[row], sd[row] = _moments(experiment, store.control(context))
    column = {gene: index for index, gene in enumerate(experiment.genes)}
    return ShiftInputs(
        train=experiment.condition_input(shifts.conditions),
        shifts=torch.from_numpy(shifts.values),
        control_mean=mean,
        control_sd=sd,
        target_column=torch.tensor([column.get(target, -1) for target in experiment.targets]),
        relations=target_relations(experiment, experiment.targets),
    )


def _moments(experiment: Experiment, control: Condition) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean over all control cells of a context and their standard deviation, (gene,)."""
    cells = experiment.store.cells(control)
    total, square = np.zeros(experiment.n_genes), np.zeros(experiment.n_genes)
    for block in experiment.blocks(cells, BLOCK)():
        total += block.sum(axis=0, dtype=np.float64)
        square += np.square(block, dtype=np.float64).sum(axis=0)
    mean = total / len(cells)
    return torch.from_numpy(mean), torch.from_numpy(np.sqrt(np.maximum(square / len(cells) - mean**2, 0)))


class ShiftStage:
    """Rows are genes of left-out training conditions, in an order from (seed, epoch); a rank takes its share."""

    name = "shift"
    clip: float | None = None
    schedule = "cosine"
    check_names: tuple[str, ...] = ()
    micro_per_step: int

    def __init__(self, experiment: Experiment, model: ScBIG, context: WorkerContext) -> None:
        assert model.shift is not None
        config = experiment.config.shift
        self._config, self._seed, self._context = config, experiment.config.train.seed, context
        self.lr, self.weight_decay, self.micro_per_step = config.lr, config.weight_decay, context.world_size
        head, inputs = model.shift, model.shift.inputs
        rows, gone = head.examples()
        n_genes = experiment.n_genes
        most = max(MAX_VALUES // (n_genes * len(head.scale)), 1)
        if len(rows) > most:
            kept = torch.from_numpy(np.sort(generator(self._seed, "examples").permutation(len(rows))[:most]))
            rows, gone = rows[kept], gone[kept]
        z = head.indicators(inputs.train)[rows]
        features, wanted = [], []
        for row in range(len(rows)):
            one = slice(row, row + 1)
            base, each = head.features(z[one], inputs.train.rows(rows[one]), gone[one])
            features.append(each.float().flatten(0, 1))
            wanted.append((inputs.shifts[rows[one]].double() - base).float().flatten())
        self._features, self._wanted = torch.cat(features), torch.cat(wanted)
        head.measure(self._features, self._wanted)
        self._features, self._wanted = self._features.to(context.device), self._wanted.to(context.device)
        self._per_epoch = -(-len(self._wanted) // config.batch)
        self.n_steps = config.steps
        self._order = (-1, np.zeros(0, dtype=np.int64))

    def micro_batches(self, step: int) -> Iterator[ShiftBatch]:
        epoch, index = divmod(step, self._per_epoch)
        if epoch != self._order[0]:
            self._order = (epoch, generator(self._seed, "shift", epoch).permutation(len(self._wanted)))
        rows = self._order[1][index * self._config.batch : (index + 1) * self._config.batch]
        own = torch.from_numpy(rows[self._context.rank :: self._context.world_size]).to(self._context.device)
        yield ShiftBatch(self._features[own], self._wanted[own])

    def n_cells(self, step: int) -> int:
        return self._config.batch

    def is_check(self, step: int) -> bool:
        return False

    def check(self, model: Any) -> dict[str, float]:
        raise AssertionError("the flow is validated, the head alone is not")

    def patience(self) -> int | None:
        return None
