"""Solvers against closed forms and against each other."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from scbig_dist.flow.solver import evaluation_times, solve
from scbig_dist.flow.tsit5 import A, C, E

MATRIX = torch.tensor([[0.0, 2.0, 0.0], [-2.0, -0.5, 0.3], [0.0, 0.0, 0.4]], dtype=torch.float64)
METHODS = ["tsit5", "dopri5", "rk4", "midpoint", "euler"]


def linear(t: Tensor, x: Tensor) -> Tensor:
    assert t.shape == ()
    return x @ MATRIX.T


def closed_form(x0: Tensor) -> Tensor:
    return x0 @ torch.matrix_exp(MATRIX).T


@pytest.mark.parametrize("method, error", list(zip(METHODS, [1e-4, 1e-4, 1e-5, 1e-2, 0.5], strict=True)))
def test_linear_ode(method: str, error: float) -> None:
    x0 = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert float((solve(linear, x0, method, 20, 1e-5) - closed_form(x0)).abs().max()) < error


@pytest.mark.parametrize("method, order", [("euler", 1), ("midpoint", 2), ("rk4", 4)])
def test_order_of_fixed_steps(method: str, order: int) -> None:
    x0 = torch.ones(1, 3, dtype=torch.float64)
    errors = [float((solve(linear, x0, method, n, 1e-5) - closed_form(x0)).norm()) for n in (20, 40)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.35)


@pytest.mark.parametrize("method", METHODS)
def test_time_is_passed_on(method: str) -> None:
    """x' = 5t⁴ has x(1) − x(0) = 1."""
    result = solve(lambda t, x: torch.ones_like(x) * 5 * t**4, torch.zeros(2, 1), method, 200, 1e-6)
    torch.testing.assert_close(result, torch.ones(2, 1), atol=0.02, rtol=0)


@pytest.mark.parametrize("method", METHODS)
def test_a_constant_velocity_is_exact(method: str) -> None:
    x0, v = torch.randn(4, 3), torch.randn(4, 3)
    torch.testing.assert_close(solve(lambda t, x: v, x0, method, 7, 1e-5), x0 + v, rtol=1e-5, atol=1e-5)


def test_standing_still_ends() -> None:
    x0 = torch.zeros(4, 3)
    assert torch.equal(solve(lambda t, x: 0 * x, x0, "tsit5", 1, 1e-5), x0)


def test_tsit5_error_falls_with_the_tolerance() -> None:
    x0 = torch.ones(1, 3, dtype=torch.float64)
    errors = [float((solve(linear, x0, "tsit5", 1, tol) - closed_form(x0)).norm()) for tol in (1e-3, 1e-6, 1e-9)]
    assert errors[0] > 10 * errors[1] > 100 * errors[2]
    assert errors[2] < 1e-8


def test_tsit5_agrees_with_dopri5_on_a_stiffening_field() -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 32), torch.nn.Tanh(), torch.nn.Linear(32, 4)).double()

    def field(t: Tensor, x: Tensor) -> Tensor:
        return 3 * net(x) * torch.cos(20 * t)

    x0 = torch.randn(6, 4, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(
            solve(field, x0, "tsit5", 1, 1e-7), solve(field, x0, "dopri5", 1, 1e-7), rtol=1e-5, atol=1e-5
        )


def test_tsit5_coefficients_meet_the_order_conditions() -> None:
    times, last = (0.0, *C), A[-1]
    for row, c in zip(A, C, strict=True):
        assert sum(row) == pytest.approx(c, abs=1e-12)
    for power in range(5):  # order 5: quadrature up to t⁴
        assert sum(b * t**power for b, t in zip(last, times, strict=False)) == pytest.approx(1 / (power + 1), abs=1e-12)
    for power in range(4):  # the embedded solution has order 4: the error ignores up to t³
        assert sum(e * t**power for e, t in zip(E, times, strict=True)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_gradient_reaches_start_and_parameters(method: str) -> None:
    """d x(1)/d x(0) = e^a and d x(1)/d a = x(0) e^a for x' = a x."""
    a = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    x0 = torch.full((1, 1), 2.0, dtype=torch.float64, requires_grad=True)
    solve(lambda t, x: a * x, x0, method, 400, 1e-7).sum().backward()
    assert x0.grad is not None and a.grad is not None
    assert float(x0.grad) == pytest.approx(math.exp(0.7), rel=5e-3)
    assert float(a.grad) == pytest.approx(2 * math.exp(0.7), rel=5e-3)


@pytest.mark.parametrize("method", METHODS)
def test_a_field_in_bfloat16_leaves_the_state_in_float32(method: str) -> None:
    x0 = torch.randn(3, 3)
    with torch.autocast("cpu", torch.bfloat16):
        result = solve(lambda t, x: x @ MATRIX.float().T, x0, method, 100, 1e-2)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, closed_form(x0.double()).float(), rtol=0.1, atol=0.1)


def test_single_precision_reaches_the_end() -> None:
    x0 = torch.randn(3, 3)
    result = solve(lambda t, x: x @ MATRIX.float().T, x0, "tsit5", 1, 1e-5)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, closed_form(x0.double()).float(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("method", ["euler", "midpoint", "rk4"])
def test_evaluation_times_are_those_that_the_solver_asks_for(method: str) -> None:
    asked: list[float] = []

    def velocity(t: Tensor, x: Tensor) -> Tensor:
        asked.append(float(t))
        return torch.zeros_like(x)

    solve(velocity, torch.zeros(1, 1), method, 7, 1e-5)
    times = evaluation_times(method, 7, torch.device("cpu"))
    assert times is not None and times.tolist() == pytest.approx(asked, abs=1e-6)
    assert evaluation_times("tsit5", 7, torch.device("cpu")) is None
