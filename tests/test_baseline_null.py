"""A world where nothing happens: no trained baseline may beat Control by more than noise, nor invent effects."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from baseline_cases import error, fit, latent_world, predicted_shifts, references

from scbig_dist.models.cpa import CPA
from scbig_dist.models.gears import GEARS
from scbig_dist.models.samsvae import SamsVAE
from scbig_dist.models.scgen import ScGen

VALUES = {
    "baseline.width": 32, "baseline.latent_dim": 8, "baseline.n_layers": 1, "baseline.steps": 300, "baseline.batch": 128,
    "baseline.focus": 0.0,
}  # fmt: skip


@pytest.mark.parametrize("kind", [SamsVAE, CPA, GEARS, ScGen])
def test_in_a_null_world_nobody_beats_control(kind: Any) -> None:
    """Noise is the sampling error of a mean profile: of the control cells, which every prediction starts from."""
    generator = torch.Generator().manual_seed(0)
    loadings = torch.randn(4, 30, generator=generator)
    world = latent_world(torch.zeros(10, 4), lambda z: torch.relu(z @ loadings), generator, 20, 20, noise=0.3)
    model = fit(kind, world, world.inputs(), VALUES)
    cells = torch.cat([world.control, *world.cells])
    of_control = float(cells.var(0).mean()) / len(world.control)
    of_condition = float(cells.var(0).mean()) / len(world.cells[0])
    true = world.truth + cells.mean(0) - world.control.mean(0)  # all cells are alike: their mean is the better truth
    control = error(references(world, world.held_out)["control"], true)
    found = error(predicted_shifts(model, world, world.held_out, n_cells=len(world.control)), true)
    assert found > control - 2 * of_control
    assert found < control + 2 * of_condition, "an effect out of nothing"
