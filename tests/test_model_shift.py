"""The mean head: leaving out is exact, the base is a kernel ridge, nothing leaks, and what it learns helps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.kernel_ridge import KernelRidge
from torch import nn
from training_cases import TINY, Interrupted, StopsAfter, make_store

from scbig_dist.config import ShiftConfig
from scbig_dist.errors import UserError
from scbig_dist.models.protocol import ConditionInput, ShiftBatch
from scbig_dist.models.shift_base import BASE, ShiftBase, without
from scbig_dist.models.shift_head import ShiftHead, ShiftInputs
from scbig_dist.settings import load_config
from scbig_dist.train.context import LocalContext
from scbig_dist.train.experiment import settle
from scbig_dist.train.predictor import load_predictor
from scbig_dist.train.run import train_run

N_TARGETS, N_GENES = 8, 40


def conditions(targets: list[tuple[int, ...]], context: int = 0) -> ConditionInput:
    slots = torch.full((len(targets), 2), -1)
    for row, hit in enumerate(targets):
        slots[row, : len(hit)] = torch.tensor(hit)
    return ConditionInput(slots, torch.full((len(targets),), context), torch.zeros(len(targets)))


@pytest.fixture(scope="module")
def world() -> tuple[list[tuple[int, ...]], torch.Tensor, torch.Tensor]:
    """Targets of 8 singles and 20 doubles; doubles saturate: shifts (condition, gene) and the effects."""
    rng = np.random.default_rng(0)
    effects = rng.normal(size=(N_TARGETS, N_GENES)) * (rng.random((N_TARGETS, N_GENES)) < 0.5)
    pairs = [(i, j) for i in range(N_TARGETS) for j in range(i + 1, N_TARGETS)][:20]
    targets = [(i,) for i in range(N_TARGETS)] + pairs
    shifts = np.array([np.tanh(effects[list(hit)].sum(0)) for hit in targets])
    return targets, torch.from_numpy(shifts), torch.from_numpy(effects)


def head(world, config: ShiftConfig, keep: list[int] | None = None) -> ShiftHead:
    targets, shifts, _ = world
    keep = list(range(len(targets))) if keep is None else keep
    inputs = ShiftInputs(
        conditions([targets[row] for row in keep]),
        shifts[keep],
        torch.zeros(1, N_GENES, dtype=torch.float64),
        torch.ones(1, N_GENES, dtype=torch.float64),
        torch.tensor([0, 1, 2, 3, -1, -1, -1, -1]),
        nn.functional.normalize(torch.from_numpy(np.random.default_rng(1).normal(size=(N_TARGETS, 5)))),
    )
    modules = torch.arange(N_GENES) % 4
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return ShiftHead(inputs, modules, config)


def test_a_downdated_inverse_is_that_of_the_rest():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(9, 12))
    matrix, rhs = torch.from_numpy(x @ x.T), torch.from_numpy(rng.normal(size=(9, 3)))
    gone = torch.zeros(9, dtype=torch.bool)
    gone[[2, 5, 6]] = True
    kept = ~gone
    found = without(torch.linalg.inv(matrix), rhs, gone)
    torch.testing.assert_close(found[kept], torch.linalg.solve(matrix[kept][:, kept], rhs[kept]))
    assert (found[gone] == 0).all()


def test_the_base_is_a_kernel_ridge(world):
    targets, shifts, _ = world
    model = head(world, ShiftConfig(head="ridge"))
    z, kernel = model.indicators(conditions(targets)), model.base().kernel
    wanted = conditions([(0, 7), (3,)])
    other = model.indicators(wanted)
    oracle = KernelRidge(alpha=0.3, kernel="precomputed").fit((z @ kernel @ z.T).numpy(), shifts.numpy())
    expected = oracle.predict((other @ kernel @ z.T).numpy())
    np.testing.assert_allclose(model(wanted).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("modules", [False, True])
def test_base_and_features_of_a_left_out_condition_are_those_of_a_fit_without_it(world, modules):
    targets = world[0]
    config = ShiftConfig(head="network", modules=modules)
    whole, row = head(world, config), 12
    gone = torch.zeros(1, len(targets), dtype=torch.bool)
    gone[0, [row, 3]] = True
    given = conditions([targets[row]])
    base, features = whole.features(whole.indicators(given), given, gone)
    rest = [i for i in range(len(targets)) if not gone[0, i]]
    again = head(world, config, rest)
    none = torch.zeros(1, len(rest), dtype=torch.bool)
    expected_base, expected = again.features(again.indicators(given), given, none)
    torch.testing.assert_close(base, expected_base)
    # The smooth projections' cuts come from all training conditions: constants, not fits.
    smooth = [4, 5, 6]
    others = [i for i in range(features.shape[-1]) if i not in smooth]
    torch.testing.assert_close(features[..., others], expected[..., others])


def test_nothing_of_a_left_out_condition_reaches_its_features(world):
    targets, shifts, effects = world
    changed = shifts.clone()
    changed[12] += 100.0
    gone = torch.zeros(1, len(targets), dtype=torch.bool)
    gone[0, 12] = True
    given = conditions([targets[12]])
    config = ShiftConfig(head="network")
    one, other = head(world, config), head((targets, changed, effects), config)
    for model in (one, other):  # the cuts alone may differ: a scale, not the values of any condition
        model.base()._smooth = one.base()._smooth
    keep = [i for i in range(one.features(one.indicators(given), given, gone)[1].shape[-1]) if i not in (4, 5, 6)]
    a, b = (m.features(m.indicators(given), given, gone)[1][..., keep] for m in (one, other))
    torch.testing.assert_close(a, b)


def test_examples_leave_out_the_condition_and_its_targets(world):
    targets = world[0]
    rows, gone = head(world, ShiftConfig()).examples()
    for row, out in zip(rows.tolist(), gone, strict=True):
        assert out[row]
        assert all(set(targets[i]) & set(targets[row]) for i in out.nonzero()[:, 0].tolist())
    double = targets.index((0, 1))
    assert sorted(int(out.sum()) for row, out in zip(rows.tolist(), gone, strict=True) if row == double) == [
        1,
        8,
        8,
        15,
    ]


def test_the_network_learns_what_the_ridge_cannot(world):
    """Doubles saturate: a correction that all genes share takes most of the base's error away, on pairs never seen."""
    _, shifts, effects = world
    config = ShiftConfig(head="network", width=32)
    model = head(world, config)
    rows, gone = model.examples()
    z = model.indicators(model.inputs.train)[rows]
    base, features = model.features(z, model.inputs.train.rows(rows), gone)
    x, y = features.float().flatten(0, 1), (shifts[rows] - base).float().flatten()
    model.measure(x, y)
    optimizer = torch.optim.AdamW(model.networks.parameters(), 5e-3)
    order = torch.Generator().manual_seed(0)
    for _ in range(30):
        for some in torch.randperm(len(y), generator=order).split(256):
            optimizer.zero_grad()
            model.loss(ShiftBatch(x[some], y[some])).backward()
            optimizer.step()
    new = [(i, j) for i in range(N_TARGETS) for j in range(i + 1, N_TARGETS)][20:]
    truth = torch.tanh(torch.stack([effects[list(hit)].sum(0) for hit in new])).float()
    ridge = head(world, ShiftConfig(head="ridge"))(conditions(new))
    better, worse = ((each - truth).square().mean() for each in (model(conditions(new)), ridge))
    assert better < 0.85 * worse


