"""Profile metrics against closed forms, scipy and plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from scbig_dist.metrics import profiles

N, G = 6, 40


@pytest.fixture
def world() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predicted and true profiles (condition, gene) and the control profile (gene,)."""
    rng = np.random.default_rng(3)
    control = rng.uniform(0, 2, G)
    true = np.maximum(control + rng.normal(0, 0.5, (N, G)), 0)
    return true + rng.normal(0, 0.3, (N, G)), true, control


def test_pearson_delta_equals_scipy(world):
    predicted, true, control = world
    expected = [stats.pearsonr(p - control, t - control).statistic for p, t in zip(predicted, true, strict=True)]
    np.testing.assert_allclose(profiles.pearson_delta(predicted, true, control), expected, atol=1e-12)


def test_de_variants_see_the_most_shifted_genes_alone(world):
    predicted, true, control = world
    top = profiles.top_genes(true, control)
    assert top.shape == (N, 20)
    for row in range(N):
        largest = np.sort(np.abs(true[row] - control))[-20:]
        np.testing.assert_allclose(np.sort(np.abs(true[row] - control)[top[row]]), largest)
        x, y = (predicted[row] - control)[top[row]], (true[row] - control)[top[row]]
        assert profiles.pearson_delta_de(predicted, true, control, top)[row] == pytest.approx(stats.pearsonr(x, y)[0])
        assert profiles.acc_de(predicted, true, control, top)[row] == pytest.approx(np.mean(np.sign(x) == np.sign(y)))


def test_the_truth_scores_perfectly_and_its_mirror_worst(world):
    _, true, control = world
    top, every = profiles.top_genes(true, control), np.ones(true.shape, dtype=bool)
    own = [np.array([], dtype=np.int64)] * N
    np.testing.assert_allclose(profiles.pearson_delta(true, true, control), 1)
    np.testing.assert_allclose(profiles.discr_cos(true, true, control), 1)
    np.testing.assert_allclose(profiles.des(true, true, control, every), 1)
    np.testing.assert_allclose(profiles.pds(true, true, own), 1)
    for score in (profiles.l2, profiles.mse, profiles.mae):
        np.testing.assert_array_equal(score(true, true), 0)
    mirror = 2 * control - true
    np.testing.assert_allclose(profiles.pearson_delta(mirror, true, control), -1)
    np.testing.assert_allclose(profiles.pearson_delta_de(mirror, true, control, top), -1)
    np.testing.assert_array_equal(profiles.acc(mirror, true, control), 0)


def test_predicting_control_is_undefined_not_zero(world):
    _, true, control = world
    predicted = np.tile(control, (N, 1))
    top, every = profiles.top_genes(true, control), np.ones(true.shape, dtype=bool)
    for values in (
        profiles.pearson_delta(predicted, true, control),
        profiles.pearson_delta_de(predicted, true, control, top),
        profiles.acc(predicted, true, control),
        profiles.acc_de(predicted, true, control, top),
        profiles.discr_cos(predicted, true, control),
        profiles.des(predicted, true, control, every),
    ):
        assert np.isnan(values).all()


def test_a_shift_of_mere_rounding_is_no_shift(world):
    _, true, control = world
    predicted = np.tile((control + 0.1) - 0.1, (N, 1))
    assert not np.array_equal(predicted[0], control)
    assert np.isnan(profiles.pearson_delta(predicted, true, control)).all()


def test_undefined_rows_stay_undefined_and_alone(world):
    predicted, true, control = world
    whole = predicted.copy()
    predicted[2] = np.nan
    top, every = profiles.top_genes(true, control), np.ones(true.shape, dtype=bool)
    own = [np.array([row], dtype=np.int64) for row in range(N)]
    for score in (
        lambda p: profiles.pearson_delta(p, true, control),
        lambda p: profiles.acc_de(p, true, control, top),
        lambda p: profiles.des(p, true, control, every),
        lambda p: profiles.pds(p, true, own),
        lambda p: profiles.mse(p, true),
        lambda p: profiles.discr_cos(p, true, control),
    ):
        assert np.isnan(score(predicted)[2])
        np.testing.assert_array_equal(np.delete(score(predicted), 2), np.delete(score(whole), 2))


def test_distances_by_their_formulas(world):
    predicted, true, _ = world
    np.testing.assert_allclose(profiles.l2(predicted, true), np.linalg.norm(predicted - true, axis=1))
    np.testing.assert_allclose(profiles.l2(predicted, true) ** 2 / G, profiles.mse(predicted, true))
    np.testing.assert_allclose(profiles.mae(predicted, true)[0], np.mean(np.abs(predicted[0] - true[0])))


