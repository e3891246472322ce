"""Gene modules: capacities always, planted modules found, SPEC's formulas by hand."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from scbig_dist import grc
from scbig_dist.config import GRCConfig
from scbig_dist.errors import UserError
from scbig_dist.grc import cluster_genes

BALANCED = ["grc", "kmeans_balanced", "none", "random", "soft"]


def planted(n_genes: int, k: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, sp.csr_array]:
    """True modules, an embedding and a PPI graph that both show them."""
    rng = np.random.default_rng(seed)
    truth = rng.permutation(np.arange(n_genes) % k)
    embedding = rng.normal(size=(k, 16))[truth] + 0.4 * rng.normal(size=(n_genes, 16))
    chance = np.where(truth[:, None] == truth[None, :], 0.4, 0.02)
    upper = np.triu(rng.random((n_genes, n_genes)) < chance, 1)
    return truth, embedding, sp.csr_array(upper | upper.T)


def cluster(n_genes: int, embedding=None, adjacency=None, found=None, seed: int = 0, **settings: object) -> np.ndarray:
    config = GRCConfig.model_validate(settings)
    return cluster_genes(n_genes, embedding, found, adjacency, config, np.random.default_rng(seed))


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 40), st.data())
def test_sizes_differ_by_at_most_one(n_genes: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, n_genes))
    clustering = data.draw(st.sampled_from(BALANCED))
    rng = np.random.default_rng(data.draw(st.integers(0, 5)))
    embedding = rng.normal(size=(n_genes, 3)) if data.draw(st.booleans()) else None
    upper = np.triu(rng.random((n_genes, n_genes)) < 0.2, 1)
    adjacency = sp.csr_array(upper | upper.T) if embedding is None or data.draw(st.booleans()) else None
    labels = cluster(n_genes, embedding, adjacency, n_modules=k, clustering=clustering)
    sizes = np.bincount(labels, minlength=k)
    assert labels.dtype == np.int64 and len(labels) == n_genes and len(sizes) == k
    assert sorted(sizes) == [n_genes // k] * (k - n_genes % k) + [n_genes // k + 1] * (n_genes % k)


@pytest.mark.parametrize("clustering", ["grc", "kmeans_balanced", "kmeans"])
@pytest.mark.parametrize("prior", ["embedding", "ppi", "both"])
def test_planted_modules_are_recovered(clustering: str, prior: str) -> None:
    truth, embedding, adjacency = planted(203, 8)
    labels = cluster(
        203,
        embedding if prior != "ppi" else None,
        adjacency if prior != "embedding" else None,
        n_modules=8,
        clustering=clustering,
    )
    assert adjusted_rand_score(truth, labels) > 0.9


def test_ppi_helps_where_the_embedding_is_poor() -> None:
    truth, embedding, adjacency = planted(160, 8)
    blurred = embedding + 1.5 * np.random.default_rng(1).normal(size=embedding.shape)
    alone = adjusted_rand_score(truth, cluster(160, blurred, n_modules=8))
    helped = adjusted_rand_score(truth, cluster(160, blurred, adjacency, n_modules=8))
    assert helped > alone + 0.1


def test_weights_switch_their_terms_off() -> None:
    _, embedding, adjacency = planted(60, 4)
    without = cluster(60, embedding, n_modules=4)
    np.testing.assert_array_equal(cluster(60, embedding, adjacency, n_modules=4, w_ppi=0.0), without)
    with pytest.raises(UserError, match=r"grc.w_semantic and grc.w_ppi leave no term"):
        cluster(60, embedding, n_modules=4, w_semantic=0.0)


def test_costs_equal_their_definitions() -> None:
    _, embedding, adjacency = planted(30, 3)
    labels = np.random.default_rng(0).integers(0, 3, 30)
    labels[labels == 1] = 0  # module 1 is empty
    unit = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
    distance, missing = grc._distances(unit, labels, 3), grc._missing_interactions(adjacency, labels, 3)
    raw = np.ones((30, 3))
    for k in (0, 2):
        centroid = unit[labels == k].mean(0)
        raw[:, k] = 1 - unit @ (centroid / np.linalg.norm(centroid))
        neighbours = adjacency.toarray()[:, labels == k].sum(1)
        np.testing.assert_allclose(missing[:, k], 1 - neighbours / (labels == k).sum())
    np.testing.assert_allclose(distance, raw / raw.max(), atol=1e-12)
    assert (missing[:, 1] == 1).all()


def test_extra_places_go_to_the_largest() -> None:
    assert grc._capacities(np.array([1, 5, 0, 4]), 10).tolist() == [2, 3, 2, 3]


def test_rounding_takes_the_largest_entries_first() -> None:
    scores = np.array([[0.9, 0.1], [0.8, 0.7], [0.6, 0.5], [0.2, 0.3]])
    # 0.9: gene 0 → 0; 0.8: gene 1 → 0, which is then full; 0.5: gene 2 → 1; 0.3: gene 3 → 1.
    assert grc._round(scores, np.array([2, 2])).tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("epsilon", [0.1, 1e-3])
def test_plan_has_the_marginals_even_where_the_kernel_underflows(epsilon: float) -> None:
    cost = np.random.default_rng(0).random((40, 5)) * 2
    capacities = np.array([8, 8, 8, 8, 8])
    plan = grc._transport(cost, capacities, epsilon)
    np.testing.assert_allclose(plan.sum(0), capacities / 40, rtol=1e-2)
    np.testing.assert_allclose(plan.sum(1), 1 / 40, rtol=0.3)


def test_a_zero_kernel_falls_back_to_the_log_domain() -> None:
    """exp(−C/ε) is 0 everywhere for gene 0: POT's plain Sinkhorn has no plan for it."""
    cost = np.random.default_rng(0).random((20, 4))
    cost[0] += 2000
    plan = grc._transport(cost, np.full(4, 5), 0.1)
    assert np.isfinite(plan).all() and plan[0].sum() == pytest.approx(1 / 20, rel=1e-3)


