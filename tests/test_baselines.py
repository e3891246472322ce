"""Baselines against closed forms, scikit-learn, and worlds in which they must be right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from evaluate_cases import N_GENES, conditions, make_store
from sklearn.linear_model import Ridge

from scbig_dist.conditions import Condition
from scbig_dist.metrics import profiles
from scbig_dist.models import baselines
from scbig_dist.models.baselines import Shifts, predict_shifts, seen_from, training_shifts
from scbig_dist.models.means import control_profiles, mean_profiles, target_columns
from scbig_dist.screen.splits import Split
from scbig_dist.settings import load_config
from scbig_dist.store.build import build_store
from scbig_dist.store.reader import Store, open_store

GENES = ("A", "B", "C", *(f"g{i}" for i in range(9)))


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return make_store(tmp_path_factory.mktemp("baselines"))


@pytest.fixture
def effects() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(2)
    return {target: rng.normal(size=len(GENES)) for target in "ABCD"}


def table(effects: dict[str, np.ndarray], *perturbations: str, context: str = "k562") -> Shifts:
    """Shifts of an additive world."""
    values = [sum(effects[target] for target in name.split("+")) for name in perturbations]
    return Shifts(conditions(context, *perturbations), np.array(values), GENES)


def test_means_and_shifts_come_from_all_cells_and_the_own_control(store):
    wanted = conditions("rpe1", "A", "B+C")
    means = mean_profiles(store, wanted, N_GENES)
    for row, condition in enumerate(wanted):
        np.testing.assert_allclose(means[row], store.dense(store.cells(condition)).mean(axis=0), rtol=1e-5)
    shifts = training_shifts(store, (*conditions("k562", "A"), *wanted), N_GENES)
    control = store.dense(store.cells(store.control("rpe1"))).mean(axis=0)
    np.testing.assert_allclose(shifts.values[1], means[0] - control, atol=1e-5)
    assert shifts.genes == tuple(store.genes)


def test_own_targets_outside_the_panel_are_left_out(store):
    genes = [store.genes[column] for column in target_columns(store, Condition("k562", "A+E"), N_GENES)]
    assert genes == ["A"]


def test_additive_is_exact_in_an_additive_world(effects):
    shifts = table(effects, "A", "B", "C", "A+C")
    predicted = baselines.predict_additive(shifts, conditions("k562", "A+B", "A+B+C"))
    np.testing.assert_allclose(predicted[0], effects["A"] + effects["B"])
    np.testing.assert_allclose(predicted[1], effects["A"] + effects["B"] + effects["C"])


def test_additive_is_undefined_for_a_single_and_without_a_measured_single(effects):
    shifts = table(effects, "A", "B", "A+D")
    predicted = baselines.predict_additive(shifts, conditions("k562", "A", "A+D", "A+B"))
    assert np.isnan(predicted[:2]).all()
    assert not np.isnan(predicted[2]).any()


def test_ridge_equals_scikit_learn(effects):
    shifts = table(effects, "A", "B", "C", "A+C", "B+C", "A+D")
    indicators = np.array([[t in c.targets for t in "ABCD"] for c in shifts.conditions], dtype=float)
    fitted = Ridge(alpha=1.0, fit_intercept=False).fit(indicators, shifts.values)
    predicted = baselines.predict_ridge_additive(shifts, conditions("k562", "A+B", "B+D", "C"))
    np.testing.assert_allclose(predicted, fitted.predict(np.array([[1, 1, 0, 0], [0, 1, 0, 1], [0, 0, 1, 0]])))


def test_ridge_comes_to_the_additive_truth_as_the_penalty_vanishes(effects):
    shifts = table(effects, "A", "B+C", "A+C", "B+D", "A+D")
    predicted = baselines.predict_ridge_additive(shifts, conditions("k562", "A+B"), ridge=1e-9)
    np.testing.assert_allclose(predicted[0], effects["A"] + effects["B"], atol=1e-6)


def test_ridge_is_undefined_where_a_target_is_unseen(effects):
    predicted = baselines.predict_ridge_additive(table(effects, "A", "B"), conditions("k562", "A+D", "A+B"))
    assert np.isnan(predicted[0]).all()
    assert not np.isnan(predicted[1]).any()


def test_linear_equals_its_formula(effects):
    shifts = table(effects, "A", "B", "C", "A+C", "B+C", "A+D")
    y, b = shifts.values.T, shifts.values.T.mean(axis=1, keepdims=True)
    g = np.linalg.svd(y - b, full_matrices=False)[0][:, :10]
    rows = {"A": g[0], "B": g[1], "C": g[2], "D": np.zeros(g.shape[1])}  # D is not measured
    p = np.array([sum(rows[target] for target in condition.targets) for condition in shifts.conditions])
    eye = 0.1 * np.eye(g.shape[1])
    w = np.linalg.inv(g.T @ g + eye) @ g.T @ (y - b) @ p @ np.linalg.inv(p.T @ p + eye)
    predicted = baselines.predict_linear(shifts, conditions("k562", "A+B", "D"))
    np.testing.assert_allclose(predicted[0], (g @ w @ (rows["A"] + rows["B"]))[:] + b[:, 0])
    np.testing.assert_allclose(predicted[1], b[:, 0])
    assert baselines.absent_targets(shifts, conditions("k562", "X")) == ["D", "X"]


def test_linear_is_exact_in_a_linear_world():
    rng = np.random.default_rng(0)
    n_genes, n_train, rank = 40, 30, 3
    genes = tuple(f"g{i}" for i in range(n_genes))
    loadings = rng.normal(size=(n_genes, rank))
    loadings[:n_train] -= loadings[:n_train].mean(axis=0)  # so that the mean training shift is zero
    world = loadings @ rng.normal(size=(rank, rank)) @ loadings.T  # the shift of target j is column j
    shifts = Shifts(conditions("k562", *genes[:n_train]), world[:, :n_train].T, genes)
    wanted = conditions("k562", *genes[n_train:], "g31+g32")
    expected = np.vstack([world[:, n_train:].T, world[:, 31] + world[:, 32]])
    np.testing.assert_allclose(baselines.predict_linear(shifts, wanted, ridge=1e-10), expected, atol=1e-6)


def test_mean_shift_and_control(effects):
    shifts = table(effects, "A", "B", "A+C")
    wanted = conditions("k562", "A+B", "X")
    np.testing.assert_allclose(
        baselines.predict_mean_shift(shifts, wanted), np.tile(shifts.values.mean(axis=0), (2, 1))
    )
    assert not baselines.predict_control(shifts, wanted).any()


def test_a_context_sees_its_own_shift_first_and_else_the_mean_of_the_others(effects):
    doubled = {target: 2 * effect for target, effect in effects.items()}
    tripled = {target: 3 * effect for target, effect in effects.items()}
    parts = [
        table(effects, "A", context="k562"),
        table(doubled, "A", "B", context="rpe1"),
        table(tripled, "B", context="jurkat"),
    ]
    shifts = Shifts(
        tuple(c for part in parts for c in part.conditions), np.concatenate([part.values for part in parts]), GENES
    )
    seen = seen_from(shifts, "k562")
    assert seen.conditions == conditions("k562", "A", "B")
    np.testing.assert_allclose(seen.values, [effects["A"], 2.5 * effects["B"]])
    predicted = predict_shifts(shifts, (*conditions("rpe1", "A+B"), *conditions("k562", "A+B")))["Additive"]
    np.testing.assert_allclose(predicted, [2 * effects["A"] + 2 * effects["B"], effects["A"] + 2.5 * effects["B"]])


def test_doses_are_not_mixed_up(effects):
    given = tuple(Condition("k562", target, dose) for target in "AB" for dose in (1.0, 10.0))
    values = np.array([effects["A"], 2 * effects["A"], effects["B"], 2 * effects["B"]])
    predicted = baselines.predict_additive(Shifts(given, values, GENES), [Condition("k562", "A+B", 10.0)])
    np.testing.assert_allclose(predicted[0], 2 * effects["A"] + 2 * effects["B"])


def test_without_training_conditions_all_but_control_is_undefined():
    empty = Shifts((), np.zeros((0, len(GENES))), GENES)
    predicted = predict_shifts(empty, conditions("k562", "A+B"))
    assert not predicted.pop("Control").any()
    assert all(np.isnan(values).all() for values in predicted.values())


def test_baselines_reach_their_known_scores_on_the_semisynthetic_screen(shared_data: Path, tmp_path: Path):
    options = {"data.total_counts": "n_umis_total", "qc.min_genes": 0, "qc.min_cells": 0, "panel.n_hvg": None}
    source = shared_data / "norman2019_semisynthetic_41100x1657.h5ad"
    build_store(source, tmp_path / "store", load_config(None, options), progress=False)
    store = open_store(tmp_path / "store")
    by_name = {c.perturbation: c for c in store.conditions if not c.is_control}
    doubles = sorted(p for p in by_name if "+" in p and set(p.split("+")) <= set(by_name))
    held_out = list(np.random.default_rng(0).permutation(doubles)[:64])
    train = tuple(c for p, c in by_name.items() if p not in held_out)
    split = Split("additive", 0, train, (), tuple(by_name[p] for p in held_out[:32]))
    n_genes = len(store.genes)
    predicted = predict_shifts(training_shifts(store, split.train, n_genes), split.test)
    true, control = mean_profiles(store, split.test, n_genes), control_profiles(store, split.test, n_genes)
    top = profiles.top_genes(true, control)
    known = {  # pearson_delta, its top-20 form, mse; of an independent prototype on this split
        "Mean-shift": (0.420, 0.348, 9.28e-3),
        "Additive": (0.760, 0.833, 6.91e-3),
        "Ridge-additive": (0.781, 0.857, 3.96e-3),
        "Linear": (0.587, 0.625, 6.87e-3),
    }
    for name, (delta, delta_de, error) in known.items():
        given = control + predicted[name]
        assert profiles.pearson_delta(given, true, control).mean() == pytest.approx(delta, abs=0.002), name
        assert profiles.pearson_delta_de(given, true, control, top).mean() == pytest.approx(delta_de, abs=0.002), name
        assert profiles.mse(given, true).mean() == pytest.approx(error, rel=0.005), name
