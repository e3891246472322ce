"""Vectors of shared pathways against a dense decomposition; vectors of several sources side by side."""

from __future__ import annotations

import numpy as np
import pytest

from scbig_dist.config_data import PriorsConfig
from scbig_dist.screen.embeddings import Embedding, side_by_side
from scbig_dist.screen.pathway_vectors import pathway_embedding
from scbig_dist.train.target_vectors import source_names

SIZES = (5, 500)


def random_sets(n_genes: int, n_sets: int, seed: int) -> dict[str, list[str]]:
    rng = np.random.default_rng(seed)
    return {
        f"set {i}": [f"g{gene:04d}" for gene in rng.choice(n_genes, rng.integers(2, 40), replace=False)]
        for i in range(n_sets)
    }


@pytest.mark.parametrize(("n_genes", "n_sets", "dim"), [(80, 30, 8), (300, 40, 64), (900, 700, 16)])
def test_cosines_equal_those_of_a_dense_svd(n_genes, n_sets, dim):
    sets = random_sets(n_genes, n_sets, seed=n_sets)
    found = pathway_embedding(sets, dim, seed=0)
    kept = [set(members) for members in sets.values() if len(members) >= SIZES[0]]
    genes = sorted(set.union(*kept))
    assert found.genes == tuple(genes) and found.name == "pathways (stand-in)"
    member = np.array([[gene in each for each in kept] for gene in genes], dtype=float)
    member *= np.log(len(genes) / member.sum(axis=0))
    member /= np.linalg.norm(member, axis=1, keepdims=True)
    left, singular, _ = np.linalg.svd(member, full_matrices=False)
    expected = (left * singular)[:, :dim]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(found.vectors @ found.vectors.T, expected @ expected.T, atol=2e-3)


def test_genes_of_the_same_pathways_are_alike_and_others_at_right_angles():
    found = pathway_embedding({name: [f"{name}{i}" for i in range(6)] for name in "abc"}, 64, seed=0)
    assert found.vectors.shape == (18, 3)
    np.testing.assert_allclose(found.vectors @ found.vectors.T, np.kron(np.eye(3), np.ones((6, 6))), atol=1e-6)


def test_pathways_too_small_or_too_large_say_nothing():
    sets = {"small": list("abcd"), "large": [f"g{i}" for i in range(501)], "again": ["a"] * 9}
    assert pathway_embedding(sets, 8, seed=0).genes == ()
    assert pathway_embedding(sets | {"right": list("abcde")}, 8, seed=0).genes == tuple("abcde")


def test_side_by_side_has_zeros_where_one_source_knows_nothing():
    first = Embedding("first", ("A", "B"), np.array([[1, 2], [3, 4]], dtype=np.float32))
    second = Embedding("second", ("B", "C"), np.array([[5], [6]], dtype=np.float32))
    both = side_by_side([first, second])
    assert (both.name, both.genes) == ("first + second", ("A", "B", "C"))
    np.testing.assert_array_equal(both.vectors, [[1, 2, 0], [3, 4, 5], [0, 0, 6]])
    assert side_by_side([first]) is first


@pytest.mark.parametrize(
    ("target_embedding", "files", "names"),
    [
        (None, {}, ()),
        (None, {"ppi": "p.tsv"}, ("spectral",)),
        (None, {"pathways": "s.gmt"}, ()),  # asked for by name alone
        ("relations", {}, ()),
        ("relations", {"pathways": "s.gmt"}, ("pathways",)),
        ("relations", {"ppi": "p.tsv", "pathways": "s.gmt"}, ("spectral", "pathways")),
        ("random", {"ppi": "p.tsv"}, ("random",)),
        ("a+b.npz", {"ppi": "p.tsv"}, ("a+b.npz",)),
    ],
)
def test_where_vectors_of_targets_come_from(target_embedding, files, names):
    assert source_names(PriorsConfig.model_validate({"target_embedding": target_embedding, **files})) == names