def test_an_unseen_target_gets_what_effects_have_in_common(world):
    targets, shifts, effects = world
    common = effects.mean(0)
    seen = [i for i, hit in enumerate(targets) if 7 not in hit]
    model = head((targets, shifts + common, effects), ShiftConfig(head="ridge", common=5.0, prior=0.0), seen)
    predicted = model(conditions([(7,)]))[0]
    assert np.corrcoef(predicted.numpy(), (shifts[seen] + common).mean(0).numpy())[0, 1] > 0.8


def test_smooth_base_has_a_row_per_weight(world):
    model = head(world, ShiftConfig())
    base = model.base()
    assert isinstance(base, ShiftBase)
    weights, effects = base.weights(
        model.indicators(conditions([(0, 1)]))[0],
        torch.ones(28, dtype=torch.float64),
        torch.zeros(28, dtype=torch.bool),
    )
    assert weights.shape == (9, 28) and effects.shape == (2, 28) and torch.isfinite(weights[BASE]).all()


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    return make_store(tmp_path_factory.mktemp("shift"))


def settings(store: Path, **values: object):
    plus = {"shift.head": "network", "shift.width": 8, "shift.steps": 40, "store": str(store)}
    return settle(load_config(None, TINY | plus | values))


def test_predicted_cells_have_the_mean_that_the_head_says(store, tmp_path):
    train_run(settings(store), tmp_path / "run", LocalContext(), progress=False)
    predictor = load_predictor(tmp_path / "run")
    condition = predictor.split.test[0]
    cells = predictor.predict(condition, 40, seed=0).astype(np.float64)
    model = predictor._model
    context = predictor.experiment.contexts.index(condition.context)
    said = model.control_mean[context] + model.shift(predictor.experiment.condition_input([condition]))[0]
    np.testing.assert_allclose(cells.mean(axis=0), said.numpy(), atol=1e-5)
    again = predictor.predict(condition, 40, seed=1).mean(axis=0)
    np.testing.assert_allclose(again, cells.mean(axis=0), atol=1e-5)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["seconds_shift"] > 0


