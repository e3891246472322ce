"""Conditions as vectors: sets, gaps, contexts and doses."""

from __future__ import annotations

import itertools

import pytest
import torch

from scbig_dist.config import FlowConfig
from scbig_dist.nn.condition import ConditionEncoder

KNOWN = torch.tensor([True, True, True, False])
SETTINGS = list(itertools.product(("frozen", "learned", "both"), ("attention", "sum")))


def build(target_embedding: str, pooling: str, n_contexts: int = 1, with_dose: bool = False) -> ConditionEncoder:
    torch.manual_seed(0)
    config = FlowConfig.model_validate(
        {"target_embedding": target_embedding, "pooling": pooling, "condition_dim": 16, "n_heads": 4}
    )
    return ConditionEncoder(torch.randn(4, 5), KNOWN, config, n_contexts, with_dose)


def encode(encoder: ConditionEncoder, *sets: list[int]) -> torch.Tensor:
    zeros = torch.zeros(len(sets))
    return encoder(torch.tensor(sets), zeros.long(), zeros)


@pytest.mark.parametrize("target_embedding, pooling", SETTINGS)
def test_order_of_targets_and_place_of_gaps_do_not_matter(target_embedding: str, pooling: str) -> None:
    vectors = encode(build(target_embedding, pooling), [0, 1, -1], [1, 0, -1], [-1, 1, 0], [0, -1, -1])
    torch.testing.assert_close(vectors[1], vectors[0])
    torch.testing.assert_close(vectors[2], vectors[0])
    assert not torch.allclose(vectors[3], vectors[0])


@pytest.mark.parametrize("target_embedding, pooling", SETTINGS)
def test_no_target_is_zero_with_finite_gradients(target_embedding: str, pooling: str) -> None:
    encoder = build(target_embedding, pooling)
    vectors = encode(encoder, [-1, -1], [0, 1])
    assert (vectors[0] == 0).all() and (vectors[1] != 0).any()
    vectors.square().sum().backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in encoder.parameters())


@pytest.mark.parametrize("pooling", ["attention", "sum"])
def test_a_target_without_vector_is_masked_when_frozen(pooling: str) -> None:
    vectors = encode(build("frozen", pooling), [0, 3], [0, -1], [3, -1])
    torch.testing.assert_close(vectors[0], vectors[1])
    assert (vectors[2] == 0).all()


def test_both_starts_at_the_prior_and_learns_where_there_is_none() -> None:
    encoder = build("both", "sum")
    prior = build("frozen", "sum")
    prior.embedding.linear.load_state_dict(encoder.embedding.linear.state_dict())
    torch.testing.assert_close(encode(encoder, [0, 1], [3, -1]), encode(prior, [0, 1], [3, -1]))
    encode(encoder, [3, -1]).sum().backward()
    assert (encoder.embedding.learned.grad[3] != 0).all()


def test_a_sum_of_targets_is_additive() -> None:
    both, one, other = encode(build("both", "sum"), [0, 1], [0, -1], [1, -1])
    torch.testing.assert_close(both, one + other)


@pytest.mark.parametrize("target_embedding", ["frozen", "both"])
def test_noise_moves_what_the_prior_says_of_a_target_alone(target_embedding: str) -> None:
    encoder = build(target_embedding, "sum")
    zeros, noise = torch.zeros(1), torch.randn(1, 3, 5)
    moved = encoder(torch.tensor([[0, 3, -1]]), zeros.long(), zeros, noise) - encode(encoder, [0, 3, -1])
    # Target 3 has no vector and the last slot no target: neither takes noise.
    torch.testing.assert_close(moved, noise[:, 0] @ encoder.embedding.linear.weight.T)


def test_learned_needs_no_frozen_vectors() -> None:
    config = FlowConfig(target_embedding="learned", condition_dim=8, n_heads=2)
    encoder = ConditionEncoder(None, torch.zeros(3, dtype=torch.bool), config, 1, False)
    vectors = encode(encoder, [0, 1], [2, -1])
    assert (vectors != 0).any(1).all()


def test_context_and_dose_join_only_where_there_are_any() -> None:
    targets, doses = torch.tensor([[0], [0]]), torch.tensor([0.1, 10.0])
    contexts = torch.tensor([0, 1])
    plain = build("frozen", "attention")(targets, contexts, doses)
    torch.testing.assert_close(plain[0], plain[1])
    for encoder in (build("frozen", "attention", n_contexts=2), build("frozen", "attention", with_dose=True)):
        if encoder.context is not None:
            assert not encoder.context.weight.any(), "an untrained context steers"
            torch.nn.init.normal_(encoder.context.weight)
        one, other = encoder(targets, contexts, doses)
        assert not torch.allclose(one, other)


def test_scale_of_the_frozen_vectors_does_not_matter() -> None:
    config = FlowConfig(condition_dim=8, n_heads=2)
    vectors = torch.randn(4, 5)
    outputs = []
    for scale in (1e-3, 1.0, 1e3):
        torch.manual_seed(0)
        outputs.append(encode(ConditionEncoder(scale * vectors, KNOWN, config, 1, False), [0, 1]))
    torch.testing.assert_close(outputs[0], outputs[1])
    torch.testing.assert_close(outputs[2], outputs[1])
