"""CPA in a world of latent shifts behind a saturating decoder; its adversary, doses, and priors of targets."""

from __future__ import annotations

from dataclasses import replace

import torch
from baseline_cases import batches, conditions, correlation, error, fit, predicted_shifts, references, saturating_world

from scbig_dist.models.cpa import CPA
from scbig_dist.settings import build_config

VALUES = {
    "baseline.width": 64, "baseline.latent_dim": 12, "baseline.n_layers": 1, "baseline.lr": 3e-3, "baseline.steps": 1000,
    "baseline.kl_weight": 0.18, "baseline.adversary_weight": 0.02,
}  # fmt: skip


def test_it_beats_what_adds_in_expression_where_latents_add() -> None:
    world = saturating_world()
    model = fit(CPA, world, world.inputs(), VALUES)
    found = predicted_shifts(model, world, world.held_out)
    for name, other in references(world, world.held_out, ridge=0.1).items():
        assert error(found, world.truth) < 0.95 * error(other, world.truth), name
    assert correlation(found, world.truth) > 0.94


def test_the_adversary_learns_and_the_encoder_unlearns() -> None:
    """One step down the adversary's loss alone: its own weights improve its guess, the encoder's make it worse."""
    world = saturating_world()
    torch.manual_seed(0)
    model = CPA(world.inputs(), build_config(VALUES | {"baseline.adversary_weight": 1.0}))
    batch = batches(world, build_config(VALUES), 0)()

    def told() -> float:
        torch.manual_seed(1)
        return float(model.loss("cells", batch).parts["loss_adversary"])

    for part, improves in ((model.adversary, True), (model.encoder, False)):
        before = told()
        torch.manual_seed(1)
        found = model.loss("cells", batch)
        plain = found.total - _without_adversary(model, batch)
        grads = torch.autograd.grad(plain, list(part.parameters()), allow_unused=True)
        with torch.no_grad():
            for parameter, grad in zip(part.parameters(), grads, strict=True):
                if grad is not None:
                    parameter -= 0.01 * grad
        assert (told() < before) == improves


def _without_adversary(model: CPA, batch: object) -> torch.Tensor:
    torch.manual_seed(1)
    kept, model.config = model.config, model.config.model_copy(update={"adversary_weight": 0.0})
    total = model.loss("cells", batch).total
    model.config = kept
    return total


def test_a_prior_makes_an_unseen_target_predictable() -> None:
    """Targets with the same vector and nothing learned shift alike; one without a vector stays undefined."""
    world = replace(saturating_world(), n_targets=19)
    vectors = torch.randn(19, 4, generator=torch.Generator().manual_seed(0))
    vectors[17] = vectors[3]
    known = torch.ones(19, dtype=torch.bool)
    known[18] = False
    model = CPA(world.inputs(target_vectors=vectors, target_known=known), build_config(VALUES)).eval()
    control = world.control[:5]
    at = [model.predict(control, conditions([[target]])) for target in (3, 17, 18, 19)]
    torch.testing.assert_close(at[0], at[1])
    assert torch.isnan(at[2]).all() and torch.isnan(at[3]).all()
    model.embedding.extend(vectors[3:4])  # a target from outside the screen
    torch.testing.assert_close(model.predict(control, conditions([[19]])), at[0])


def test_dose_curves_start_at_zero_and_rise() -> None:
    world = saturating_world()
    model = CPA(world.inputs(with_dose=True), build_config(VALUES))
    given = replace(conditions([[0, 1]] * 3), dose=torch.tensor([1e-9, 1.0, 10.0]))
    strength = model.doses(given)
    assert strength[0].abs().max() < 1e-6
    assert (strength.diff(dim=0) > 0).all()