def test_a_resumed_head_is_one_that_never_stopped(store, tmp_path):
    config = settings(store, **{"autoencoder.epochs": 1, "shift.batch": 64})
    train_run(config, tmp_path / "whole", LocalContext(), progress=False)
    with pytest.raises(Interrupted):
        train_run(config, tmp_path / "cut", StopsAfter(40), progress=False)
    assert (tmp_path / "cut" / "checkpoints" / "shift").exists()
    assert not (tmp_path / "cut" / "checkpoints" / "flow").exists()
    train_run(config, tmp_path / "cut", LocalContext(), resume=True, progress=False)
    one, other = (load_predictor(tmp_path / name) for name in ("whole", "cut"))
    condition = one.split.test[0]
    np.testing.assert_array_equal(one.predict(condition, 8, 0), other.predict(condition, 8, 0))


def test_a_ridge_alone_trains_no_stage(store, tmp_path):
    train_run(settings(store, **{"shift.head": "ridge"}), tmp_path / "run", LocalContext(), progress=False)
    assert "seconds_shift" not in json.loads((tmp_path / "run" / "run.json").read_text())
    predictor = load_predictor(tmp_path / "run")
    assert np.isfinite(predictor.predict(predictor.split.test[0], 4, 0)).all()


def test_config_rejects_a_head_over_latents_that_move(store):
    with pytest.raises(UserError, match=r"shift.head=network: .* set flow.train_autoencoder=false"):
        settings(store, **{"flow.train_autoencoder": True})


def test_predictions_level_off_at_the_largest_shift_that_training_has_seen(world):
    """0.7 of it passes, the rest is a tanh with the same slope there; genes of the condition's targets pass whole."""
    _, shifts, _ = world
    plain, held = (head(world, ShiftConfig(head="ridge", ridge=1e-6, saturate=flag)) for flag in (False, True))
    asked = conditions([(6, 7), (0, 5), (1, 2)])
    before, after = plain(asked).double(), held(asked).double()
    most = torch.where(before > 0, shifts.amax(0), -shifts.amin(0)).clamp_min(1e-6)
    share = before.abs() / most
    own = torch.zeros(3, N_GENES, dtype=torch.bool)
    own[1, 0] = own[2, 1] = own[2, 2] = True  # columns of targets 0, 1 and 2; 5, 6 and 7 lie outside the panel
    far = (share > 0.7) & ~own
    assert far.any() and not far.all()
    torch.testing.assert_close(after[~far], before[~far])
    expected = before.sign() * most * (0.7 + 0.3 * torch.tanh((share - 0.7) / 0.3))
    torch.testing.assert_close(after[far], expected[far], rtol=1e-5, atol=1e-7)
    assert (after[far].abs() <= most[far]).all()
