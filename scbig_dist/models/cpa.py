"""CPA: a cell's basal latent, made blind to what was done, plus a vector per target, dose and context.

Source: Lotfollahi et al. 2023, "Predicting cellular responses to complex perturbations in
high-throughput screens" (Molecular Systems Biology). z = z_basal(x) + Σ_t f_t(dose) v_t + c,
decoded by an MLP; an adversary reads targets and context from z_basal, which learns to hide
them. f_t is the paper's logistic dose curve σ(β_t log1p(dose) + b_t) − σ(b_t).

Departures:
- One optimiser with gradient reversal in place of two that alternate, and no gradient penalty.
- The adversary tells targets apart by cross-entropy (a combination's targets share the mass,
  control is a class of its own), not by one logistic regression per target.
- z_basal is drawn from a normal posterior with a divergence from N(0, 1) (`baseline.kl_weight`; an
  option of the released code): where one optimiser serves both sides, the adversary alone is too slow.
- Squared error: a normal likelihood of one variance. The paper's has a variance per gene and cell.
- LayerNorm in place of batch norm; the vectors v_t take larger steps than the networks' weights.
- A prediction is the decoder's mean at the mean of z_basal.
- v_t is learned; where the run has prior vectors of targets it is a linear map of the prior plus
  a learned part that starts at zero, so that a target with a prior can be predicted unseen (as
  chemCPA does for drugs).
- A context that training never perturbs keeps c = 0.

A target that training never hit and that has no prior vector gives NaN predictions.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from scbig_dist.config import Config
from scbig_dist.models.protocol import ConditionInput, PairBatch, StageLoss
from scbig_dist.models.screen_inputs import ScreenInputs
from scbig_dist.nn.condition import TargetEmbedding
from scbig_dist.nn.gaussian import Gaussian
from scbig_dist.nn.mlp import MLP
from scbig_dist.nn.reversal import reverse_gradient
from scbig_dist.nn.targets import are_defined, seen_targets, target_indicators

PACE = 10.0  # vectors v_t move so many times as far per step of Adam as a weight of the networks


class DoseCurves(nn.Module):
    """A logistic curve per target over log1p(dose), 0 at dose 0; all alike before training."""

    def __init__(self, n_targets: int) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.ones(n_targets))
        self.bias = nn.Parameter(torch.zeros(n_targets))

    def forward(self, given: ConditionInput) -> Float[Tensor, "condition slot"]:
        """Strengths of a condition's targets; a target from outside the screen has the first curve."""
        inside = given.targets.clamp(min=0) < len(self.slope)
        index = given.targets.clamp(0, len(self.slope) - 1)
        slope = torch.where(inside, self.slope[index], 1.0)
        bias = torch.where(inside, self.bias[index], 0.0)
        return torch.sigmoid(slope * torch.log1p(given.dose)[:, None] + bias) - torch.sigmoid(bias)


