"""Indicators of targets, what is defined, doses, and the graph convolution against its matrix form."""

from __future__ import annotations

import math

import torch

from scbig_dist.nn.graph import GraphConvolution
from scbig_dist.nn.targets import are_defined, dose_strength, seen_targets, target_indicators

TARGETS = torch.tensor([[0, 2], [1, -1], [-1, -1], [3, 1], [9, 0]])


def test_indicators_mark_each_target_once_whatever_the_order() -> None:
    wanted = [[1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 1, 0, 1], [1, 0, 0, 0]]
    assert target_indicators(TARGETS, 4).tolist() == wanted
    assert target_indicators(TARGETS.flip(1), 4).tolist() == wanted
    assert target_indicators(torch.tensor([[2, 2]]), 4).tolist() == [[0, 0, 1, 0]]


def test_a_condition_is_defined_if_all_its_targets_are() -> None:
    seen = seen_targets(TARGETS[:2], 4)
    assert seen.tolist() == [True, True, True, False]
    assert are_defined(TARGETS, seen).tolist() == [True, True, True, False, False]
    assert are_defined(torch.tensor([[4]]), torch.ones(4, dtype=torch.bool)).tolist() == [False]  # past the table


def test_dose_strength_is_one_at_the_top_and_without_a_dose() -> None:
    dose = torch.tensor([0.0, 1.0, 9.0])
    wanted = torch.tensor([1.0, math.log(2) / math.log(10), 1.0])
    torch.testing.assert_close(dose_strength(dose, 9.0), wanted)
    assert dose_strength(dose, 0.0).tolist() == [1.0, 1.0, 1.0]


def test_graph_convolution_equals_its_matrix_form() -> None:
    graph = torch.tensor([[1, 2], [0, -1], [-1, -1], [0, 1], [2, -1]])
    weight = torch.tensor([[0.5, 0.2], [0.5, 0.0], [0.0, 0.0], [0.3, 0.1], [0.7, 0.0]])
    carry = torch.tensor([True, True, False, False, False])
    torch.manual_seed(0)
    layer = GraphConvolution(graph, weight, carry, 3, 2)
    nodes = torch.randn(5, 3)
    share = torch.tensor([
        [1 / 1.5, 0.5 / 1.5, 0, 0, 0],  # node 2 carries nothing
        [0.5 / 1.5, 1 / 1.5, 0, 0, 0],
        [0, 0, 0, 0, 0],
        [0.3 / 0.4, 0.1 / 0.4, 0, 0, 0],  # carries nothing itself: its neighbours' mean
        [0, 0, 0, 0, 0],
    ])  # fmt: skip
    torch.testing.assert_close(layer(nodes), layer.linear(share @ nodes))
    assert layer.reached.tolist() == [True, True, False, True, False]
