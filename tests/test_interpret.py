"""Numbers behind an interpretation, against closed forms and second implementations."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch import nn

from scbig_dist.config import GCAEConfig
from scbig_dist.grc_audit import coherence_table, cosines_within, interactions_within
from scbig_dist.interpret.activity import activity_shift, coactivation, module_activity
from scbig_dist.interpret.attention import Attention as Reading
from scbig_dist.interpret.attention import attention_shift
from scbig_dist.interpret.bootstrap import interval, resamples
from scbig_dist.interpret.module_audit import audit_partition
from scbig_dist.interpret.partition import cluster_store
from scbig_dist.nn.attention import Attention
from scbig_dist.nn.blocks import InducedBlock, LeanBlock, PlainBlock
from scbig_dist.nn.gcae import Autoencoder
from scbig_dist.screen.simulate import simulate_screen
from scbig_dist.screen.simulate_truth import Recipe
from scbig_dist.settings import build_config
from scbig_dist.store.build import build_store
from scbig_dist.store.reader import open_store


def test_weights_equal_torch_and_give_the_output() -> None:
    torch.manual_seed(0)
    attention, other = Attention(24, 4), nn.MultiheadAttention(24, 4, batch_first=True)
    with torch.no_grad():
        other.in_proj_weight.copy_(torch.cat([attention.query.weight, attention.key.weight, attention.value.weight]))
        other.in_proj_bias.zero_()
    queries, tokens = torch.randn(3, 5, 24), torch.randn(3, 7, 24)
    torch.testing.assert_close(attention.weights(queries, tokens), other(queries, tokens, tokens)[1])


@pytest.mark.parametrize("n_inducing", [3, 9])
def test_attention_of_a_block_is_the_mean_over_pairs_of_heads(n_inducing: int) -> None:
    """By hand: A3 of one head times A1 of another, over all pairs of heads."""
    torch.manual_seed(0)
    block = InducedBlock(16, 2, n_inducing, 0.0)
    tokens = torch.randn(4, 6, 16)
    shared = block.points.expand(4, -1, -1)
    points = block.gather_norm(shared + block.gather(shared, tokens))
    points = block.mix_norm(points + block.mix(points, points))

    def heads(attention: Attention, queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        q, k = (x.unflatten(2, (2, 8)).transpose(1, 2) for x in (attention.query(queries), attention.key(keys)))
        return (q @ k.transpose(2, 3) / 8**0.5).softmax(-1)

    first, third = heads(block.gather, shared, tokens), heads(block.spread, tokens, points)
    pairs = [third[:, a] @ first[:, b] for a in range(2) for b in range(2)]
    torch.testing.assert_close(block.weights(tokens), torch.stack(pairs).mean(0), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("block", [InducedBlock(16, 2, 3, 0.0), LeanBlock(16, 2, 3, 2, 0.0), PlainBlock(16, 2, 0.0)])
def test_attention_rows_add_up_and_follow_the_tokens(block: nn.Module) -> None:
    tokens, order = torch.randn(2, 6, 16), torch.randperm(6)
    weights = block.weights(tokens)
    torch.testing.assert_close(weights.sum(2), torch.ones(2, 6))
    torch.testing.assert_close(block.weights(tokens[:, order]), weights[:, order][:, :, order], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", [{}, {"block": "lean"}, {"encoder": "plain"}])
def test_autoencoder_attends_by_module_over_blocks(kind: dict[str, str]) -> None:
    torch.manual_seed(0)
    config = GCAEConfig.model_validate({"width": 16, "n_heads": 2, "n_inducing": 3, "n_blocks": 2} | kind)
    model = Autoencoder(torch.tensor([0, 0, 5, 5, 5, 9]), None, torch.zeros(6), config).eval()
    x = torch.rand(4, 6)
    before = model(x)
    maps = model.attention(x)
    assert maps.shape == (4, 3, 3)
    torch.testing.assert_close(maps.sum(2), torch.ones(4, 3))
    assert torch.equal(model(x), before)
    tokens, own = model._enter(x), []
    for block in model.encoder:
        own.append(block.weights(tokens))
        tokens = block(tokens)
    torch.testing.assert_close(maps, sum(own) / len(own))


def test_activity_is_the_mean_of_a_modules_genes() -> None:
    cells, labels = np.random.default_rng(0).random((5, 6), dtype=np.float32), np.array([4, 1, 4, 1, 1, 7])
    expected = np.stack([cells[:, labels == label].mean(1) for label in (1, 4, 7)], axis=1)
    np.testing.assert_allclose(module_activity(cells, labels), expected, rtol=1e-6)


def test_coactivation_equals_numpy_and_a_loop_over_resamples() -> None:
    rng = np.random.default_rng(0)
    z, other = rng.normal(size=(40, 3)) @ rng.normal(size=(3, 4)), rng.normal(size=(30, 4))
    table = coactivation(z, other, np.random.default_rng(5))
    again = np.random.default_rng(5)
    ours, theirs = resamples(40, again), resamples(30, again)
    for row in table.itertuples():
        a, b = int(row.a), int(row.b)
        assert row.coactivation == pytest.approx(np.corrcoef(z[:, a], z[:, b])[0, 1])
        assert row.control == pytest.approx(np.corrcoef(other[:, a], other[:, b])[0, 1])
        drawn = [np.corrcoef(np.repeat(z, np.rint(w * 40).astype(int), axis=0).T)[a, b] for w in ours[:200]]
        back = [np.corrcoef(np.repeat(other, np.rint(w * 30).astype(int), axis=0).T)[a, b] for w in theirs[:200]]
        few = coactivation_of(z, other, a, b, ours[:200], theirs[:200])
        np.testing.assert_allclose(few, (drawn, back), atol=1e-10)
        assert row.change == pytest.approx(row.coactivation - row.control)
    assert len(table) == 6


def coactivation_of(z, other, a, b, ours, theirs):
    from scbig_dist.interpret.activity import _correlations

    pairs = np.array([a]), np.array([b])
    return _correlations(z, pairs, ours)[1:, 0], _correlations(other, pairs, theirs)[1:, 0]


def test_planted_coactivation_is_found_and_chance_is_not() -> None:
    rng = np.random.default_rng(1)
    shared = rng.normal(size=(200, 1))
    control, perturbed = rng.normal(size=(200, 5)), rng.normal(size=(200, 5))
    perturbed[:, :2] += 1.2 * shared  # correlation 1.44 / 2.44
    table = coactivation(perturbed, control, rng).set_index(["a", "b"])
    pair = table.loc[(0, 1)]
    assert pair["low"] < 1.44 / 2.44 < pair["high"] and pair["positive_rate"] == 1.0 and pair["change_low"] > 0
    others = table.drop((0, 1))
    assert (others["change_low"] < 0).sum() + (others["change_high"] > 0).sum() > 14


def test_a_module_that_does_not_vary_has_no_coactivation() -> None:
    z = np.random.default_rng(0).normal(size=(20, 3))
    z[:, 1] = 4.2
    table = coactivation(z, z, np.random.default_rng(0)).set_index(["a", "b"])
    assert table.loc[[(0, 1), (1, 2)], ["coactivation", "positive_rate", "low"]].isna().all(axis=None)
    assert table.loc[(0, 2), "coactivation"] == pytest.approx(np.corrcoef(z[:, 0], z[:, 2])[0, 1])


def test_one_module_has_no_pairs() -> None:
    z = np.random.default_rng(0).normal(size=(20, 1))
    assert coactivation(z, z, np.random.default_rng(0)).empty


def test_intervals_cover_a_known_shift() -> None:
    """The 95 % interval of a mean shift holds the truth about 95 times in 100."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(100):
        table = activity_shift(rng.normal(0.5, 1, (60, 1)), rng.normal(0, 1, (60, 1)), rng)
        held += bool(table["shift_low"][0] < 0.5 < table["shift_high"][0])
    assert 87 <= held <= 100