class CPA(nn.Module):
    """The protocol's model of one stage, `cells`."""

    stages: tuple[str, ...] = ("cells",)
    gene_mean: Tensor
    seen: Tensor

    def __init__(self, inputs: ScreenInputs, config: Config) -> None:
        super().__init__()
        b = config.baseline
        self.config = b
        self.n_targets, self.n_contexts = len(inputs.target_known), inputs.n_contexts
        n_genes = len(inputs.gene_mean)
        self.encoder = MLP(n_genes, 2 * b.latent_dim, b.width, b.n_layers, b.dropout)
        self.decoder = MLP(b.latent_dim, n_genes, b.width, b.n_layers, b.dropout)
        kind = "learned" if inputs.target_vectors is None else "both"
        self.embedding = TargetEmbedding(inputs.target_vectors, inputs.target_known, kind, b.latent_dim)
        with torch.no_grad():
            for parameter in self.embedding.parameters():
                parameter.div_(PACE)
        self.doses = DoseCurves(self.n_targets) if inputs.with_dose else None
        self.context: nn.Embedding | None = None
        if inputs.n_contexts > 1:
            self.context = nn.Embedding(inputs.n_contexts, b.latent_dim)
            nn.init.zeros_(self.context.weight)
        n_classes = self.n_targets + 1 + (inputs.n_contexts if inputs.n_contexts > 1 else 0)
        self.adversary = MLP(b.latent_dim, n_classes, b.width, b.n_layers, b.dropout)
        self.register_buffer("gene_mean", inputs.gene_mean.clone(), persistent=False)
        self.register_buffer("seen", seen_targets(inputs.train.targets, self.n_targets), persistent=False)

    def stage_modules(self, stage: str) -> list[nn.Module]:
        given = [module for module in (self.doses, self.context) if module is not None]
        return [self.encoder, self.decoder, self.embedding, self.adversary, *given]

    def loss(self, stage: str, batch: PairBatch) -> StageLoss:
        """Squared error per gene of perturbed and control cells, and the adversary's cross-entropy."""
        n, given = len(batch.x), batch.conditions
        size = n // len(given.dose)
        cells = torch.cat([batch.x, batch.control])
        posterior = self._encode(cells)
        basal, kl = posterior.draw(), posterior.divergence().mean()
        context = self._context(given)
        added = torch.cat([self._effect(given) + context, context]).repeat_interleave(size, 0)
        error = (self._decode(basal + added) - cells).square().mean()
        guess = self.adversary(reverse_gradient(basal, 1.0))
        told = self._adversary_loss(guess, given, size)
        total = error + self.config.adversary_weight * told + self.config.kl_weight / cells.shape[1] * kl
        parts = {"loss_cells": error, "loss_adversary": told, "kl_basal": kl}
        return StageLoss(total, {name: value.detach() for name, value in parts.items()})

    @torch.no_grad()
    def predict(
        self, control: Float[Tensor, "cell gene"], condition: ConditionInput, fast: bool = False
    ) -> Float[Tensor, "cell gene"]:
        """Control cells decoded with the condition's vector; NaN where a target has none."""
        if not are_defined(condition.targets, self._usable()).all():
            return torch.full_like(control, torch.nan)
        return self._decode(self._encode(control).mean + self._effect(condition) + self._context(condition))

    def _usable(self) -> Bool[Tensor, " target"]:
        """Targets with a vector: seen in training, or with a prior (also those met after training)."""
        seen = F.pad(self.seen, (0, len(self.embedding.known) - len(self.seen)))
        return seen if self.embedding.linear is None else seen | self.embedding.known

    def _effect(self, given: ConditionInput) -> Float[Tensor, "condition latent"]:
        vectors, present = self.embedding(given.targets)
        strength = present.to(vectors)
        if self.doses is not None:
            strength = strength * torch.where(given.dose[:, None] > 0, self.doses(given), 1.0)
        return PACE * (vectors * strength[..., None]).sum(1)

    def _context(self, given: ConditionInput) -> Float[Tensor, "condition latent"]:
        if self.context is None:
            return torch.zeros(len(given.dose), self.config.latent_dim, device=given.dose.device)
        return self.context(given.context)

    def _adversary_loss(self, guess: Float[Tensor, "cell class"], given: ConditionInput, size: int) -> Tensor:
        hit = target_indicators(given.targets, self.n_targets)
        hit = F.pad(hit / hit.sum(1, keepdim=True).clamp(min=1), (0, 1))
        nothing = F.one_hot(torch.full_like(given.context, self.n_targets), self.n_targets + 1).to(hit)
        truth = torch.cat([hit, nothing]).repeat_interleave(size, 0)
        told = F.cross_entropy(guess[:, : self.n_targets + 1], truth)
        if self.context is not None:
            where = torch.cat([given.context, given.context]).repeat_interleave(size)
            told = told + F.cross_entropy(guess[:, self.n_targets + 1 :], where)
        return told

    def _encode(self, cells: Float[Tensor, "cell gene"]) -> Gaussian:
        return Gaussian.from_parts(self.encoder(cells - self.gene_mean))

    def _decode(self, z: Float[Tensor, "cell latent"]) -> Float[Tensor, "cell gene"]:
        return self.decoder(z) + self.gene_mean
