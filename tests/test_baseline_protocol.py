"""What every trained baseline owes the protocol: shapes, determinism, undefined as NaN, all weights learning."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from baseline_cases import batches, conditions, latent_world

from scbig_dist.models.cpa import CPA
from scbig_dist.models.gears import GEARS
from scbig_dist.models.protocol import ConditionInput, PairBatch
from scbig_dist.models.samsvae import SamsVAE
from scbig_dist.models.scgen import ScGen
from scbig_dist.settings import build_config

KINDS = [SamsVAE, CPA, GEARS, ScGen]
CONFIG = build_config({
    "baseline.width": 16, "baseline.latent_dim": 6, "baseline.batch": 32, "baseline.conditions_per_step": 4,
})  # fmt: skip
N_TARGETS = 6  # of which training hits the first five


def world_of() -> Any:
    generator = torch.Generator().manual_seed(0)
    loadings = torch.randn(3, 12, generator=generator)
    world = latent_world(
        torch.randn(5, 3, generator=generator), lambda z: torch.relu(z @ loadings), generator, 4, 3, 20
    )
    return replace(world, n_targets=N_TARGETS)


def model_of(kind: Any, **changes: Any) -> Any:
    torch.manual_seed(0)
    return kind(world_of().inputs(**changes), CONFIG)


def moved(model: Any) -> Any:
    """The model with weights that are nowhere zero, as after training."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
        for name, buffer in model.named_buffers():
            if name == "shifts":
                buffer.normal_()
                model.finished.fill_(True)
    return model.eval()


@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_learns(kind: Any) -> None:
    world = world_of()
    model = moved(model_of(kind, target_column=torch.arange(N_TARGETS)))
    learning = {name for name, _ in model.named_parameters()}
    given = {id(p) for module in model.stage_modules("cells") for p in module.parameters()}
    assert given == {id(p) for p in model.parameters()}, "a module of no stage never learns"
    loss = model.loss("cells", batches(world, CONFIG, 0)())
    assert loss.total.shape == () and loss.total.requires_grad
    assert all(not part.requires_grad for part in loss.parts.values())
    loss.total.backward()
    still = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    assert not still, f"of {sorted(learning)}"


@pytest.mark.parametrize("kind", KINDS)
def test_prediction_is_repeatable_and_blind_to_the_order_of_targets(kind: Any) -> None:
    model, control = moved(model_of(kind)), world_of().control[:10]
    one, other = (model.predict(control, conditions([pair])) for pair in ([0, 3], [3, 0]))
    assert one.shape == control.shape and torch.isfinite(one).all()
    assert not one.requires_grad
    torch.testing.assert_close(one, other)
    torch.testing.assert_close(one, model.predict(control, conditions([[-1, 3, 0]]), fast=True))
    assert not torch.allclose(one, model.predict(control, conditions([[0]])))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hit", [[5], [0, 5], [6], [0, 17]], ids=str)
def test_a_target_that_training_never_hit_is_undefined(kind: Any, hit: list[int]) -> None:
    model, control = moved(model_of(kind)), world_of().control[:3]
    assert torch.isnan(model.predict(control, conditions([hit]))).all()


@pytest.mark.parametrize("kind", KINDS)
def test_losses_follow_the_seed(kind: Any) -> None:
    model, batch = model_of(kind), batches(world_of(), CONFIG, 0)()
    found = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        found.append(model.loss("cells", batch).total.item())
    assert found[0] == found[1]
    assert (found[0] == found[2]) == (kind is GEARS), "only variational models draw"


@pytest.mark.parametrize("kind", KINDS)
def test_weights_alone_bring_a_model_back(kind: Any) -> None:
    model, control = moved(model_of(kind)), world_of().control[:4]
    torch.manual_seed(7)
    again = kind(world_of().inputs(), CONFIG)
    again.load_state_dict(model.state_dict())
    given = conditions([[1, 2]])
    assert torch.equal(model.predict(control, given), again.eval().predict(control, given))


@pytest.mark.parametrize("kind", KINDS)
def test_a_dose_acts(kind: Any) -> None:
    world = world_of()
    train = replace(world.train, dose=torch.linspace(1, 10, len(world.train.dose)))
    model = moved(model_of(kind, train=train, with_dose=True))
    assert torch.isfinite(model.loss("cells", dosed(batches(replace(world, train=train), CONFIG, 0)())).total)
    control = world.control[:4]

    def at(dose: float) -> torch.Tensor:
        return model.predict(control, replace(conditions([[1, 2]]), dose=torch.tensor([dose])))

    base, low, high = at(1e-7), at(1.0), at(10.0)
    assert (low - base).norm() > 0 and not torch.allclose(low, high)
    if kind in (SamsVAE, ScGen):
        assert (high - base).norm() > (low - base).norm()
    if kind is not CPA:
        assert torch.equal(at(0.0), high), "without a dose: the full effect"


def dosed(batch: PairBatch) -> PairBatch:
    assert (batch.conditions.dose > 0).all()
    return batch


@pytest.mark.parametrize("kind", KINDS)
def test_contexts_are_told_apart(kind: Any) -> None:
    world = world_of()
    context = torch.arange(len(world.train.dose)) % 2
    train = ConditionInput(world.train.targets, context, world.train.dose)
    mean = world.control.mean(0)
    changes = {"train": train, "n_contexts": 2, "control_mean": torch.stack([mean, mean + 1])}
    model = moved(model_of(kind, **changes))
    assert torch.isfinite(model.loss("cells", batches(replace(world, train=train), CONFIG, 0)()).total)
    first = model.predict(world.control[:4], conditions([[0]]))
    second = model.predict(world.control[:4], replace(conditions([[0]]), context=torch.tensor([1])))
    assert torch.isfinite(first).all()
    assert torch.equal(first, second) == (kind in (SamsVAE, ScGen)), "those see the context in the cell alone"


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_is_near_float32(kind: Any) -> None:
    model, batch = model_of(kind, target_column=torch.arange(N_TARGETS)), batches(world_of(), CONFIG, 0)()
    found = []
    for reduced in (False, True):
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=reduced):
            total = model.loss("cells", batch).total
        total.backward()
        found.append(total.item())
    assert found[1] == pytest.approx(found[0], rel=0.03)
