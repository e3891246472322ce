"""The padded module grid against a loop over modules."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scbig_dist.nn.modules import ModuleLayout
from scbig_dist.nn.projection import GenesToTokens, TokensToGenes

# Module 2 has no gene; modules 0, 1, 3 have 3, 1, 2.
LABELS = torch.tensor([3, 0, 1, 0, 3, 0])


def test_grid_of_a_known_case() -> None:
    layout = ModuleLayout(LABELS)
    assert layout.n_modules == 3
    assert layout.sizes.tolist() == [3, 1, 2]
    assert layout.pad(torch.arange(1.0, 7)[None])[0].tolist() == [[2, 4, 6], [3, 0, 0], [1, 5, 0]]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 8), min_size=1, max_size=40))
def test_pad_and_unpad_are_inverse(labels: list[int]) -> None:
    layout = ModuleLayout(torch.tensor(labels))
    x = torch.randn(3, len(labels))
    grid = layout.pad(x)
    torch.testing.assert_close(layout.unpad(grid), x)
    assert (grid * ~layout.mask == 0).all()
    assert int(layout.mask.sum()) == len(labels) and layout.n_modules == len(set(labels))


def test_mean_and_membership_equal_a_loop() -> None:
    layout, vectors = ModuleLayout(LABELS), torch.randn(6, 4)
    loop = torch.stack([vectors[k == LABELS].mean(0) for k in (0, 1, 3)])
    torch.testing.assert_close(layout.mean(vectors), loop)
    assert layout.membership().tolist() == [(k == LABELS).tolist() for k in (0, 1, 3)]


@pytest.mark.parametrize("shared", [False, True])
def test_projection_equals_a_loop_over_modules(shared: bool) -> None:
    layout, x = ModuleLayout(LABELS), torch.randn(5, 6)
    project = GenesToTokens(layout, 7, shared)
    tokens = project(x)
    for row, label in enumerate((0, 1, 3)):
        genes = x[:, label == LABELS]
        which = 0 if shared else row
        expected = genes @ project.weight[which, : genes.shape[1]] + project.bias[which]
        torch.testing.assert_close(tokens[:, row], expected)


@pytest.mark.parametrize("shared", [False, True])
def test_projection_back_equals_a_loop_over_modules(shared: bool) -> None:
    layout, tokens = ModuleLayout(LABELS), torch.randn(5, 3, 7)
    unproject = TokensToGenes(layout, 7, shared)
    with torch.no_grad():
        unproject.bias.normal_()
    x = unproject(tokens)
    for row, label in enumerate((0, 1, 3)):
        n = int(layout.sizes[row])
        which = 0 if shared else row
        expected = tokens[:, row] @ unproject.weight[which, :, :n] + unproject.bias[row, :n]
        torch.testing.assert_close(x[:, label == LABELS], expected)


def test_padded_weights_get_no_gradient() -> None:
    layout = ModuleLayout(LABELS)
    project = GenesToTokens(layout, 7, shared=False)
    project(torch.randn(5, 6)).square().sum().backward()
    assert project.weight.grad is not None
    assert (project.weight.grad[~layout.mask] == 0).all()
    assert (project.weight.grad[layout.mask] != 0).all()
