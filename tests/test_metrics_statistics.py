"""Intervals, paired tests and corrections against closed forms, scipy, statsmodels and enumeration."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from scbig_dist.metrics.statistics import estimates, holm, over_repeats, paired_test


def one(values: np.ndarray, seed: int = 0, n_resamples: int = 10_000):
    return estimates({"x": values}, np.random.default_rng(seed), n_resamples)["x"]


def test_standard_error_is_sd_over_root_n():
    values = np.random.default_rng(1).normal(size=40)
    found = one(values)
    assert found.mean == pytest.approx(values.mean())
    assert found.se == pytest.approx(stats.sem(values))
    assert (found.n, found.n_undefined) == (40, 0)


def test_interval_equals_scipys_percentile_bootstrap():
    values = np.random.default_rng(2).gamma(2, size=35)
    expected = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=20_000, rng=3).confidence_interval
    found = one(values, n_resamples=20_000)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.02 * values.std())


def test_interval_of_two_values_by_hand():
    found = one(np.array([0.0, 1.0]))  # resampled means are 0, 1/2, 1 with probability 1/4, 1/2, 1/4
    assert (found.mean, found.low, found.high) == (0.5, 0.0, 1.0)


def test_intervals_cover_the_mean_as_often_as_they_say():
    rng = np.random.default_rng(4)
    worlds = {str(world): rng.normal(size=60) for world in range(600)}
    found = estimates(worlds, np.random.default_rng(5), 1000)
    assert 0.91 < np.mean([each.low < 0 < each.high for each in found.values()]) < 0.97


def test_undefined_conditions_are_left_out_and_counted():
    values = np.random.default_rng(6).normal(size=30)
    holed = np.concatenate([values, np.full(10, np.nan)])
    found, whole = one(holed), one(values)
    assert (found.n, found.n_undefined) == (30, 10)
    assert (found.mean, found.se) == pytest.approx((whole.mean, whole.se))
    assert found.high - found.low == pytest.approx(whole.high - whole.low, rel=0.1)


def test_few_conditions_have_no_interval():
    for values, mean in ((np.array([2.0, np.nan]), 2.0), (np.full(3, np.nan), np.nan), (np.zeros(0), np.nan)):
        found = one(values)
        np.testing.assert_equal(found.mean, mean)
        assert np.isnan([found.se, found.low, found.high]).all()


def test_intervals_are_seeded():
    values = np.random.default_rng(7).normal(size=20)
    assert one(values, 0) == one(values, 0) != one(values, 1)


def test_repeats_of_a_condition_are_no_further_evidence():
    values = np.random.default_rng(8).normal(size=25)
    found, single = one(np.stack([values] * 4, axis=1)), one(values)
    assert (found.mean, found.se, found.low, found.high) == pytest.approx(
        (single.mean, single.se, single.low, single.high)
    )
    assert found.n == 25


def test_conditions_count_by_their_values():
    values = np.array([[1.0, 3.0], [5.0, np.nan]])
    assert one(values).mean == pytest.approx(3.0)


def test_a_method_as_good_as_itself_differs_by_nothing():
    values = np.random.default_rng(9).normal(size=(12, 2))
    found = one(values - values)
    assert (found.mean, found.se, found.low, found.high) == (0, 0, 0, 0)
    test = paired_test(values, values)
    assert (test.p, test.n, test.n_ties) == (1.0, 12, 12)


def test_exact_p_equals_enumeration_of_signs():
    rng = np.random.default_rng(10)
    a, b = rng.normal(0.4, 1, 9), rng.normal(size=9)
    ranks = stats.rankdata(np.abs(a - b))
    statistic = ranks[a > b].sum()
    null = np.array([ranks[np.array(signs, dtype=bool)].sum() for signs in product([0, 1], repeat=9)])
    middle = ranks.sum() / 2
    expected = np.mean(np.abs(null - middle) >= abs(statistic - middle) - 1e-9)
    assert paired_test(a, b).p == pytest.approx(expected)


def test_large_samples_equal_scipy():
    rng = np.random.default_rng(11)
    a, b = rng.normal(0.1, 1, 200), rng.normal(size=200)
    assert paired_test(a, b).p == pytest.approx(stats.wilcoxon(a, b).pvalue)


def test_ties_and_undefined_pairs_are_counted_and_left_out():
    a = np.array([1.0, 2.0, 3.0, 4.5, np.nan, 1.0])
    b = np.array([0.5, 2.0, 2.0, 4.0, 1.0, np.nan])
    test = paired_test(a, b)
    assert (test.n, test.n_ties, test.n_undefined) == (4, 1, 2)
    assert test.p == pytest.approx(stats.wilcoxon([0.5, 1.0, 0.5]).pvalue)
    assert np.isnan(paired_test(a, np.full(6, np.nan)).p)


def test_holm_equals_statsmodels_and_leaves_undefined_out():
    p = np.random.default_rng(12).random(15) ** 3
    expected = multipletests(p, method="holm")[1]
    np.testing.assert_allclose(holm(p), expected)
    holed = np.insert(p, [0, 7], np.nan)
    np.testing.assert_allclose(np.delete(holm(holed), [0, 8]), expected)
    assert np.isnan(holm(holed)[[0, 8]]).all()
    assert len(holm([])) == 0


def test_spread_over_seeds():
    spread = over_repeats([1.0, 2.0, 4.0, None])
    assert (spread.mean, spread.sd, spread.n) == pytest.approx((7 / 3, np.std([1, 2, 4], ddof=1), 3))
    assert np.isnan(over_repeats([1.0]).sd) and over_repeats([]).n == 0
