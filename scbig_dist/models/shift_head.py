"""The mean head: kernel ridge on target sets, corrected by a small network that all genes share.

The network learns truth − base from training conditions that are left out of the base *and* of
its features: a combination alone, or every condition of one or of all of its targets ("as if
unseen"). It meets in training the errors that it will meet in testing.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from scbig_dist.config import ShiftConfig
from scbig_dist.models.protocol import ConditionInput, ShiftBatch
from scbig_dist.models.shift_base import BASE, COMBINATIONS, ELSEWHERE, N_WEIGHTS, SUM, ShiftBase

N_GENE_FEATURES = 10  # behind the weighted shifts: see `ShiftHead.features`
N_MODULE_FEATURES = 3
LINEAR_TO = 0.7  # of the largest shift seen; behind it a held shift levels off


@dataclass(frozen=True)
class ShiftInputs:
    """What the head is built on; kept with a run's weights."""

    train: ConditionInput
    shifts: Float[Tensor, "train gene"]
    control_mean: Float[Tensor, "context gene"]
    control_sd: Float[Tensor, "context gene"]
    target_column: Int[Tensor, " target"]
    relations: Float[Tensor, "target r"]
    """Rows of length 1 (or 0), whose products say how alike targets are."""


class ShiftHead(nn.Module):
    """Conditions → mean shifts from the control mean of their own context (condition, gene)."""

    scale: Tensor
    unit: Tensor

    def __init__(
        self,
        inputs: ShiftInputs,
        module_of_gene: Int[Tensor, " gene"],
        config: ShiftConfig,
    ) -> None:
        super().__init__()
        self._config, self.inputs = config, inputs
        self._column = inputs.target_column
        self._relations = inputs.relations.double()
        one = nn.functional.one_hot(module_of_gene).double() if config.modules else None
        self._membership = None if one is None else one / one.sum(0).clamp_min(1)
        self._module_of_gene = module_of_gene
        self._base: ShiftBase | None = None
        n = N_WEIGHTS + N_GENE_FEATURES + N_MODULE_FEATURES * (one is not None)
        n_networks = config.n_networks if config.head == "network" else 0
        self.networks = nn.ModuleList(_network(n, config.width) for _ in range(n_networks))
        # Scale of features and unit of corrections: from the training examples, once.
        self.register_buffer("scale", torch.ones(n))
        self.register_buffer("unit", torch.ones(()))

    def extend(self, relations: Float[Tensor, "target r"]) -> None:
        """Add targets that training has not met, by their relations."""
        self._relations = torch.cat([self._relations, relations.double()])
        self._column = torch.cat([self._column, self._column.new_full((len(relations),), -1)])
        self._base = None

    @torch.no_grad()
    def forward(self, conditions: ConditionInput) -> Float[Tensor, "condition gene"]:
        z = self.indicators(conditions)
        gone = torch.zeros(len(z), len(self.inputs.shifts), dtype=torch.bool)
        base, features = self.features(z, conditions, gone)
        if self.networks:
            features = features.to(self.scale)
            base = base + self._config.weight * self.correction(features).double().cpu()
        return (self._held(base, z) if self._config.saturate else base).float()

    def _held(self, shifts: Float[Tensor, "condition gene"], z: Tensor) -> Float[Tensor, "condition gene"]:
        """Shifts that level off towards the largest that training has seen of their gene, up and down.

        What two redundant targets do does not add up, and a gene cannot go on for ever; the sum of effects knows neither.
        Genes that are hit are left as they are: an unseen target's own gene may never have moved before.
        """
        seen = self.inputs.shifts.double()
        most = torch.where(shifts > 0, seen.amax(0), -seen.amin(0)).clamp_min(1e-6)
        share = shifts.abs() / most
        level = LINEAR_TO + (1 - LINEAR_TO) * torch.tanh((share - LINEAR_TO) / (1 - LINEAR_TO))
        held = torch.where(share > LINEAR_TO, shifts.sign() * most * level, shifts)
        return torch.where(self._at_targets(z, shifts) > 0, shifts, held)

    def correction(self, features: Float[Tensor, "*row feature"]) -> Float[Tensor, "*row"]:
        """Mean over the networks, in units of shifts."""
        x = features / self.scale
        return torch.stack([network(x)[..., 0] for network in self.networks]).mean(0) * self.unit

    def loss(self, batch: ShiftBatch) -> Tensor:
        """Sum over the networks of their own mean squared errors, in units of `unit`²: each learns by itself."""
        x = batch.features / self.scale
        wanted = batch.correction / self.unit
        return torch.stack([(network(x)[..., 0] - wanted).square().mean() for network in self.networks]).sum()

    def features(
        self, z: Float[Tensor, "row target"], conditions: ConditionInput, gone: Bool[Tensor, "row train"]
    ) -> tuple[Float[Tensor, "row gene"], Float[Tensor, "row gene feature"]]:
        """The base's shifts and the network's features for conditions with training conditions left out.

        Features: the weighted training shifts of `ShiftBase.weights`; the largest
        effect of a target; SD over training conditions; mean and SD of control cells; whether the gene is a target,
        and an unseen one; how many targets are unseen; whether it is a combination; how alike its targets'
        effects are, and how large their sum; and means over the
        gene's module of the sum, the larger effect and the mean of combinations (`shift.modules`).
        """
        base, y = self.base(), self.inputs.shifts.double()
        place = self._place(conditions)
        weighted, larger, lengths = [], [], []
        for row in range(len(z)):
            weights, effects = base.weights(z[row], place[row], gone[row])
            weighted.append(weights @ y)
            each = effects @ y
            lengths.append(torch.stack([each.sum(0).square().sum(), each.square().sum()]))
            larger.append(
                each.gather(0, each.abs().argmax(0, keepdim=True))[0]
                if len(each)
                else torch.zeros(y.shape[1], dtype=y.dtype)
            )
        linear, big, length = torch.stack(weighted), torch.stack(larger), torch.stack(lengths)
        # 1 for unrelated effects of the targets, their number for equal ones: equal effects do not add up.
        alike = length[:, 0] / length[:, 1].clamp_min(1e-12), length[:, 0].sqrt()
        kept = (~gone).double()
        n = kept.sum(1, keepdim=True).clamp_min(1)
        sd = ((kept @ y**2) / n - ((kept @ y) / n) ** 2).clamp_min(0).sqrt()
        unseen = z * (kept @ base.z == 0)
        control = [
            each[conditions.context.cpu()].double() for each in (self.inputs.control_mean, self.inputs.control_sd)
        ]
        flat = [each[:, None].expand_as(big) for each in (unseen.sum(1), (z.sum(1) > 1).double(), *alike)]
        columns = [
            *linear.unbind(1),
            big,
            sd,
            *control,
            self._at_targets(z, big),
            self._at_targets(unseen, big),
            *flat,
        ]
        if self._membership is not None:
            columns += [
                (each @ self._membership)[:, self._module_of_gene]
                for each in (linear[:, SUM], big, linear[:, COMBINATIONS])
            ]
        return linear[:, BASE], torch.stack(columns, -1)

    def examples(self) -> tuple[Int[Tensor, " example"], Bool[Tensor, "example train"]]:
        """Rows of training conditions, and what is left out for each: itself, all conditions of one of
        its targets, all of all of them (a single that is in no combination: once)."""
        z = self.indicators(self.inputs.train)
        rows, gone = [], []
        for row, hit in enumerate(z):
            each = [z[:, target] > 0 for target in hit.nonzero()[:, 0]]
            together = torch.stack(each).any(0)
            alone = torch.arange(len(z)) == row
            out = [alone, *each, together] if len(each) > 1 else [alone, together]
            if len(each) == 1 and bool((alone == together).all()):
                out = [together]
            rows += [row] * len(out)
            gone += out
        return torch.tensor(rows), torch.stack(gone)

    def base(self) -> ShiftBase:
        """The kernel ridge; computed from the inputs when first asked for."""
        if self._base is None:
            train = self.inputs.train
            similarity = self._relations @ self._relations.T
            self._base = ShiftBase(
                self.indicators(train), self._place(train), self.inputs.shifts.double(), similarity, self._config
            )
        return self._base

    def measure(self, features: Float[Tensor, "row feature"], wanted: Float[Tensor, " row"]) -> None:
        """Take the scale of features and the unit of corrections, root mean squares, from the training examples."""
        scale = features.square().mean(0).sqrt()
        self.scale.copy_(torch.where(scale > 0, scale, 1.0))
        self.unit.copy_(wanted.square().mean().sqrt().clamp_min(1e-9))

    def indicators(self, conditions: ConditionInput) -> Float[Tensor, "condition target"]:
        """1 where a target is hit."""
        z = torch.zeros(len(conditions.targets), len(self._relations) + 1, dtype=torch.float64)
        z.scatter_(1, conditions.targets.cpu() % z.shape[1], 1.0)  # an empty slot, -1, is the last column
        return z[:, :-1]

    def _place(self, conditions: ConditionInput) -> Float[Tensor, "condition train"]:
        train = self.inputs.train
        same = (conditions.context.cpu()[:, None] == train.context) & (conditions.dose.cpu()[:, None] == train.dose)
        return torch.where(same, 1.0, ELSEWHERE).double()

    def _at_targets(self, z: Tensor, like: Tensor) -> Tensor:
        """1 at the panel columns of the targets."""
        inside = self._column >= 0
        at = torch.zeros_like(like)
        at[:, self._column[inside]] = z[:, inside]
        return at


def _network(n_features: int, width: int) -> nn.Sequential:
    """Features of a gene in a condition → correction; zero before training."""
    last = nn.Linear(width, 1)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(n_features, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), last)
