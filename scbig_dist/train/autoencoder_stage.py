"""Stage 1: the autoencoder learns to reconstruct cells."""

from __future__ import annotations

import numpy as np
import torch

from scbig_dist.models.protocol import CellBatch
from scbig_dist.models.scbig import ScBIG
from scbig_dist.train.context import WorkerContext
from scbig_dist.train.experiment import Experiment
from scbig_dist.train.random import generator

HELD_OUT_CELLS = 4096  # cells of validation conditions that stage 1 is checked on
METACELLS = 4096  # means of cells kept in memory


class AutoencoderStage:
    """Every training cell once per epoch over all ranks, in an order from (seed, epoch)."""

    name = "autoencoder"
    micro_per_step = 1
    clip: float | None = None
    check_names: tuple[str, ...] = ("val_loss", "score")

    def __init__(self, experiment: Experiment, context: WorkerContext) -> None:
        config = experiment.config
        self._experiment, self._context = experiment, context
        self._config, self._seed = config.autoencoder, config.train.seed
        self._cells = experiment.train_cells()
        self._n_meta = round(self._config.metacells * self._config.batch)
        self._size = self._config.batch - self._n_meta
        self._meta = self._metacells() if self._n_meta else None
        self._per_epoch = -(-len(self._cells) // self._size)
        self.n_steps = self._config.epochs * self._per_epoch
        self.lr = self._config.lr
        held_out = experiment.cells_of(experiment.split.val)
        rng = generator(self._seed, "held out")
        self._held_out = np.sort(rng.permutation(held_out)[:HELD_OUT_CELLS])
        self._order: tuple[int, np.ndarray] | None = None

    def _epoch_order(self, epoch: int) -> np.ndarray:
        if self._order is None or self._order[0] != epoch:
            self._order = (epoch, generator(self._seed, "epoch", epoch).permutation(self._cells))
        return self._order[1]

    def rows(self, step: int) -> np.ndarray:
        """Positions of this rank's cells in update `step`: a strided share of the whole batch."""
        epoch, index = divmod(step, self._per_epoch)
        batch = self._epoch_order(epoch)[index * self._size : (index + 1) * self._size]
        return batch[self._context.rank :: self._context.world_size]

    def n_cells(self, step: int) -> int:
        epoch_rest = len(self._cells) - step % self._per_epoch * self._size
        return min(self._size, epoch_rest) + self._n_meta

    def micro_batches(self, step: int) -> list[CellBatch]:
        x = self._experiment.store.dense(self.rows(step), self._experiment.n_genes)
        if self._meta is not None:
            drawn = generator(self._seed, "metacells of a step", step).integers(len(self._meta), size=self._n_meta)
            x = np.concatenate([x, self._meta[drawn[self._context.rank :: self._context.world_size]]])
        batch = torch.from_numpy(x).to(self._context.device)
        return [CellBatch(batch, self.n_cells(step) / self._context.world_size)]

    def is_check(self, step: int) -> bool:
        every = self._config.check_every * self._per_epoch
        return bool(len(self._held_out)) and (step % every == 0 or step == self.n_steps)

    @torch.no_grad()
    def check(self, model: ScBIG) -> dict[str, float]:
        """Mean squared error on cells of validation conditions."""
        total = 0.0
        for block in self._experiment.blocks(self._held_out, self._config.batch)():
            x = torch.from_numpy(block).to(self._context.device)
            total += float((model.autoencoder(x) - x).square().sum())
        error = total / (len(self._held_out) * self._experiment.n_genes)
        return {"val_loss": error, "score": error}

    def patience(self) -> int | None:
        return self._config.patience if len(self._held_out) else None

    def _metacells(self) -> np.ndarray:
        """Means of disjoint groups of cells of one condition: (metacell, gene)."""
        experiment, size = self._experiment, self._config.metacell_size
        rng = generator(self._seed, "metacells")
        groups = []
        for condition in (*experiment.controls, *experiment.split.train):
            cells = rng.permutation(experiment.store.cells(condition))
            n = max(len(cells) // size, 1)
            groups += np.array_split(cells[: n * size], n)
        kept = [groups[index] for index in sorted(rng.permutation(len(groups))[:METACELLS])]
        means = np.empty((len(kept), experiment.n_genes), dtype=np.float32)
        for row, group in enumerate(kept):
            means[row] = experiment.store.dense(np.sort(group), experiment.n_genes).mean(axis=0)
        return means
