"""Tsitouras' 5(4) Runge–Kutta pair with adaptive steps.

Ch. Tsitouras, Computers & Mathematics with Applications 62 (2011) 770–775.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

# Stage times, stage weights (the last row is the solution's), and the weights of the error.
C = (0.161, 0.327, 0.9, 0.9800255409045097, 1.0, 1.0)
A = (
    (0.161,),
    (-0.008480655492356989, 0.335480655492357),
    (2.8971530571054935, -6.359448489975075, 4.3622954328695815),
    (5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525),
    (5.86145544294642, -12.92096931784711, 8.159367898576159, -0.071584973281401, -0.028269050394068383),
    (0.09646076681806523, 0.01, 0.4798896504144996, 1.379008574103742, -3.290069515436081, 2.324710524099774),
)
E = (
    -0.00178001105222577714,
    -0.0008164344596567469,
    0.007880878010261995,
    -0.1447110071732629,
    0.5823571654525552,
    -0.45808210592918697,
    0.015151515151515152,
)
SAFETY, SHRINK, GROW = 0.9, 0.2, 10.0
MAX_STEPS = 10_000

Velocity = Callable[[Tensor, Tensor], Tensor]


def solve_tsit5(velocity: Velocity, x0: Float[Tensor, "cell latent"], tolerance: float) -> Float[Tensor, "cell latent"]:
    """The state at t = 1 from `x0` at t = 0, local error within `tolerance` (relative and absolute, RMS)."""
    t, x = 0.0, x0
    first = _at(velocity, t, x)
    step = _first_step(velocity, x, first, tolerance)
    for _ in range(MAX_STEPS):
        step = min(step, 1.0 - t)
        slopes = [first]
        for c, row in zip(C, A, strict=True):
            stage = x + step * _combine(row, slopes)
            slopes.append(_at(velocity, t + c * step, stage))
        proposal = stage  # the last stage is the solution: first same as last
        error = step * _combine(E, slopes)
        ratio = _norm(error, tolerance * (1 + torch.maximum(x.abs(), proposal.abs())))
        assert ratio == ratio, "the velocity field is not finite"
        if ratio <= 1:
            t, x, first = t + step, proposal, slopes[-1]
            if 1.0 - t < 1e-9:
                return x
        step *= min(GROW, max(SHRINK, SAFETY * max(ratio, 1e-10) ** -0.2))
    raise RuntimeError(f"Tsit5: no end after {MAX_STEPS} steps at t={t:.3g}; loosen flow.tolerance")


def _at(velocity: Velocity, t: float, x: Tensor) -> Tensor:
    return velocity(torch.tensor(t, dtype=x.dtype, device=x.device), x)


def _combine(weights: tuple[float, ...], slopes: list[Tensor]) -> Tensor:
    total = weights[0] * slopes[0]
    for weight, slope in zip(weights[1:], slopes[1:], strict=True):
        total = total + weight * slope
    return total


def _norm(values: Tensor, scale: Tensor) -> float:
    return float((values / scale).detach().square().mean().sqrt())


def _first_step(velocity: Velocity, x: Tensor, slope: Tensor, tolerance: float) -> float:
    """Hairer, Nørsett & Wanner, Solving Ordinary Differential Equations I, II.4."""
    scale = tolerance * (1 + x.abs())
    size, speed = _norm(x, scale), _norm(slope, scale)
    guess = 1e-6 if size < 1e-5 or speed < 1e-5 else 0.01 * size / speed
    guess = min(guess, 1.0)
    with torch.no_grad():
        bend = _norm(_at(velocity, guess, x + guess * slope) - slope, scale) / guess
    steepest = max(speed, bend)
    limit = max(1e-6, guess * 1e-3) if steepest <= 1e-15 else (0.01 / steepest) ** 0.2
    return min(100 * guess, limit, 1.0)
