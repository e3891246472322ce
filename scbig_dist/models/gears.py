"""GEARS: genes and targets as nodes of two graphs; a condition moves every gene through its own readout.

Source: Roohani, Huang and Leskovec 2023, "Predicting transcriptional outcomes of novel multigene
perturbations with GEARS" (Nature Biotechnology). A gene's embedding is joined by a convolution
over the co-expression graph, a target's is convolved over the graph of targets. The sum over a
condition's targets, through an MLP, is added to every gene's embedding (perturbed genes get a
vector more), which a shared MLP and a readout per gene decode, and a second readout beside a
cross-gene layer; the result is added to a control cell. Loss: |error|^(2+γ) (autofocus) and the
direction of shifts.

`ScreenInputs.gene_embedding`, where a file gives one, takes the place of the learned gene embedding: the
way in which scFoundation, GeneCompass and CellFM are carried by GEARS.

Departures:
- The graph of targets is made of shared protein interactions, not of shared GO terms.
- A neighbourhood is averaged by row. A target that training never hit carries nothing to others
  and is the mean of its trained neighbours; the released code leaves its vector at random.
- The shared decoder meets the sum of gene and condition without batch norm and ReLU between, so that its
  first map distributes over the sum and its last one folds into the readouts: a fiftieth of the work.
- γ is 0 by default (`baseline.focus`), 2 in the paper: on single cells the fourth power is not least at the
  mean, and scores of mean shifts fall.
- The direction loss compares tanh of a condition's mean shifts, in units of the gene's spread of
  training shifts; the released code compares signs by cell, whose gradient is zero.
- The last readout starts at zero: before training every shift is zero.
- A dose scales a condition's targets by log1p(dose) over that of the largest training dose; a
  context has a vector that starts at zero.
- No uncertainty head.

A target that training never hit and that has no trained neighbour gives NaN predictions.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scbig_dist.config import Config
from scbig_dist.models.protocol import ConditionInput, PairBatch, StageLoss
from scbig_dist.models.screen_inputs import ScreenInputs
from scbig_dist.nn.graph import GraphConvolution
from scbig_dist.nn.mlp import MLP
from scbig_dist.nn.targets import are_defined, dose_strength, seen_targets, target_indicators

GRAPH_WEIGHT = 0.2  # of the co-expression convolution beside a gene's own embedding, as published


class GeneNodes(nn.Module):
    """Embeddings of genes: learned or given, joined by their co-expression neighbourhood."""

    given: Tensor | None

    def __init__(self, inputs: ScreenInputs, width: int, dropout: float) -> None:
        super().__init__()
        n_genes = len(inputs.gene_mean)
        given = inputs.gene_embedding
        if given is None:
            self.learned = nn.Parameter(torch.randn(n_genes, width))
        else:
            given = given.float() / given.float().square().mean().sqrt().clamp(min=1e-12)
            self.linear = nn.Linear(given.shape[1], width)
        self.register_buffer("given", given, persistent=False)
        self.place = nn.Parameter(torch.randn(n_genes, width))
        every = torch.ones(n_genes, dtype=torch.bool)
        self.graph = GraphConvolution(inputs.gene_graph, inputs.gene_weight, every, width, width)
        self.mlp = MLP(width, width, width, 1, dropout)

    def forward(self) -> Float[Tensor, "gene width"]:
        own = self.learned if self.given is None else self.linear(self.given)
        return self.mlp(torch.relu(own) + GRAPH_WEIGHT * self.graph(self.place))


class GEARS(nn.Module):
    """The protocol's model of one stage, `cells`; `baseline.latent_dim` is the width of its embeddings."""

    stages: tuple[str, ...] = ("cells",)
    target_column: Tensor
    shift_scale: Tensor

    def __init__(self, inputs: ScreenInputs, config: Config) -> None:
        super().__init__()
        b = config.baseline
        self.config = b
        n_genes, n_targets, width = len(inputs.gene_mean), len(inputs.target_known), b.latent_dim
        self.genes = GeneNodes(inputs, width, b.dropout)
        seen = seen_targets(inputs.train.targets, n_targets)
        self.target_vectors = nn.Parameter(torch.randn(n_targets, width))
        self.target_graph = GraphConvolution(inputs.target_graph, inputs.target_weight, seen, width, width)
        self.fuse = MLP(width, width, width, 1, b.dropout)
        self.context: nn.Embedding | None = None
        if inputs.n_contexts > 1:
            self.context = nn.Embedding(inputs.n_contexts, width)
            nn.init.zeros_(self.context.weight)
        self.gene_part = nn.Linear(width, 2 * width)
        self.condition_part = nn.Linear(width, 2 * width, bias=False)
        self.hit_part = nn.Parameter(torch.zeros(2 * width))
        self.fold = nn.Linear(2 * width, width)
        self.first = nn.Parameter(torch.empty(n_genes, width).normal_(0, width**-0.5))
        self.cross = MLP(n_genes, width, width, 1, b.dropout)
        self.second = nn.Parameter(torch.zeros(n_genes, width + 1))
        self.bias = nn.Parameter(torch.zeros(n_genes))
        self.top_dose = float(inputs.train.dose.max()) if inputs.with_dose else 0.0
        spread = inputs.shifts.float().std(0, correction=0)
        self.register_buffer("shift_scale", spread + spread.mean().clamp(min=1e-6), persistent=False)
        self.register_buffer("target_column", inputs.target_column.clone(), persistent=False)

    def stage_modules(self, stage: str) -> list[nn.Module]:
        return [self]

    def loss(self, stage: str, batch: PairBatch) -> StageLoss:
        """Autofocus loss over pairs of a perturbed and a random control cell, and the direction of mean shifts."""
        shift = self._shift(batch.conditions)
        groups = (len(shift), -1)
        true = (batch.x - batch.control).unflatten(0, groups)
        focus = (true - shift[:, None]).abs().pow(2 + self.config.focus).mean()
        direction = (self._direction(true.mean(1)) - self._direction(shift)).square().mean()
        parts = {"loss_focus": focus.detach(), "loss_direction": direction.detach()}
        return StageLoss(focus + self.config.direction_weight * direction, parts)

    @torch.no_grad()
    def predict(
        self, control: Float[Tensor, "cell gene"], condition: ConditionInput, fast: bool = False
    ) -> Float[Tensor, "cell gene"]:
        """Control cells plus the condition's shift; NaN for a target that no trained one is near."""
        if not are_defined(condition.targets, self.target_graph.reached).all():
            return torch.full_like(control, torch.nan)
        return control + self._shift(condition)

    def _direction(self, shift: Float[Tensor, "condition gene"]) -> Float[Tensor, "condition gene"]:
        return torch.tanh(shift / self.shift_scale)

    def _shift(self, given: ConditionInput) -> Float[Tensor, "condition gene"]:
        strength = dose_strength(given.dose, self.top_dose)[:, None]
        vectors = self.target_graph(self.target_vectors)
        condition = self.fuse(strength * (target_indicators(given.targets, len(vectors)) @ vectors))
        if self.context is not None:
            condition = condition + self.context(given.context)
        hidden = self.gene_part(self.genes()) + self.condition_part(condition)[:, None]
        place, hit = self._hits(given)
        hidden = hidden.index_put(place, (hit[:, None] * self.hit_part).to(hidden.dtype), accumulate=True)
        # readout · fold(h) = (readout @ fold) · h: the fold's width × 2 width map meets each gene once, not each cell.
        readout = self.first @ self.fold.weight
        out = (torch.relu(hidden) * readout).sum(-1) + self.first @ self.fold.bias
        return out * self.second[:, 0] + self.cross(out) @ self.second[:, 1:].T + self.bias

    def _hits(self, given: ConditionInput) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """Where conditions hit genes of the panel (condition, gene), and 1 for each; the first place with 0 where none does.

        Slots that hit no panel gene stay, with 0: shapes must not depend on the batch.
        """
        row = torch.arange(len(given.targets), device=given.targets.device)[:, None].expand_as(given.targets)
        inside = (given.targets >= 0) & (given.targets < len(self.target_column))
        column = torch.where(inside, self.target_column[given.targets.where(inside, 0)], -1)
        return (row.flatten(), column.clamp(min=0).flatten()), (column >= 0).float().flatten()
