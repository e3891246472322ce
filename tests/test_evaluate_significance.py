"""p-values of true cells: computed once per store, kept, and never trusted when damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from evaluate_cases import N_GENES, conditions, make_store

from scbig_dist.evaluate import significance
from scbig_dist.evaluate.ground import lay_ground
from scbig_dist.evaluate.significance import expression_p
from scbig_dist.metrics.de import index_control, rank_sum_p
from scbig_dist.screen.splits import Split
from scbig_dist.store.reader import Store

TEST = conditions("k562", "A+B", "C")


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return make_store(tmp_path_factory.mktemp("significance"))


def ground(store: Store, cache: Path | None, n_genes: int = N_GENES, seed: int = 0, threads: int = 1):
    split = Split("additive", 0, conditions("k562", "A", "B"), (), TEST)
    return lay_ground(store, split, ["k562"], n_genes, 16, seed, threads, cache)


@pytest.fixture
def computed(monkeypatch) -> list[str]:
    """The conditions that are computed from here on."""
    names: list[str] = []
    compute = significance._compute

    def note(ground, condition):
        names.append(condition.perturbation)
        return compute(ground, condition)

    monkeypatch.setattr(significance, "_compute", note)
    return names


def test_p_is_that_of_the_rank_sum_of_all_cells(store):
    control = index_control(store.dense(store.cells(store.control("k562"))))
    expected = [rank_sum_p(store.dense(store.cells(condition)), control) for condition in TEST]
    for threads in (1, 2):
        np.testing.assert_array_equal(expression_p(ground(store, None, threads=threads), TEST), expected)


def test_what_is_kept_is_not_computed_again(store, tmp_path, computed):
    first = expression_p(ground(store, tmp_path), TEST[:1])
    both = expression_p(ground(store, tmp_path), TEST)
    assert computed == ["A+B", "C"]
    np.testing.assert_array_equal(both[:1], first)
    small = expression_p(ground(store, tmp_path, n_genes=20), TEST)  # a smaller panel: the beginning of the larger
    np.testing.assert_array_equal(small, both[:, :20])
    assert computed == ["A+B", "C"]


def test_a_larger_panel_or_another_draw_is_computed_anew(store, tmp_path, computed):
    expression_p(ground(store, tmp_path, n_genes=20), TEST[:1])
    whole = expression_p(ground(store, tmp_path), TEST[:1])
    expression_p(ground(store, tmp_path, seed=1), TEST[:1])
    assert computed == ["A+B"] * 3
    np.testing.assert_array_equal(expression_p(ground(store, tmp_path), TEST[:1]), whole)


@pytest.mark.parametrize("damage", [b"", b"no numpy", b"\x93NUMPY\x01\x00"])
def test_a_damaged_record_is_made_again(store, tmp_path, damage):
    first = expression_p(ground(store, tmp_path), TEST[:1])
    (record,) = tmp_path.rglob("*.npy")
    record.write_bytes(damage)
    np.testing.assert_array_equal(expression_p(ground(store, tmp_path), TEST[:1]), first)
    np.testing.assert_array_equal(np.load(record), first[0])


def test_a_cache_that_cannot_be_written_is_no_error(store, tmp_path):
    (tmp_path / "file").write_text("")  # a folder cannot be made beneath it, by root neither
    expected = expression_p(ground(store, None), TEST)
    np.testing.assert_array_equal(expression_p(ground(store, tmp_path / "file"), TEST), expected)
