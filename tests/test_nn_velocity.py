"""The velocity field: its size, and shared against repeated inputs."""

from __future__ import annotations

import torch

from scbig_dist.config import FlowConfig
from scbig_dist.nn.velocity import TimeFeatures, VelocityField

CONFIG = FlowConfig(width=32, condition_dim=8, n_heads=2, dropout=0.0)


def test_default_size_is_about_seven_million_parameters() -> None:
    n = sum(p.numel() for p in VelocityField(50, FlowConfig()).parameters())
    assert 6.5e6 < n < 7.5e6


def test_equals_an_mlp_on_the_concatenation() -> None:
    torch.manual_seed(0)
    field = VelocityField(5, CONFIG)
    t, x, condition = torch.rand(6), torch.randn(6, 5), torch.randn(6, 8)
    joined = torch.cat([field.state(x), field.time(t), condition], 1)
    weight = torch.cat([field.join_state.weight, field.join_time.weight, field.join_condition.weight], 1)
    wanted = field.head(torch.nn.functional.linear(joined, weight, field.join_state.bias))
    torch.testing.assert_close(field(t, x, condition), wanted)


def test_groups_share_their_condition() -> None:
    torch.manual_seed(0)
    field = VelocityField(5, CONFIG)
    t, x, condition = torch.rand(6), torch.randn(6, 5), torch.randn(3, 8)
    repeated = condition.repeat_interleave(2, dim=0)
    torch.testing.assert_close(field(t, x, condition), field(t, x, repeated))


def test_shared_time_and_condition_equal_repeated_ones() -> None:
    torch.manual_seed(0)
    field = VelocityField(5, CONFIG)
    x, condition = torch.randn(6, 5), torch.randn(8)
    repeated = field(torch.full((6,), 0.3), x, condition.expand(6, -1))
    torch.testing.assert_close(field(torch.tensor(0.3), x, condition), repeated)
    torch.testing.assert_close(field(torch.tensor([0.3]), x, condition[None]), repeated)


def test_many_times_at_once_equal_one_after_the_other() -> None:
    torch.manual_seed(0)
    field = VelocityField(5, CONFIG)
    x, condition, times = torch.randn(6, 5), torch.randn(8), torch.rand(4)
    for t, given in zip(times, field.at_times(times, condition), strict=True):
        torch.testing.assert_close(field.move(x, given), field(t, x, condition))


def test_every_input_matters() -> None:
    torch.manual_seed(0)
    field = VelocityField(5, CONFIG)
    inputs = [
        torch.rand(3, requires_grad=True),
        torch.randn(3, 5, requires_grad=True),
        torch.randn(3, 8, requires_grad=True),
    ]
    field(*inputs).sum().backward()
    assert all((x.grad != 0).any() for x in inputs)


def test_time_features_tell_near_times_apart() -> None:
    features = TimeFeatures(32)(torch.tensor([0.0, 0.01, 1.0]))
    assert features.shape == (3, 32)
    assert torch.cdist(features, features)[0, 1] > 0.5
