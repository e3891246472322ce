"""The path: its ends, its middle, its spread."""

from __future__ import annotations

import torch

from scbig_dist.flow.path import sample_path


def test_ends_and_velocity() -> None:
    x0, x1, noise = torch.randn(3, 5, 4).unbind()
    start = sample_path(x0, x1, torch.zeros(5), noise, 0.0)
    end = sample_path(x0, x1, torch.ones(5), noise, 0.0)
    torch.testing.assert_close(start.x_t, x0)
    torch.testing.assert_close(end.x_t, x1)
    torch.testing.assert_close(start.u_t, x1 - x0)
    torch.testing.assert_close(end.x_t - start.x_t, end.u_t)


def test_noise_has_the_given_deviation_at_every_time() -> None:
    torch.manual_seed(0)
    x0, x1 = torch.zeros(2000, 10), torch.ones(2000, 10)
    for t in (0.0, 0.5, 1.0):
        sample = sample_path(x0, x1, torch.full((2000,), t), torch.randn(2000, 10), 0.5)
        assert abs(float(sample.x_t.std()) - 0.5) < 0.02
        assert abs(float(sample.x_t.mean()) - t) < 0.02
