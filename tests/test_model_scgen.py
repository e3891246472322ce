"""scGen in a world of latent shifts behind a saturating decoder, and its shifts against the definition."""

from __future__ import annotations

import torch
from baseline_cases import World, conditions, correlation, error, fit, predicted_shifts, references, saturating_world

from scbig_dist.models.scgen import ScGen
from scbig_dist.settings import build_config

VALUES = {
    "baseline.width": 64, "baseline.latent_dim": 12, "baseline.n_layers": 1, "baseline.lr": 3e-3, "baseline.steps": 600,
    "baseline.scgen_kl_weight": 1e-3, "baseline.ridge": 0.1,
}  # fmt: skip


def test_it_beats_what_adds_in_expression_where_latents_add() -> None:
    world = saturating_world(gain=1.5, basal_sd=0.25)
    model = fit(ScGen, world, world.inputs(), VALUES)
    found = predicted_shifts(model, world, world.held_out)
    for name, other in references(world, world.held_out, ridge=0.1).items():  # the same penalty, in expression
        assert error(found, world.truth) < 0.95 * error(other, world.truth), name
    assert correlation(found, world.truth) > 0.92


def small(world: World) -> ScGen:
    torch.manual_seed(0)
    return ScGen(world.inputs(), build_config(VALUES | {"baseline.ridge": 1e-6})).eval()


def test_shifts_are_differences_of_mean_latents() -> None:
    """With singles alone and no ridge to speak of, δ is the paper's own; blocks and their order do not matter."""
    world = saturating_world(n_doubles=0)
    model = small(world)
    model.finish(
        lambda: (
            (row, part, world.control) for row, cells in reversed([*enumerate(world.cells)]) for part in cells.split(17)
        )
    )
    with torch.no_grad():
        latents = torch.stack([model._encode(cells).mean.mean(0) for cells in world.cells])
        wanted = latents - model._encode(world.control).mean.mean(0)
    torch.testing.assert_close(model.shifts, wanted, rtol=1e-4, atol=1e-5)


def test_before_the_end_shifts_come_from_mean_profiles() -> None:
    world = saturating_world(n_doubles=0)
    model = small(world)
    given = conditions([[2]])
    with torch.no_grad():
        profile, control = world.cells[2].mean(0, keepdim=True), world.control.mean(0, keepdim=True)
        shift = model._encode(profile).mean - model._encode(control).mean
        wanted = model._decode(model._encode(world.control[:5]).mean + shift)
    torch.testing.assert_close(model.predict(world.control[:5], given), wanted, rtol=1e-4, atol=1e-4)
    model.finish(lambda: ((row, cells, world.control) for row, cells in enumerate(world.cells)))
    assert not torch.allclose(model.predict(world.control[:5], given), wanted)


def test_a_training_condition_without_cells_is_left_out() -> None:
    world = saturating_world()
    model = small(world)
    model.finish(lambda: ((row, cells, world.control) for row, cells in enumerate(world.cells) if row != 0))
    assert torch.isfinite(model.shifts).all()
