from __future__ import annotations

import numpy as np

from scbig_dist.metrics.summary import METRICS, best, number, summarise, under_halves


def test_mean_leaves_undefined_out_and_counts_it():
    result = summarise(np.array([1.0, np.nan, 3.0]))
    assert (result.mean, result.n, result.n_undefined) == (2.0, 3, 1)


def test_mean_of_nothing_is_none():
    assert summarise(np.full(4, np.nan)).mean is None
    assert summarise(np.zeros(0)).mean is None


def test_best_follows_the_direction_and_skips_undefined():
    values = {"a": 1.0, "b": 2.0, "c": None, "d": 2.0}
    assert best(values, "pearson_delta") == {"b", "d"}
    assert best(values, "mse") == {"a"}
    assert best({"c": None}, "mse") == set()


def test_what_rounds_to_zero_has_no_sign():
    assert number(-1e-9, "pearson_delta") == "0.000" and number(-0.0006, "pearson_delta") == "-0.001"


def test_metrics_carry_the_published_names():
    assert METRICS[:9] == ("pearson_delta", "pearson_delta_de", "acc", "acc_de", "des", "pds", "l2", "mse", "mae")


def test_a_wasserstein_distance_below_the_halves_is_noticed():
    halves = {"wasserstein": 6.0, "e_dist": 0.0}
    assert under_halves({"model": {"wasserstein": 5.9}, "halves": halves}, "halves")
    assert not under_halves({"model": {"wasserstein": 6.1, "e_dist": -0.1}, "halves": halves}, "halves")
    assert not under_halves({"model": {"wasserstein": None}, "halves": halves}, "halves")
    assert not under_halves({"model": {"wasserstein": 1.0}}, "halves")
