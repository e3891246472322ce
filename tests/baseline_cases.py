"""Planted worlds for the trained baselines, and a small loop that trains one on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn

from scbig_dist.config import Config
from scbig_dist.models.protocol import ConditionInput, PairBatch
from scbig_dist.models.screen_inputs import ScreenInputs
from scbig_dist.settings import build_config


@dataclass(frozen=True)
class World:
    """Cells of training conditions and of control, and the true mean profiles of held-out ones."""

    control: Tensor
    cells: list[Tensor]
    train: ConditionInput
    held_out: ConditionInput
    truth: Tensor
    """(held-out condition, gene): the mean over many noiseless cells, less that of control."""
    n_targets: int

    @property
    def shifts(self) -> Tensor:
        return torch.stack([cells.mean(0) for cells in self.cells]) - self.control.mean(0)

    def inputs(self, **changes: Any) -> ScreenInputs:
        """What a model is built on; no priors and no graphs but those among the changes."""
        n_genes = self.control.shape[1]
        no_graph = {
            "gene_graph": torch.full((n_genes, 1), -1), "gene_weight": torch.zeros(n_genes, 1),
            "target_graph": torch.full((self.n_targets, 1), -1), "target_weight": torch.zeros(self.n_targets, 1),
        }  # fmt: skip
        inputs = ScreenInputs(
            gene_mean=torch.cat([self.control, *self.cells]).mean(0),
            control_mean=self.control.mean(0)[None],
            train=self.train,
            shifts=self.shifts,
            target_column=torch.full((self.n_targets,), -1),
            target_vectors=None,
            target_known=torch.zeros(self.n_targets, dtype=torch.bool),
            gene_embedding=None,
            n_contexts=1,
            with_dose=False,
            **no_graph,
        )
        return replace(inputs, **changes)


def conditions(targets: Sequence[Sequence[int]]) -> ConditionInput:
    """Of one context, without doses."""
    slots = max(len(hit) for hit in targets)
    table = torch.tensor([[*hit, *[-1] * (slots - len(hit))] for hit in targets])
    return ConditionInput(table, torch.zeros(len(table), dtype=torch.long), torch.zeros(len(table)))


def latent_world(
    effects: Tensor,
    decode: Callable[[Tensor], Tensor],
    generator: torch.Generator,
    n_doubles: int = 40,
    n_held_out: int = 15,
    n_cells: int = 60,
    noise: float = 0.2,
    basal_sd: float = 1.0,
) -> World:
    """Singles and doubles of targets whose effects, (target, latent), add up before `decode`; doubles are held out."""
    n_targets, latent_dim = effects.shape
    pairs = list(combinations(range(n_targets), 2))
    chosen = torch.randperm(len(pairs), generator=generator)[: n_doubles + n_held_out]
    doubles = [pairs[i] for i in chosen]
    train = [[t] for t in range(n_targets)] + [list(pair) for pair in doubles[:n_doubles]]
    held_out = [list(pair) for pair in doubles[n_doubles:]]

    def draw(hit: Sequence[int], n: int, sd: float) -> Tensor:
        basal = basal_sd * torch.randn(n, latent_dim, generator=generator)
        mean = decode(basal + effects[list(hit)].sum(0))
        return mean + sd * torch.randn(mean.shape, generator=generator)

    many = 4000
    truth = torch.stack([draw(hit, many, 0.0).mean(0) for hit in held_out]) - draw([], many, 0.0).mean(0)
    cells = [draw(hit, n_cells, noise) for hit in train]
    return World(draw([], 20 * n_cells, noise), cells, conditions(train), conditions(held_out), truth, n_targets)


def saturating_world(n_doubles: int = 40, gain: float = 1.0, basal_sd: float = 0.5) -> World:
    """Sixteen targets add in six latent dimensions; genes are logistic in them, so that shifts do not add."""
    generator = torch.Generator().manual_seed(0)
    effects = 1.5 * torch.randn(16, 6, generator=generator)
    loadings = torch.randn(6, 60, generator=generator) / 6**0.5
    level = 0.5 * torch.randn(60, generator=generator)
    return latent_world(
        effects,
        lambda z: 2 * torch.sigmoid(gain * (z @ loadings) + level),
        generator,
        n_doubles,
        noise=0.3,
        basal_sd=basal_sd,
    )


def batches(world: World, config: Config, seed: int) -> Callable[[], PairBatch]:
    """Draws batches as the training loop does: conditions uniformly, cells with replacement."""
    generator = torch.Generator().manual_seed(seed)
    n, b = len(world.cells), config.baseline
    size = b.batch // b.conditions_per_step

    def draw() -> PairBatch:
        chosen = torch.randint(n, (b.conditions_per_step,), generator=generator)
        rows = [torch.randint(len(world.cells[c]), (size,), generator=generator) for c in chosen]
        x = torch.cat([world.cells[c][row] for c, row in zip(chosen, rows, strict=True)])
        control = world.control[torch.randint(len(world.control), (len(x),), generator=generator)]
        return PairBatch(control, x, world.train.rows(chosen))

    return draw


def fit(
    kind: Callable[[ScreenInputs, Config], nn.Module], world: World, inputs: ScreenInputs, values: dict[str, Any]
) -> Any:
    """The model after `baseline.steps` updates, and after its own ending where it has one."""
    config = build_config(values)
    torch.manual_seed(0)
    model: Any = kind(inputs, config)
    learning = [parameter for module in model.stage_modules("cells") for parameter in module.parameters()]
    optimizer = torch.optim.Adam(learning, lr=config.baseline.lr, fused=True)
    draw = batches(world, config, seed=1)
    model.train()
    for _ in range(config.baseline.steps):
        loss = model.loss("cells", draw()).total
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    model.eval()
    if hasattr(model, "finish"):
        model.finish(lambda: ((row, cells, world.control) for row, cells in enumerate(world.cells)))
    return model


def predicted_shifts(model: Any, world: World, given: ConditionInput, n_cells: int = 400) -> Tensor:
    """(condition, gene): mean prediction for control cells, less the mean of all control cells."""
    control = world.control[:n_cells]
    rows = [model.predict(control, given.rows(torch.tensor([row]))).mean(0) for row in range(len(given.dose))]
    return torch.stack(rows) - world.control.mean(0)


def references(world: World, given: ConditionInput, ridge: float = 1.0) -> dict[str, Tensor]:
    """Shifts of the baselines that need no training: control, mean shift, sum of singles, ridge on indicators."""
    shifts, n_targets = world.shifts, world.n_targets
    single = {int(hit[0]): row for row, hit in enumerate(world.train.targets) if (hit >= 0).sum() == 1}

    def indicators(of: ConditionInput) -> Tensor:
        matrix = torch.zeros(len(of.dose), n_targets)
        for row, hit in enumerate(of.targets):
            matrix[row, hit[hit >= 0]] = 1.0
        return matrix

    a = indicators(world.train)
    effects = torch.linalg.solve(a.T @ a + ridge * torch.eye(n_targets), a.T @ shifts)
    additive = torch.stack([
        sum((shifts[single[int(t)]] for t in hit[hit >= 0]), torch.zeros(shifts.shape[1])) for hit in given.targets
    ]) if all(int(t) in single for t in given.targets.flatten() if t >= 0) else None  # fmt: skip
    found = {
        "control": torch.zeros(len(given.dose), shifts.shape[1]),
        "mean_shift": shifts.mean(0).expand(len(given.dose), -1),
        "ridge": indicators(given) @ effects,
    }
    return found if additive is None else found | {"additive": additive}


def error(shifts: Tensor, truth: Tensor) -> float:
    """Mean squared error of shifts."""
    return float((shifts - truth).square().mean())


def correlation(shifts: Tensor, truth: Tensor) -> float:
    """Pearson's, by condition, then the mean."""
    rows = [torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(shifts, truth, strict=True)]
    return float(torch.stack(rows).mean())
