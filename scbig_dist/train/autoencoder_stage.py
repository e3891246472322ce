"""Stage 1: the autoencoder learns to reconstruct cells."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from scbig_dist.config import Config
from scbig_dist.models.protocol import CellBatch
from scbig_dist.models.scbig import ScBIG
from scbig_dist.train.context import WorkerContext
from scbig_dist.train.experiment import Experiment
from scbig_dist.train.order import epoch_order
from scbig_dist.train.random import generator
from scbig_dist.train.residence import cell_source, memory_note, to_device

HELD_OUT_CELLS = 4096  # cells of validation conditions that stage 1 is checked on
METACELLS = 4096  # means of cells kept in memory
PART_TOKENS = 4096  # module tokens of a part on a CPU: their activations stay in its caches


def n_parts(config: Config, world_size: int, device: torch.device) -> int:
    """Parts of a rank's share of an update (`autoencoder.accumulate`)."""
    if config.autoencoder.accumulate is not None:
        return config.autoencoder.accumulate
    if device.type != "cpu" or config.gcae.encoder in ("pca", "mlp"):
        return 1
    n_cells = -(-config.autoencoder.batch // world_size)
    return min(-(-n_cells * config.grc.n_modules // PART_TOKENS), n_cells)


class AutoencoderStage:
    """Every training cell once per epoch over all ranks, in an order from (seed, epoch)."""

    name = "autoencoder"
    clip: float | None = None
    weight_decay = 0.0
    check_names: tuple[str, ...] = ("val_loss", "score")

    def __init__(self, experiment: Experiment, context: WorkerContext) -> None:
        config = experiment.config
        self._experiment, self._context = experiment, context
        self._config, self._seed = config.autoencoder, config.train.seed
        self._n_parts = n_parts(config, context.world_size, context.device)
        self.micro_per_step = self._n_parts * context.world_size
        self._cells = experiment.train_cells()
        self._n_meta = round(self._config.metacells * self._config.batch)
        self._size = self._config.batch - self._n_meta
        self._meta = self._metacells() if self._n_meta else None
        self._per_epoch = -(-len(self._cells) // self._size)
        self.n_steps = self._config.epochs * self._per_epoch
        self.lr, self.schedule = self._config.lr, str(self._config.schedule)
        held_out = experiment.cells_of(experiment.split.val)
        rng = generator(self._seed, "held out")
        self._held_out = np.sort(rng.permutation(held_out)[:HELD_OUT_CELLS])
        experiment.store.expect_random(config.data.shuffle == "pools")
        self._order = epoch_order(self._cells, self._seed, config.data)
        self._source, note = cell_source(experiment.store, self._cells, experiment.n_genes, context.device)
        self.notes = [each for each in (note, memory_note(experiment.store, config.data)) if each]
        """What the one who watches should know."""

    def rows(self, step: int) -> np.ndarray:
        """Positions of this rank's cells in update `step`: its share of the whole batch, in the store's order.

        A rank has the same part of the store's order in every batch, as nearly as the draw lets it: the nodes of a
        cluster hold different pages, not each all of them.
        """
        epoch, start = self._place(step)
        batch = np.sort(self._order.cells(epoch, start, start + self._size))
        return np.array_split(batch, self._context.world_size)[self._context.rank]

    def _place(self, step: int) -> tuple[int, int]:
        """Epoch of an update, and its first cell there."""
        epoch, index = divmod(step, self._per_epoch)
        return epoch, index * self._size

    def n_cells(self, step: int) -> int:
        epoch_rest = len(self._cells) - step % self._per_epoch * self._size
        return min(self._size, epoch_rest) + self._n_meta

    def micro_batches(self, step: int) -> Iterator[CellBatch]:
        epoch, start = self._place(step)
        rank, world_size = self._context.rank, self._context.world_size
        self._order.read_ahead(self._experiment.store, epoch, start, start + self._size, rank, world_size)
        n_mean = self.n_cells(step) / (world_size * self._n_parts)
        meta = None
        if self._meta is not None:
            drawn = generator(self._seed, "metacells of a step", step).integers(len(self._meta), size=self._n_meta)
            meta = self._meta[drawn[rank::world_size]]
        for index, cells in enumerate(np.array_split(self.rows(step), self._n_parts)):
            more = None if meta is None else np.array_split(meta, self._n_parts)[index]
            yield CellBatch(self._source(cells, more), n_mean, self._weights(len(cells), more))

    def _weights(self, n_cells: int, more: np.ndarray | None) -> Tensor | None:
        """Of the rows of a part: cells, then metacells."""
        if more is None or self._config.metacell_weight == 1:
            return None
        weights = np.ones(n_cells + len(more), dtype=np.float32)
        weights[n_cells:] = self._config.metacell_weight
        return to_device(weights, self._context.device)

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
