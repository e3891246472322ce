"""scGen: a variational autoencoder of all cells, and perturbations as shifts between mean latents.

Source: Lotfollahi, Wolf and Theis 2019, "scGen predicts single-cell perturbation responses"
(Nature Methods). δ = mean latent of perturbed cells − mean latent of control cells; a
prediction decodes a control cell's latent plus δ.

Departures:
- The paper has one perturbation and predicts cell types that were not perturbed. Here δ of a
  condition is a sum over its targets; the targets' parts come from a ridge regression
  (`baseline.ridge`) of the training conditions' δ on target indicators, so that combinations
  in training count too.
- All training cells of a condition and of its context's control enter with equal weight; the
  paper balances cell types.
- A dose scales the indicators by log1p(dose) over that of the largest training dose.
- Until training has ended (`finish`), validation takes δ between encoded mean profiles, not
  between means of encoded cells, which would cost a pass over the screen.
- The divergence weighs `baseline.scgen_kl_weight`, 3e-3 (the paper: 5e-5).
- LayerNorm in place of batch norm, SiLU in place of leaky ReLU.

A target that no training condition hits has no δ: its predictions are NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scbig_dist.config import Config
from scbig_dist.models.protocol import ConditionInput, PairBatch, StageLoss
from scbig_dist.models.screen_inputs import ScreenInputs
from scbig_dist.nn.gaussian import Gaussian
from scbig_dist.nn.mlp import MLP
from scbig_dist.nn.targets import are_defined, dose_strength, seen_targets, target_indicators

Walk = Callable[[], Iterable[tuple[int, Tensor, Tensor]]]
"""Blocks of training cells: the row of their condition in `ScreenInputs.train`, the cells, control cells of its context."""


class ScGen(nn.Module):
    """The protocol's model of one stage, `cells`; `finish` then measures the shifts."""

    stages: tuple[str, ...] = ("cells",)
    gene_mean: Tensor
    seen: Tensor
    indicators: Tensor
    contexts: Tensor
    profiles: Tensor
    controls: Tensor
    finished: Tensor
    shifts: Tensor

    def __init__(self, inputs: ScreenInputs, config: Config) -> None:
        super().__init__()
        b = config.baseline
        self.config = b
        n_genes, n_targets = len(inputs.gene_mean), len(inputs.target_known)
        self.encoder = MLP(n_genes, 2 * b.latent_dim, b.width, b.n_layers, b.dropout)
        self.decoder = MLP(b.latent_dim, n_genes, b.width, b.n_layers, b.dropout)
        self.top_dose = float(inputs.train.dose.max()) if inputs.with_dose else 0.0
        controls = inputs.control_mean[inputs.train.context].float()
        for name, value in {
            "gene_mean": inputs.gene_mean.clone(),
            "seen": seen_targets(inputs.train.targets, n_targets),
            "indicators": self._strengths(inputs.train, n_targets),
            "contexts": inputs.train.context.clone(),
            "controls": controls,
            "profiles": controls + inputs.shifts.float(),
        }.items():
            self.register_buffer(name, value, persistent=False)
        self.register_buffer("finished", torch.tensor(False))
        self.register_buffer("shifts", torch.zeros(n_targets, b.latent_dim))

    def stage_modules(self, stage: str) -> list[nn.Module]:
        return [self.encoder, self.decoder]

    def loss(self, stage: str, batch: PairBatch) -> StageLoss:
        """Squared error per gene + KL of the latents per gene, over perturbed and control cells."""
        cells = torch.cat([batch.x, batch.control])
        latent = self._encode(cells)
        error = (self._decode(latent.draw()) - cells).square().mean()
        kl = latent.divergence().mean()
        parts = {"loss_cells": error.detach(), "kl": kl.detach()}
        return StageLoss(error + self.config.scgen_kl_weight / cells.shape[1] * kl, parts)

    @torch.no_grad()
    def finish(self, walk: Walk) -> None:
        """Measure the targets' shifts with the trained encoder, over all training cells."""
        sums = self.indicators.new_zeros(len(self.indicators), self.config.latent_dim)
        counts = self.indicators.new_zeros(len(self.indicators), 1)
        basal: dict[int, Tensor] = {}
        for row, cells, control in walk():
            sums[row] += self._encode(cells).mean.sum(0)
            counts[row] += len(cells)
            if (
                context := int(self.contexts[row])
            ) not in basal:  # a context's control cells are the same in every block
                basal[context] = self._encode(control).mean.mean(0)
        none = torch.zeros_like(sums[0])
        control_means = torch.stack([basal.get(int(context), none) for context in self.contexts])
        self.shifts.copy_(self._regress(sums / counts.clamp(min=1) - control_means, counts > 0))
        self.finished.fill_(True)

    @torch.no_grad()
    def predict(
        self, control: Float[Tensor, "cell gene"], condition: ConditionInput, fast: bool = False
    ) -> Float[Tensor, "cell gene"]:
        """Control cells decoded with the condition's δ; NaN for a target that training never hit."""
        if not are_defined(condition.targets, self.seen).all():
            return torch.full_like(control, torch.nan)
        shifts = self.shifts if self.finished else self._rough_shifts()
        offset = self._strengths(condition, len(shifts)) @ shifts
        return self._decode(self._encode(control).mean + offset)

    def _rough_shifts(self) -> Float[Tensor, "target latent"]:
        """The targets' shifts from encoded mean profiles."""
        difference = self._encode(self.profiles).mean - self._encode(self.controls).mean
        return self._regress(difference, torch.ones_like(difference[:, :1], dtype=torch.bool))

    def _regress(self, difference: Float[Tensor, "condition latent"], known: Tensor) -> Float[Tensor, "target latent"]:
        """Ridge regression without intercept: with no target nothing shifts. Conditions that are not known are left out."""
        a = (self.indicators * known).double()
        gram = a.T @ a + self.config.ridge * torch.eye(a.shape[1], dtype=a.dtype, device=a.device)
        return torch.linalg.solve(gram, a.T @ difference.double()).to(difference)

    def _strengths(self, given: ConditionInput, n_targets: int) -> Float[Tensor, "condition target"]:
        return target_indicators(given.targets, n_targets) * dose_strength(given.dose, self.top_dose)[:, None]

    def _encode(self, cells: Float[Tensor, "cell gene"]) -> Gaussian:
        return Gaussian.from_parts(self.encoder(cells - self.gene_mean))

    def _decode(self, z: Float[Tensor, "cell latent"]) -> Float[Tensor, "cell gene"]:
        return self.decoder(z) + self.gene_mean