def test_genes_without_vector_are_placed_by_seed() -> None:
    _, embedding, _ = planted(60, 4)
    found = np.arange(60) >= 10
    embedding[~found] = 0
    one = cluster(60, embedding, found=found, n_modules=4)
    np.testing.assert_array_equal(one, cluster(60, embedding, found=found, n_modules=4))
    np.testing.assert_array_equal(one, cluster(60, embedding, n_modules=4))  # zero rows are missing by themselves


@pytest.mark.parametrize("clustering", [*BALANCED, "kmeans"])
def test_the_seed_decides(clustering: str) -> None:
    _, embedding, adjacency = planted(60, 4)
    runs = [cluster(60, embedding, adjacency, n_modules=4, clustering=clustering, seed=3) for _ in range(2)]
    np.testing.assert_array_equal(*runs)


def test_soft_is_grc_when_cold_and_random_when_hot() -> None:
    truth, embedding, adjacency = planted(120, 6)
    scores = {
        temperature: adjusted_rand_score(
            truth, cluster(120, embedding, adjacency, n_modules=6, clustering="soft", temperature=temperature)
        )
        for temperature in (1e-6, 1.0, 100.0)
    }
    hard = adjusted_rand_score(truth, cluster(120, embedding, adjacency, n_modules=6))
    assert scores[1e-6] == pytest.approx(hard)
    assert scores[1e-6] >= scores[1.0] > scores[100.0]
    assert scores[100.0] < 0.2


def test_none_is_contiguous() -> None:
    assert cluster(7, n_modules=3, clustering="none").tolist() == [0, 0, 0, 1, 1, 2, 2]


def test_one_module_and_a_module_per_gene() -> None:
    _, embedding, adjacency = planted(12, 3)
    assert set(cluster(12, embedding, adjacency, n_modules=1)) == {0}
    assert sorted(cluster(12, embedding, adjacency, n_modules=12)) == list(range(12))


def test_rejects_more_modules_than_genes() -> None:
    with pytest.raises(UserError, match=r"grc.n_modules=13 is above the panel's 12 genes"):
        cluster(12, np.ones((12, 2)), n_modules=13)


@pytest.mark.parametrize("clustering", ["grc", "kmeans", "kmeans_balanced", "soft"])
def test_rejects_clustering_without_any_prior(clustering: str) -> None:
    with pytest.raises(UserError, match=r"give priors.gene_embedding or priors.ppi"):
        cluster(12, n_modules=3, clustering=clustering)