def test_resamples_are_draws_with_replacement() -> None:
    weights = resamples(10, np.random.default_rng(0), 500)
    np.testing.assert_allclose(weights.sum(1), 1)
    assert np.array_equal(weights * 10, np.rint(weights * 10))
    low, high = interval(weights @ np.arange(10.0))
    assert low < 4.5 < high


def test_attention_shift_is_relative_to_control() -> None:
    rng = np.random.default_rng(0)
    control, ours = rng.dirichlet(np.full(4, 50.0), 100), rng.dirichlet(np.array([100.0, 50, 25, 25]), 120)
    table = attention_shift(Reading(np.eye(4), ours), Reading(np.eye(4), control), rng)
    change = ours.mean(0) / control.mean(0) - 1
    np.testing.assert_allclose(table["attention_change"], change)
    assert ((table["attention_change_low"] < change) & (change < table["attention_change_high"])).all()
    assert table["attention_change_low"][0] > 0 > table["attention_change_high"][2]


def test_coherence_by_module_equals_loops() -> None:
    rng = np.random.default_rng(0)
    labels = np.array([3] * 6 + [1] * 9 + [8])
    vectors = rng.normal(size=(16, 5)) + rng.normal(size=(9, 5))[labels]
    upper = np.triu(rng.random((16, 16)) < 0.3, 1)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    measures = {
        "cosine": (cosines_within(vectors), unit @ unit.T),
        "interactions": (interactions_within(sp.csr_array(upper | upper.T)), (upper | upper.T).astype(float)),
    }
    for within, similarity in measures.values():
        table = coherence_table(labels, within, rng, 100).set_index("module")
        assert list(table.index) == ["all", 1, 3, 8]
        every = []
        for label in (1, 3):
            own = np.flatnonzero(labels == label)
            pairs = [similarity[i, j] for i in own for j in own if i < j]
            assert table.loc[label, "observed"] == pytest.approx(np.mean(pairs))
            every += pairs
        assert table.loc["all", "observed"] == pytest.approx(np.mean(every))
        assert table.loc[8, ["observed", "z", "p"]].isna().all(), "one gene has no pair"
        expected = (table["observed"] - table["random_mean"]) / table["random_sd"]
        np.testing.assert_allclose(table["z"].astype(float), expected.astype(float))


