"""Distances between clouds against scipy, POT and closed forms."""

from __future__ import annotations

import numpy as np
import ot
import pytest
from scipy import stats
from scipy.spatial.distance import cdist, pdist

from scbig_dist.metrics import distribution
from scbig_dist.metrics.distribution import e_dist, wasserstein, wasserstein_exact


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def test_e_dist_equals_scipy_in_one_dimension(rng):
    x, y = rng.normal(0, 1, 40), rng.normal(1, 2, 30)
    # scipy counts a cell with itself as a pair, and takes the root
    within_x = cdist(x[:, None], x[:, None]).mean() / (len(x) - 1)
    within_y = cdist(y[:, None], y[:, None]).mean() / (len(y) - 1)
    expected = stats.energy_distance(x, y) ** 2 - within_x - within_y
    assert e_dist(x[:, None], y[:, None]) == pytest.approx(expected)


def test_distances_equal_scipy(rng):
    x, y = rng.normal(size=(30, 50)), rng.normal(size=(20, 50)).astype(np.float32)
    np.testing.assert_allclose(distribution.distances(x, y), cdist(x, y), rtol=1e-12)
    np.testing.assert_array_equal(np.diag(distribution.distances(x, x)), 0)
    within = pdist(x).mean(), pdist(y.astype(float)).mean()
    assert e_dist(x, y) == pytest.approx(2 * cdist(x, y).mean() - sum(within))


def test_wasserstein_exact_is_pots(rng):
    x, y = rng.normal(size=(20, 3)), rng.normal(size=(30, 3))
    assert wasserstein_exact(x, y) == pytest.approx(ot.emd2([], [], ot.dist(x, y, "euclidean")))


def test_nan_cells_have_no_distance(rng):
    x, y = rng.normal(size=(20, 3)), rng.normal(size=(30, 3))
    x[3, 1] = np.nan
    assert np.isnan([e_dist(x, y), wasserstein(x, y), wasserstein_exact(x, y)]).all()


def test_e_dist_by_hand():
    x, y = np.array([[0.0], [2.0]]), np.array([[5.0], [6.0]])
    assert e_dist(x, y) == pytest.approx(2 * (5 + 6 + 3 + 4) / 4 - 2 - 1)


def test_e_dist_of_equal_distributions_is_zero_on_average(rng):
    values = [e_dist(rng.normal(size=(20, 3)), rng.normal(size=(50, 3))) for _ in range(300)]
    assert abs(np.mean(values)) < 4 * np.std(values) / 300**0.5


def test_e_dist_of_one_cell_is_undefined():
    assert np.isnan(e_dist(np.zeros((1, 2)), np.ones((5, 2))))


def test_wasserstein_exact_equals_scipy_in_one_dimension(rng):
    x, y = rng.normal(0, 1, 40), rng.normal(1, 2, 30)
    assert wasserstein_exact(x[:, None], y[:, None]) == pytest.approx(stats.wasserstein_distance(x, y))


def test_wasserstein_of_a_shifted_cloud_is_the_shift(rng):
    x = rng.normal(size=(30, 4))
    assert wasserstein_exact(x, x + np.array([3.0, 4.0, 0, 0])) == pytest.approx(5)


@pytest.mark.parametrize("epsilon", [0.05, 0.2, 1.0])
def test_wasserstein_equals_pot(rng, epsilon):
    x, y = rng.normal(size=(25, 6)), rng.normal(0.5, 2, size=(35, 6))
    cost = cdist(x, y)
    plan = ot.sinkhorn(
        ot.unif(25), ot.unif(35), cost, epsilon * cost.mean(), method="sinkhorn_log", stopThr=1e-10, numItermax=20_000
    )
    assert wasserstein(x, y, epsilon) == pytest.approx((plan * cost).sum(), rel=1e-4)


def test_wasserstein_comes_down_to_the_exact_one(rng):
    x, y = rng.normal(size=(40, 5)), rng.normal(1, 1, size=(40, 5))
    exact = wasserstein_exact(x, y)
    blurred = [wasserstein(x, y, epsilon) for epsilon in (1.0, 0.1, 0.01)]
    assert blurred[0] > blurred[1] > blurred[2] >= exact - 1e-4
    assert blurred[2] == pytest.approx(exact, rel=0.01)


def test_wasserstein_survives_far_outliers(rng):
    x, y = rng.normal(size=(30, 3)), rng.normal(size=(30, 3))
    x[0] += 1e5
    assert wasserstein(x, y) == pytest.approx(wasserstein_exact(x, y), rel=0.05)


def test_plan_that_overflows_is_solved_in_the_log_domain(rng):
    cost = rng.random((6, 6)) + 50 * (np.add.outer(np.arange(6), np.arange(6)) % 2)
    plan = distribution.sinkhorn_plan(cost, 0.01)
    assert np.isfinite(plan).all()
    np.testing.assert_allclose(plan.sum(), 1, rtol=1e-3)


def test_equal_point_clouds_are_at_distance_zero():
    assert wasserstein(np.ones((4, 2)), np.ones((3, 2))) == 0


def test_wasserstein_without_cells_is_undefined():
    assert np.isnan(wasserstein(np.zeros((0, 2)), np.ones((3, 2))))
    assert np.isnan(wasserstein_exact(np.zeros((0, 2)), np.ones((3, 2))))
