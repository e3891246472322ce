"""scBIG: an autoencoder over gene modules and a conditional flow between its latents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from scbig_dist import losses
from scbig_dist.config import Config
from scbig_dist.flow.coupling import couple
from scbig_dist.flow.path import sample_path
from scbig_dist.flow.solver import evaluation_times, solve
from scbig_dist.models.own_gene import OwnGene, OwnShifts
from scbig_dist.models.protocol import AlignBatch, Batch, CellBatch, ConditionInput, FlowBatch, ShiftBatch, StageLoss
from scbig_dist.models.shift_head import ShiftHead, ShiftInputs
from scbig_dist.nn.condition import ConditionEncoder
from scbig_dist.nn.flat_autoencoder import MLPAutoencoder
from scbig_dist.nn.gcae import Autoencoder
from scbig_dist.nn.pca import PCAAutoencoder, PrincipalComponents
from scbig_dist.nn.velocity import VelocityField

VALIDATION_STEPS = 8  # midpoint steps of a fast solve


@dataclass(frozen=True)
class ModelInputs:
    """What a model is built on: everything that is fixed before the first step."""

    module_of_gene: Int[Tensor, " gene"]
    gene_mean: Float[Tensor, " gene"]
    gene_embedding: Float[Tensor, "gene e"] | None
    components: Float[Tensor, "component gene"] | None
    target_vectors: Float[Tensor, "target e"] | None
    target_known: Bool[Tensor, " target"]
    pathways: Float[Tensor, "pathway gene"] | None
    n_contexts: int
    with_dose: bool
    shift: ShiftInputs | None = None
    own: OwnShifts | None = None


class ScBIG(nn.Module):
    """The protocol's model: stages `autoencoder` and `flow`; between them `shift`, where a head says where means go.

    With a head the flow learns cells around their condition's mean, from controls around
    theirs; a predicted cell is its control cell, moved by the head's shift and by what the
    flow changes beyond a common shift of all cells.
    """

    latent_mean: Tensor
    to_flow: Tensor
    from_flow: Tensor
    control_mean: Tensor
    modules_mean: Tensor
    pathways_mean: Tensor | None

    def __init__(self, inputs: ModelInputs, config: Config) -> None:
        super().__init__()
        self.config = config
        self.autoencoder: Any = _autoencoder(inputs, config)
        flow = config.flow
        if inputs.target_vectors is None:  # nothing is known of any target: learned vectors alone
            flow = flow.model_copy(update={"target_embedding": "learned"})
        self.condition = ConditionEncoder(
            inputs.target_vectors, inputs.target_known, flow, inputs.n_contexts, inputs.with_dose
        )
        self.velocity = VelocityField(config.gcae.latent_dim, config.flow)
        self.shift: ShiftHead | None = None
        if inputs.shift is not None:
            self.shift = ShiftHead(inputs.shift, inputs.module_of_gene, config.shift)
            self.register_buffer("control_mean", inputs.shift.control_mean, persistent=False)
        self.own_gene = None if inputs.own is None else OwnGene(inputs.own)
        learns = config.shift.head == "network"  # a ridge alone is computed
        self.stages: tuple[str, ...] = ("autoencoder", "shift", "flow") if learns else ("autoencoder", "flow")
        n_modules = int(inputs.module_of_gene.max()) + 1
        membership = torch.zeros(n_modules, len(inputs.module_of_gene))
        membership[inputs.module_of_gene, torch.arange(len(inputs.module_of_gene))] = 1.0
        # Fixed once the inputs are: kept out of the weights on disk.
        self.register_buffer("modules_mean", losses.averages(membership), persistent=False)
        pathways = None if inputs.pathways is None else losses.averages(inputs.pathways)
        self.register_buffer("pathways_mean", pathways, persistent=False)
        for name in ("to_flow", "from_flow"):
            self.register_buffer(name, torch.eye(config.gcae.latent_dim))
        self.register_buffer("latent_mean", torch.zeros(config.gcae.latent_dim))

    def stage_modules(self, stage: str) -> list[nn.Module]:
        if stage == "autoencoder":
            return [self.autoencoder]
        if stage == "shift":
            assert self.shift is not None
            return [self.shift]
        flow: list[nn.Module] = [self.condition, self.velocity]
        return [*flow, self.autoencoder] if self.config.flow.train_autoencoder else flow

    def encode(self, x: Float[Tensor, "cell gene"]) -> Float[Tensor, "cell latent"]:
        """Latents in the flow's coordinates (`flow.latent_scale`)."""
        return (self.autoencoder.encode(x) - self.latent_mean) @ self.to_flow

    def decode(self, z: Float[Tensor, "cell latent"]) -> Float[Tensor, "cell gene"]:
        return self.autoencoder.decode(z @ self.from_flow + self.latent_mean)

    def loss(self, stage: str, batch: Batch) -> StageLoss:
        if isinstance(batch, CellBatch):
            errors = (self.autoencoder(batch.x) - batch.x).square().sum(1)
            errors = errors if batch.weights is None else errors * batch.weights
            return StageLoss(errors.sum() / (batch.n_mean * batch.x.shape[1]))
        if isinstance(batch, ShiftBatch):
            assert self.shift is not None
            return StageLoss(self.shift.loss(batch))
        assert isinstance(batch, FlowBatch), stage
        return self._flow_loss(batch)

    def _flow_loss(self, batch: FlowBatch) -> StageLoss:
        flow = self.config.flow
        x0, x1 = (self.encode(batch.x0), self.encode(batch.x1)) if flow.train_autoencoder else (batch.x0, batch.x1)
        groups = (len(batch.keep), -1)
        uniforms = batch.uniforms.unflatten(0, groups)
        partners = couple(
            x0.unflatten(0, groups), x1.unflatten(0, groups), uniforms, flow.coupling, flow.coupling_epsilon
        )
        size = partners.shape[1]
        rows = partners + size * torch.arange(len(batch.keep), device=partners.device)[:, None]
        sample = sample_path(x0, x1[rows.flatten()], batch.t, batch.noise, flow.sigma)
        c = batch.conditions
        condition = self.condition(c.targets, c.context, c.dose, batch.target_noise)
        v_t = self.velocity(sample.t, sample.x_t, condition * batch.keep[:, None])
        flow_loss = (v_t - sample.u_t).square().mean()
        parts = {"loss_flow": flow_loss.detach()}
        total = flow_loss
        if batch.align is not None:
            share: float | Tensor = 1.0
            if self.config.align.estimate == "one_step":
                n = min(size, self.config.align.n_cells)  # the first group has the condition of the targets
                left = (1 - sample.t[:n, None]) * v_t[:n]
                z1 = sample.x_t[:n] - flow.sigma * batch.noise[:n] + left
                share = batch.keep[0]  # velocities without their condition say nothing about it
            else:
                z1 = self._carry(batch.align, condition)
            for name, weight, value in self._align(batch.align, self.decode(z1).float()):
                total = total + weight * share * value
                parts[name] = value.detach()
        return StageLoss(total, parts)

    def _carry(self, align: AlignBatch, condition: Float[Tensor, "condition d"]) -> Float[Tensor, "cell latent"]:
        x0 = self.encode(align.x0) if self.config.flow.train_autoencoder else align.x0
        return self._solve(x0, condition[align.condition], "midpoint", self.config.align.n_solver_steps)

    def _solve(
        self, x0: Float[Tensor, "cell latent"], c: Float[Tensor, " d"], method: str, n_steps: int
    ) -> Float[Tensor, "cell latent"]:
        """The state at t = 1 under one condition. What the path does not change is computed once, before it."""
        tolerance = self.config.flow.tolerance
        if (times := evaluation_times(method, n_steps, x0.device)) is None:
            return solve(lambda t, x: self.velocity(t, x, c), x0, method, n_steps, tolerance)
        given = iter(self.velocity.at_times(times, c).unbind())
        return solve(lambda t, x: self.velocity.move(x, next(given)), x0, method, n_steps, tolerance)

    def _align(self, align: AlignBatch, predicted: Float[Tensor, "cell gene"]) -> list[tuple[str, float, Tensor]]:
        config = self.config.align
        terms = []
        if align.target_corr is not None:
            loss = losses.correlation_loss(predicted, align.target_corr, self.modules_mean)
            terms.append(("loss_corr", config.lambda_corr, loss))
        if align.target_activation is not None and self.pathways_mean is not None:
            loss = losses.pathway_loss(
                predicted,
                align.target_activation,
                self.pathways_mean,
                config.epsilon,
                config.n_iterations,
                config.debiased,
            )
            terms.append(("loss_path", config.lambda_path, loss))
        return terms

    @torch.no_grad()
    def predict(
        self, control: Float[Tensor, "cell gene"], condition: ConditionInput, fast: bool = False
    ) -> Float[Tensor, "cell gene"]:
        flow = self.config.flow
        z0 = self.encode(control)
        # Encoded once: the condition does not change along the path.
        c = self.condition(condition.targets, condition.context, condition.dose)
        method, n_steps = ("midpoint", VALIDATION_STEPS) if fast else (flow.solver, flow.solver_steps)
        z1 = self._solve(z0, c[0], method, n_steps)
        cells = self.decode(z1)
        if self.shift is not None:
            moved = control + cells - self.decode(z0)
            # Moved together so that the cells' mean is the head's: the draw of control cells adds no noise to it.
            mean = self.control_mean[condition.context] + self.shift(condition).to(control)
            cells = moved - moved.mean(0) + mean
        return cells if self.own_gene is None else self.own_gene(cells, condition)


def _autoencoder(inputs: ModelInputs, config: Config) -> nn.Module:
    gcae, components = config.gcae, inputs.components
    if gcae.encoder == "pca":
        assert components is not None
        sd = components.norm(dim=1).numpy()
        return PCAAutoencoder(PrincipalComponents(mean=inputs.gene_mean.numpy(), components=components.numpy(), sd=sd))
    if gcae.encoder == "mlp":
        return MLPAutoencoder(inputs.gene_mean, gcae, components)
    recompute = config.train.checkpoint_activations
    return Autoencoder(inputs.module_of_gene, inputs.gene_embedding, inputs.gene_mean, gcae, recompute, components)