def test_one_module_of_all_genes_is_no_better_than_chance() -> None:
    vectors = np.random.default_rng(0).normal(size=(12, 4))
    table = coherence_table(np.zeros(12, dtype=int), cosines_within(vectors), np.random.default_rng(0), 20)
    assert table["z"].isna().all()


def test_coherence_is_that_of_cells_centred_in_their_context(tmp_path) -> None:
    """Two cell lines that differ in every gene: correlations are those of cells centred in their own."""
    recipe = Recipe(n_cells=600, n_genes=80, n_perturbations=4, n_doubles=2, n_contexts=2, n_modules=40)
    simulate_screen(tmp_path / "screen.h5ad", recipe, progress=False)
    values = {"qc.min_genes": 1, "qc.min_cells": 1, "data.context": "context"}
    build_store(tmp_path / "screen.h5ad", tmp_path / "store", build_config(values), progress=False)
    store = open_store(tmp_path / "store")
    partition = cluster_store(str(tmp_path / "store"), None, {"grc.clustering": "random", "grc.n_modules": 4})
    x, context, labels = store.dense(np.arange(store.n_cells)), store.obs["context"], partition.module_of_gene
    centred = x - np.array([x[context == own].mean(0) for own in context])
    pairs = np.triu(labels[:, None] == labels, 1)
    whole = audit_partition(partition, 0).coherence.iloc[0]
    assert whole["observed"] == pytest.approx(np.corrcoef(centred.T)[pairs].mean(), rel=1e-3)
    assert whole["observed"] != pytest.approx(np.corrcoef(x.T)[pairs].mean(), rel=0.05)
    assert abs(whole["z"]) < 4