def test_distances_and_signs_equal_scikit_learn(world):
    predicted, true, control = world
    top = profiles.top_genes(true, control)
    for score, expected in (
        (profiles.mse(predicted, true), sklearn.metrics.mean_squared_error),
        (profiles.mae(predicted, true), sklearn.metrics.mean_absolute_error),
    ):
        np.testing.assert_allclose(score, expected(true.T, predicted.T, multioutput="raw_values"))
    cosine = sklearn.metrics.pairwise.cosine_similarity(predicted - control, true - control)
    np.testing.assert_allclose(profiles.discr_cos(predicted, true, control), np.diag(cosine))
    shares = profiles.acc(predicted, true, control), profiles.acc_de(predicted, true, control, top)
    for row in range(N):
        signs = np.sign(true[row] - control), np.sign(predicted[row] - control)
        assert shares[0][row] == pytest.approx(sklearn.metrics.accuracy_score(*signs))
        assert shares[1][row] == pytest.approx(sklearn.metrics.accuracy_score(*(each[top[row]] for each in signs)))


def test_discr_cos_does_not_centre():
    control = np.zeros(3)
    assert profiles.discr_cos(np.array([[1.0, 0, 0]]), np.array([[1.0, 1, 0]]), control)[0] == pytest.approx(0.5**0.5)


def test_control_may_differ_between_conditions(world):
    predicted, true, control = world
    controls = np.tile(control, (N, 1))
    controls[1] += 0.7
    shared = profiles.pearson_delta(predicted, true, control)
    own = profiles.pearson_delta(predicted, true, controls)
    np.testing.assert_allclose(np.delete(own, 1), np.delete(shared, 1))
    assert profiles.acc(predicted, true, controls)[1] != profiles.acc(predicted, true, control)[1]


def test_des_equals_scipy_on_significant_genes(world):
    predicted, true, control = world
    rng = np.random.default_rng(0)
    significant = rng.random(true.shape) < 0.5
    significant[0] = False
    significant[0, :4] = True
    scores = profiles.des(predicted, true, control, significant)
    assert np.isnan(scores[0])  # four genes are too few
    for row in range(1, N):
        genes = significant[row]
        changes = [
            np.log2((np.expm1(np.maximum(x[row, genes], 0)) + 1e-9) / (np.expm1(control[genes]) + 1e-9))
            for x in (predicted, true)
        ]
        assert scores[row] == pytest.approx(stats.spearmanr(*changes).statistic)


def _pds_by_loops(predicted, true, own):
    scores = []
    for i in range(len(true)):
        genes = [g for g in range(true.shape[1]) if g not in own[i]]
        distance = [np.abs(predicted[i, genes] - true[j, genes]).sum() for j in range(len(true))]
        scores.append(1 - (stats.rankdata(distance)[i] - 1) / (len(true) - 1))
    return scores


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), noise=st.sampled_from([0.1, 1.0, 5.0]))
def test_pds_equals_plain_loops(seed, noise):
    rng = np.random.default_rng(seed)
    true = rng.random((7, 12))
    predicted = true + noise * rng.normal(size=true.shape)
    own = [rng.choice(12, rng.integers(0, 3), replace=False) for _ in range(7)]
    np.testing.assert_allclose(profiles.pds(predicted, true, own), _pds_by_loops(predicted, true, own), atol=1e-12)


def test_pds_of_indistinguishable_conditions_is_a_half():
    true = np.tile(np.arange(5.0), (4, 1))
    none = [np.array([], dtype=np.int64)] * 4
    np.testing.assert_allclose(profiles.pds(true + 1, true, none), 0.5)


def test_pds_leaves_own_targets_out():
    true = np.array([[0.0, 0.0], [0.0, 9.0]])
    predicted = np.array([[0.0, 9.0], [0.0, 9.0]])  # gene 1 alone tells them apart, and misleads row 0
    none = np.array([], dtype=np.int64)
    assert profiles.pds(predicted, true, [none, none])[0] == 0
    assert profiles.pds(predicted, true, [np.array([1]), none])[0] == 0.5


def test_pds_of_a_single_condition_is_undefined():
    assert np.isnan(profiles.pds(np.ones((1, 3)), np.ones((1, 3)), [np.array([0])])).all()
