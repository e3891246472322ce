"""Stage 2: the flow learns to carry control cells to perturbed cells."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from scbig_dist import losses
from scbig_dist.models.protocol import AlignBatch, FlowBatch
from scbig_dist.models.scbig import ScBIG
from scbig_dist.train.context import WorkerContext
from scbig_dist.train.experiment import Experiment
from scbig_dist.train.latents import write_latents
from scbig_dist.train.random import generator
from scbig_dist.train.residence import CellSource, cell_source, to_device
from scbig_dist.train.validation import Validation

TARGET_CELLS = 512  # true cells behind a condition's module correlations


class FlowStage:
    """Micro-batch i depends on (seed, i) alone; rank r of W takes i ≡ r modulo W."""

    name = "flow"
    weight_decay = 0.0
    check_names: tuple[str, ...] = ("val_pearson_delta", "val_mse", "score")

    def __init__(
        self, experiment: Experiment, model: ScBIG, context: WorkerContext, latents: Tensor | None = None
    ) -> None:
        """`latents`: of training cells, by position in the store; where a frozen encoder's are not given they are computed."""
        config = experiment.config
        self._experiment, self._context, self._model = experiment, context, model
        self._config, self._align, self._seed = config.flow, config.align, config.train.seed
        self.micro_per_step = self._config.accumulate
        self.n_steps = self._config.steps // self._config.accumulate
        self.lr, self.schedule = self._config.lr, str(self._config.schedule)
        self.clip: float | None = self._config.clip
        self.conditions = list(experiment.split.train)
        self._input = experiment.condition_input(self.conditions).to(context.device)
        cells = experiment.train_cells()
        experiment.store.expect_random(False)  # latents are computed in the store's order
        self._source: CellSource | None = None
        self._latents: Tensor | None = None
        self.notes: list[str] = []
        """What the one who watches should know."""
        if self._config.train_autoencoder:
            self._source, note = cell_source(experiment.store, cells, experiment.n_genes, context.device)
            self.notes = [note] if note else []
        else:  # latents of a frozen encoder never change: computed once, they stay on the device
            self._latents = latents if latents is not None else self._encode()
        self._targets: dict[int, tuple[Tensor | None, Tensor | None]] = {}
        self._validation = Validation(experiment, context) if experiment.split.val else None

    def _encode(self) -> Tensor:
        latents = torch.zeros(self._experiment.store.n_cells, self._experiment.config.gcae.latent_dim)
        write_latents(self._model, self._experiment, self._context, latents)
        return latents.to(self._context.device)

    def _features(self, cells: np.ndarray) -> Tensor:
        """What the model is given for these cells: latents, or expression where the encoder learns."""
        if self._latents is not None:
            return self._latents[self._tensor(cells)]
        assert self._source is not None
        return self._source(cells)

    def micro_batches(self, step: int) -> Iterator[FlowBatch]:
        first = step * self.micro_per_step
        own = range(first + self._context.rank, first + self.micro_per_step, self._context.world_size)
        return (self._micro_batch(index) for index in own)  # one in memory at a time

    def _micro_batch(self, index: int) -> FlowBatch:
        config, store = self._config, self._experiment.store
        rng = generator(self._seed, "flow", index)
        chosen = rng.integers(len(self.conditions), size=config.conditions_per_step)
        size = config.batch // config.conditions_per_step
        control, perturbed = [], []
        for condition in (self.conditions[row] for row in chosen):
            control.append(store.draw(store.control(condition.context), size, rng))
            perturbed.append(store.draw(condition, size, rng))
        n, latent_dim = config.batch, self._experiment.config.gcae.latent_dim
        keep = (rng.random(len(chosen)) >= config.condition_drop).astype(np.float32)
        return FlowBatch(
            x0=self._features(np.concatenate(control)),
            x1=self._features(np.concatenate(perturbed)),
            conditions=self._input.rows(self._tensor(chosen)),
            t=self._tensor(rng.random(n, dtype=np.float32)),
            noise=self._tensor(rng.standard_normal((n, latent_dim), dtype=np.float32)),
            uniforms=self._tensor(rng.random(n, dtype=np.float32)),
            keep=self._tensor(keep),
            align=self._align_batch(rng, chosen) if index % self._align.every == 0 else None,
            target_noise=self._target_noise(rng, len(chosen)),
        )

    def _target_noise(self, rng: np.random.Generator, n_conditions: int) -> Tensor | None:
        """Drawn last: without it the other draws of a micro-batch are the same."""
        embedding = self._model.condition.embedding
        if self._config.target_noise == 0 or embedding.linear is None:
            return None
        shape = (n_conditions, self._input.targets.shape[1], embedding.linear.in_features)
        return self._tensor(rng.standard_normal(shape, dtype=np.float32) * np.float32(self._config.target_noise))

    def _align_batch(self, rng: np.random.Generator, chosen: np.ndarray) -> AlignBatch | None:
        """Control cells of the micro-batch's first condition with its cached targets."""
        corr, activation = self._alignment_targets(int(chosen[0]))
        if corr is None and activation is None:
            return None
        store = self._experiment.store
        control = store.control(self.conditions[chosen[0]].context)
        return AlignBatch(self._features(store.draw(control, self._align.n_cells, rng)), 0, corr, activation)

    def _alignment_targets(self, row: int) -> tuple[Tensor | None, Tensor | None]:
        if row not in self._targets:
            model, store = self._model, self._experiment.store
            with_corr = self._align.lambda_corr > 0
            with_path = self._align.lambda_path > 0 and model.pathways_mean is not None
            if not (with_corr or with_path):
                return None, None
            rng = generator(self._seed, "alignment", row)
            cells = rng.permutation(store.cells(self.conditions[row]))[:TARGET_CELLS]
            x = self._tensor(store.dense(cells, self._experiment.n_genes))
            if self._align.targets == "decoded":
                with torch.no_grad():  # in evaluation mode: dropout belongs to training steps
                    x = model.autoencoder(x)
            if model.shift is not None:  # as the latents are centred
                x = x - x.mean(0) + model.control_mean[self._input.context[row]].to(x)
            corr = losses.module_correlation(x, model.modules_mean) if with_corr else None
            few = x[: self._align.n_cells]
            path = losses.set_means(few, model.pathways_mean) if with_path and model.pathways_mean is not None else None
            self._targets[row] = (corr, path)
        return self._targets[row]

    def n_cells(self, step: int) -> int:
        return self._config.batch * self.micro_per_step

    def is_check(self, step: int) -> bool:
        every = self._config.validate_every // self.micro_per_step
        return self._validation is not None and (step % every == 0 or step == self.n_steps)

    def check(self, model: ScBIG) -> dict[str, float]:
        assert self._validation is not None
        figures = self._validation.score(model)
        return {**figures, "score": -figures["val_pearson_delta"]}

    def patience(self) -> int | None:
        return None

    def _tensor(self, array: np.ndarray) -> Tensor:
        return to_device(array, self._context.device)
