"""samsVAE: every target shifts a few dimensions of a cell's latent, and shifts add up.

Source: Bereket and Karaletsos 2023, "Modelling Cellular Perturbations with the Sparse
Additive Mechanism Shift Variational Autoencoder" (NeurIPS). z = z_basal + Σ_t m_t ⊙ e_t with
m_t ~ Bernoulli(`baseline.sparsity`), e_t ~ N(0, 1), z_basal ~ N(0, 1); the posterior of z_basal
is amortised over the cell and its condition's shift, that of the masks is relaxed with a
straight-through gradient.

Departures:
- Cells are log-normalised, so their likelihood is normal with one variance for all genes
  (half of `baseline.kl_weight`), not negative binomial.
- e_t has means and deviations of its own where its mask is on and its prior where it is off
  (spike and slab); the paper's q(e | m) is a network over mask and target.
- The divergence of masks and effects has a weight of its own (`baseline.effect_weight`).
- The decoder and the encoder of z_basal are MLPs with LayerNorm.
- A prediction is the decoder's mean at the control cell's own mean z_basal plus the expected
  shift Σ_t q(m_t) ⊙ E e_t; the paper draws z_basal from its prior.
- A dose scales a condition's shift by log1p(dose) over that of the largest training dose.

A target that no training condition hits has no shift: its predictions are NaN.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scbig_dist.config import Config
from scbig_dist.models.protocol import ConditionInput, PairBatch, StageLoss
from scbig_dist.models.screen_inputs import ScreenInputs
from scbig_dist.nn.gaussian import LOG_SD, Gaussian
from scbig_dist.nn.masks import draw_mask, mask_divergence
from scbig_dist.nn.mlp import MLP
from scbig_dist.nn.targets import are_defined, dose_strength, seen_targets, target_indicators

EFFECT_SD = 0.1  # of an effect's posterior before the first step, and of the means that it starts from
PACE = 10.0  # masks and effects move so many times as far per step of Adam as a weight of the networks


class TargetShifts(nn.Module):
    """Posteriors of every target's mask and effect, each (target, latent)."""

    def __init__(self, n_targets: int, latent_dim: int, prior: float) -> None:
        super().__init__()
        self.slow_logit = nn.Parameter(torch.zeros(n_targets, latent_dim))
        self.slow_mean = nn.Parameter(torch.empty(n_targets, latent_dim).normal_(0, EFFECT_SD / PACE))
        self.log_sd = nn.Parameter(torch.full((n_targets, latent_dim), EFFECT_SD).log())
        self._prior = prior

    @property
    def mask(self) -> Float[Tensor, "target latent"]:
        """Posterior probabilities that a target moves a dimension."""
        return torch.sigmoid(PACE * self.slow_logit)

    @property
    def effect(self) -> Gaussian:
        """Posteriors of how far, where it does."""
        return Gaussian(PACE * self.slow_mean, self.log_sd.clamp(*LOG_SD))

    def draw(self) -> Float[Tensor, "target latent"]:
        """One draw of m ⊙ e; an effect under a closed mask does not matter."""
        return draw_mask(PACE * self.slow_logit) * self.effect.draw()

    def expected(self) -> Float[Tensor, "target latent"]:
        return self.mask * self.effect.mean

    def divergence(self) -> Float[Tensor, " target"]:
        """KL of each target's masks and effects from their priors, in nats; effects count where the mask is on."""
        effect = self.effect
        each = Gaussian(effect.mean[..., None], effect.log_sd[..., None]).divergence()
        return mask_divergence(PACE * self.slow_logit, self._prior) + (self.mask * each).sum(-1)


class SamsVAE(nn.Module):
    """The protocol's model of one stage, `cells`."""

    stages: tuple[str, ...] = ("cells",)
    gene_mean: Tensor
    seen: Tensor

    def __init__(self, inputs: ScreenInputs, config: Config) -> None:
        super().__init__()
        b = config.baseline
        self.config = b
        n_genes, n_targets = len(inputs.gene_mean), len(inputs.target_known)
        self.shifts = TargetShifts(n_targets, b.latent_dim, b.sparsity)
        self.encoder = MLP(n_genes + b.latent_dim, 2 * b.latent_dim, b.width, b.n_layers, b.dropout)
        self.decoder = MLP(b.latent_dim, n_genes, b.width, b.n_layers, b.dropout)
        self.top_dose = float(inputs.train.dose.max()) if inputs.with_dose else 0.0
        self.register_buffer("gene_mean", inputs.gene_mean.clone(), persistent=False)
        self.register_buffer("seen", seen_targets(inputs.train.targets, n_targets), persistent=False)

    def stage_modules(self, stage: str) -> list[nn.Module]:
        return [self.shifts, self.encoder, self.decoder]

    def loss(self, stage: str, batch: PairBatch) -> StageLoss:
        """Squared error per gene + KL of basal latents, masks and effects per gene (a scaled evidence bound)."""
        n = len(batch.x)
        given = batch.conditions
        offset = self._offset(given, self.shifts.draw()).repeat_interleave(n // len(given.dose), 0)
        offset = torch.cat([offset, torch.zeros_like(offset)])  # control cells are not shifted
        cells = torch.cat([batch.x, batch.control])
        basal = self._basal(cells, offset)
        error = (self._decode(basal.draw() + offset) - cells).square().mean()
        kl = basal.divergence().mean()
        kl_shifts = self.shifts.divergence().mean()
        weight = self.config.kl_weight / cells.shape[1]
        total = error + weight * (kl + self.config.effect_weight * kl_shifts)
        parts = {"loss_cells": error, "kl_basal": kl, "kl_shifts": kl_shifts}
        return StageLoss(total, {name: value.detach() for name, value in parts.items()})

    @torch.no_grad()
    def predict(
        self, control: Float[Tensor, "cell gene"], condition: ConditionInput, fast: bool = False
    ) -> Float[Tensor, "cell gene"]:
        """Control cells decoded with the condition's expected shift; NaN for a target that training never hit."""
        if not are_defined(condition.targets, self.seen).all():
            return torch.full_like(control, torch.nan)
        offset = self._offset(condition, self.shifts.expected())
        basal = self._basal(control, torch.zeros_like(offset).expand(len(control), -1)).mean
        return self._decode(basal + offset)

    def _offset(
        self, given: ConditionInput, shifts: Float[Tensor, "target latent"]
    ) -> Float[Tensor, "condition latent"]:
        strength = dose_strength(given.dose, self.top_dose)
        return strength[:, None] * (target_indicators(given.targets, len(shifts)) @ shifts)

    def _basal(self, cells: Float[Tensor, "cell gene"], offset: Float[Tensor, "cell latent"]) -> Gaussian:
        return Gaussian.from_parts(self.encoder(torch.cat([cells - self.gene_mean, offset], 1)))

    def _decode(self, z: Float[Tensor, "cell latent"]) -> Float[Tensor, "cell gene"]:
        return self.decoder(z) + self.gene_mean
