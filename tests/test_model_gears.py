"""GEARS in a world where targets near each other in a graph act alike: it predicts targets that it never saw."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from baseline_cases import World, conditions, correlation, error, fit, predicted_shifts
from torch import Tensor

from scbig_dist.models.gears import GEARS
from scbig_dist.models.protocol import PairBatch
from scbig_dist.settings import build_config

N_TARGETS, N_UNSEEN, N_GENES, N_GROUPS = 40, 10, 60, 5
VALUES = {"baseline.latent_dim": 32, "baseline.lr": 3e-3, "baseline.steps": 400, "baseline.focus": 0.0}


def graph_world() -> tuple[World, Tensor, Tensor]:
    """Targets of a group share their effect but for a little; five of six neighbours are of the own group."""
    generator = torch.Generator().manual_seed(0)
    group = torch.arange(N_TARGETS) % N_GROUPS
    shared = torch.randn(N_GROUPS, N_GENES, generator=generator)
    shared = shared * (torch.rand(N_GROUPS, N_GENES, generator=generator) < 0.3)
    effects = shared[group] + 0.15 * torch.randn(N_TARGETS, N_GENES, generator=generator)
    level = 1 + torch.rand(N_GENES, generator=generator)

    def draw(effect: Tensor, n: int) -> Tensor:
        return level + effect + 0.5 * torch.randn(n, N_GENES, generator=generator)

    def some(among: Tensor, n: int) -> Tensor:
        places = torch.nonzero(among)[:, 0]
        return places[torch.randperm(len(places), generator=generator)[:n]]

    own = torch.arange(N_TARGETS)
    rows = [torch.cat([some((group == group[t]) & (own != t), 5), some(group != group[t], 1)]) for t in own]
    weight = torch.tensor([0.3] * 5 + [0.1]).repeat(N_TARGETS, 1)
    train, unseen = own[:-N_UNSEEN], own[-N_UNSEEN:]
    cells = [draw(effects[t], 40) for t in train]
    given, held_out = ([[int(t)] for t in part] for part in (train, unseen))
    world = World(
        draw(torch.zeros(N_GENES), 800), cells, conditions(given), conditions(held_out), effects[unseen], N_TARGETS
    )
    return world, torch.stack(rows), weight


def test_it_predicts_unseen_targets_from_their_neighbours() -> None:
    world, graph, weight = graph_world()
    model = fit(GEARS, world, world.inputs(target_graph=graph, target_weight=weight), VALUES)
    found = predicted_shifts(model, world, world.held_out, n_cells=800)
    mean_shift = world.shifts.mean(0).expand_as(found)
    assert error(found, world.truth) < 0.3 * error(mean_shift, world.truth)
    assert correlation(found, world.truth) > 0.85
    # The neighbours of a target: with a graph at random there is nothing to learn about unseen ones.
    mixed = graph[torch.randperm(N_TARGETS, generator=torch.Generator().manual_seed(1))]
    model = fit(GEARS, world, world.inputs(target_graph=mixed, target_weight=weight), VALUES)
    assert correlation(predicted_shifts(model, world, world.held_out, n_cells=800), world.truth) < 0.5


def test_an_unseen_target_without_trained_neighbours_is_undefined() -> None:
    world, graph, weight = graph_world()
    lonely, last = N_TARGETS - 1, N_TARGETS - 2
    graph[lonely] = -1
    weight[lonely] = 0.0
    graph[last] = lonely  # its only neighbour is unseen as well
    model = GEARS(world.inputs(target_graph=graph, target_weight=weight), build_config(VALUES)).eval()
    control = world.control[:3]
    assert torch.isnan(model.predict(control, conditions([[lonely]]))).all()
    assert torch.isnan(model.predict(control, conditions([[0, last]]))).all()
    assert torch.isfinite(model.predict(control, conditions([[N_TARGETS - 3]]))).all()


def test_before_training_a_control_cell_is_left_alone() -> None:
    world, graph, weight = graph_world()
    model = GEARS(world.inputs(target_graph=graph, target_weight=weight), build_config(VALUES)).eval()
    assert torch.equal(model.predict(world.control[:3], conditions([[0, 5]])), world.control[:3])


def test_folded_decoder_equals_the_written_out_one() -> None:
    """Shared MLP on gene + condition, a readout per gene, a second one beside the cross-gene layer."""
    world, graph, weight = graph_world()
    column = torch.arange(N_TARGETS)
    torch.manual_seed(0)
    model = GEARS(
        world.inputs(target_graph=graph, target_weight=weight, target_column=column), build_config(VALUES)
    ).eval()
    with torch.no_grad():
        for parameter in (model.hit_part, model.second, model.bias):
            parameter.normal_()
        given = conditions([[0, 7]])
        genes, targets = model.genes(), model.target_graph(model.target_vectors)
        condition = model.fuse((targets[0] + targets[7])[None])
        hit = torch.zeros(N_GENES, 1)
        hit[[0, 7]] = 1.0
        hidden = torch.relu(model.gene_part(genes) + model.condition_part(condition) + hit * model.hit_part)
        out = (model.fold(hidden) * model.first).sum(1)
        beside = torch.cat([out[:, None], model.cross(out[None]).expand(N_GENES, -1)], 1)
        wanted = world.control[:2] + (beside * model.second).sum(1) + model.bias
    torch.testing.assert_close(model.predict(world.control[:2], given), wanted, rtol=1e-4, atol=1e-4)


def test_a_given_gene_embedding_takes_the_place_of_the_learned_one() -> None:
    world, graph, weight = graph_world()
    given = torch.randn(N_GENES, 7, generator=torch.Generator().manual_seed(0))
    inputs = world.inputs(target_graph=graph, target_weight=weight, gene_embedding=given)
    model = GEARS(inputs, build_config(VALUES))
    assert "genes.learned" not in dict(model.named_parameters())
    scaled = GEARS(replace(inputs, gene_embedding=100 * given), build_config(VALUES))
    scaled.load_state_dict(model.state_dict())
    torch.testing.assert_close(model.genes(), scaled.genes())  # whatever the file's scale


@pytest.mark.parametrize("focus", [0.0, 2.0])
def test_autofocus_is_a_power_of_the_error(focus: float) -> None:
    world, graph, weight = graph_world()
    values = VALUES | {"baseline.focus": focus, "baseline.direction_weight": 0.0}
    model = GEARS(world.inputs(target_graph=graph, target_weight=weight), build_config(values))
    batch = PairBatch(world.control[:4], world.cells[0][:4], world.train.rows(torch.tensor([0, 1])))
    error_of_control = (batch.x - batch.control).abs().pow(2 + focus).mean()  # untrained shifts are zero
    torch.testing.assert_close(model.loss("cells", batch).total.detach(), error_of_control)
