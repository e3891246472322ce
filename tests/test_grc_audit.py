"""The audit of gene modules against hand counts and chance."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest

from scbig_dist.grc_audit import coherence, enrichment


def test_enrichment_by_hand() -> None:
    modules = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1, 1])
    pathway = np.array([[1, 1, 1, 0, 1, 0, 0, 0, 0, 0]])
    table = enrichment(modules, pathway, ["P"])
    row = table[table.module == 0].iloc[0]
    assert (row.overlap, row.module_size, row.pathway_size) == (3, 4, 4)
    assert row.expected == pytest.approx(1.6)
    at_least_three = (comb(4, 3) * comb(6, 1) + comb(4, 4)) / comb(10, 4)
    assert row.p == pytest.approx(at_least_three)
    assert row.q == pytest.approx(min(1, 2 * at_least_three))


def test_enrichment_finds_planted_pathways_and_controls_chance() -> None:
    rng = np.random.default_rng(0)
    modules = np.arange(200) % 10
    planted = np.array([(modules == k) & (rng.random(200) < 0.8) for k in range(10)])
    chance = rng.random((100, 200)) < 0.1
    table = enrichment(modules, np.vstack([planted, chance]), [f"P{i}" for i in range(110)])
    significant = table[table.q < 0.05]
    assert {(row.module, row.pathway) for row in significant.itertuples()} >= {(k, f"P{k}") for k in range(10)}
    assert len(significant) <= 14
    assert table.p.is_monotonic_increasing


def test_coherence_equals_a_loop_and_beats_chance() -> None:
    rng = np.random.default_rng(0)
    modules = np.array([0] * 10 + [1] * 15 + [2] * 5)
    vectors = rng.normal(size=(3, 8))[modules] + rng.normal(size=(30, 8))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    pairs = [unit[i] @ unit[j] for i in range(30) for j in range(30) if i != j and modules[i] == modules[j]]
    result = coherence(modules, vectors, rng)
    assert result.observed == pytest.approx(np.mean(pairs))
    assert result.observed > result.random_mean + 5 * result.random_sd
    assert result.p == pytest.approx(1 / 201)


def test_random_modules_are_not_coherent() -> None:
    rng = np.random.default_rng(0)
    result = coherence(np.arange(60) % 6, rng.normal(size=(60, 10)), rng)
    assert result.p > 0.01
