"""Worlds that suit one closed-form baseline each, in which it must beat all the others; and one where nothing happens."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from scbig_dist.conditions import Condition
from scbig_dist.models import baselines
from scbig_dist.models.baselines import Array, Shifts

N_GENES, N_TARGETS = 60, 24
GENES = tuple(f"g{i}" for i in range(N_GENES))  # the first ones are the targets
NOISE = 0.05  # of a mean profile


class World:
    """Every single but the unseen ones trains, and half of the doubles; the rest is held out. Shifts carry noise in training."""

    def __init__(self, shift, seed: int, unseen: int = 0, doubles: bool = True) -> None:
        rng = np.random.default_rng(seed)
        self.shift = shift
        seen = range(N_TARGETS - unseen)
        pairs = [(a, b) for a, b in combinations(seen, 2)] if doubles else []
        order = [pairs[i] for i in rng.permutation(len(pairs))][:80]
        train = [*((t,) for t in seen), *order[: len(order) // 2]]
        held_out = order[len(order) // 2 :] if not unseen else [(t,) for t in range(N_TARGETS - unseen, N_TARGETS)]
        values = np.array([shift(hit) for hit in train]) + NOISE * rng.normal(size=(len(train), N_GENES))
        self.train = Shifts(tuple(map(named, train)), values, GENES)
        self.wanted = [named(hit) for hit in held_out]
        self.truth = np.array([shift(hit) for hit in held_out])

    def errors(self, vectors: dict[str, Array], loadings: Array) -> dict[str, float]:
        """Mean squared error of every baseline's shifts; infinite where it says nothing of some condition."""
        predicted = {name: predict(self.train, self.wanted) for name, predict in baselines.BASELINES.items()}
        predicted["kNN"] = baselines.predict_knn(self.train, self.wanted, vectors, 5)
        rows = dict(zip(GENES, loadings, strict=True))
        predicted["Linear-ext"] = baselines.predict_linear(self.train, self.wanted, loadings=loadings, target_rows=rows)
        errors = {name: float(np.square(values - self.truth).mean()) for name, values in predicted.items()}
        return {name: np.inf if np.isnan(error) else error for name, error in errors.items()}


def named(hit: tuple[int, ...]) -> Condition:
    return Condition("k562", "+".join(sorted(GENES[t] for t in hit)))


def noise_vectors(seed: int) -> tuple[dict[str, Array], Array]:
    """Vectors that know nothing."""
    rng = np.random.default_rng(seed)
    loadings = rng.normal(size=(N_GENES, 8))
    return dict(zip(GENES, loadings, strict=True)), loadings


def assert_wins(errors: dict[str, float], winner: str, by: float = 0.8) -> None:
    others = {name: error for name, error in errors.items() if name != winner}
    assert errors[winner] < by * min(others.values()), errors


def test_additive_wins_where_large_effects_of_measured_singles_add():
    """A ridge shrinks what needs no shrinking, where effects are far above their noise."""
    effects = np.random.default_rng(0).normal(size=(N_TARGETS, N_GENES))
    world = World(lambda hit: effects[list(hit)].sum(0), 1)
    assert_wins(world.errors(*noise_vectors(2)), "Additive")


def test_ridge_wins_where_small_effects_add():
    """Below the noise of a single mean profile, what doubles say of a target counts as well."""
    effects = NOISE * np.random.default_rng(0).normal(size=(N_TARGETS, N_GENES))
    world = World(lambda hit: effects[list(hit)].sum(0), 1)
    assert_wins(world.errors(*noise_vectors(2)), "Ridge-additive")


def test_mean_shift_wins_where_every_condition_does_the_same():
    common = np.random.default_rng(0).normal(size=N_GENES)
    world = World(lambda hit: common, 1)
    assert_wins(world.errors(*noise_vectors(2)), "Mean-shift", by=1.0)


def test_linear_wins_on_unseen_targets_whose_shift_follows_from_their_own_loadings():
    """The shift of a target is bilinear in its own row of the loadings, which the training shifts span."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(N_GENES, 4))
    rows[:N_TARGETS] -= rows[:N_TARGETS].mean(0)
    mix = rng.normal(size=(4, 4)) + 3 * np.eye(4)
    world = World(lambda hit: rows @ mix @ rows[list(hit)].sum(0), 1, unseen=8, doubles=False)
    assert_wins(world.errors(*noise_vectors(2)), "Linear")


def test_linear_ext_wins_where_a_file_knows_what_the_screen_does_not_tell():
    """Shifts are linear in vectors of targets that have nothing to do with the genes' own shifts."""
    rng = np.random.default_rng(0)
    loadings = rng.normal(size=(N_GENES, 6))
    mix = rng.normal(size=(6, 6))
    world = World(lambda hit: loadings @ mix @ loadings[list(hit)].sum(0), 1, unseen=6, doubles=False)
    vectors, _ = noise_vectors(2)
    assert_wins(world.errors(vectors, loadings), "Linear-ext", by=0.5)


def test_knn_wins_where_targets_of_one_family_do_the_same():
    """Four families, each with its shift; vectors say which, along directions in which no linear map of genes helps."""
    rng = np.random.default_rng(0)
    family = np.arange(N_TARGETS) % 4
    shifts, centres = rng.normal(size=(4, N_GENES)), rng.normal(size=(4, 8))
    world = World(lambda hit: shifts[family[hit[0]]], 1, unseen=8, doubles=False)
    vectors = {GENES[t]: centres[family[t]] + 0.1 * rng.normal(size=8) for t in range(N_TARGETS)}
    _, loadings = noise_vectors(2)
    assert_wins(world.errors(vectors, loadings), "kNN", by=0.2)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("unseen", [0, 6])
def test_in_a_null_world_nobody_beats_control(seed: int, unseen: int):
    """Control is exact there; what others predict is noise, and never more of it than a double's two singles carry."""
    world = World(lambda hit: np.zeros(N_GENES), seed, unseen, doubles=not unseen)
    errors = world.errors(*noise_vectors(seed))
    assert errors.pop("Control") == 0
    assert all(error > 0 for error in errors.values())
    assert all(error < 3 * NOISE**2 for error in errors.values() if np.isfinite(error)), errors
