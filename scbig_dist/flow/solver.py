"""Integrate a velocity field from control (t = 0) to perturbed (t = 1)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torchdiffeq import odeint

from scbig_dist.flow.tsit5 import solve_tsit5

Velocity = Callable[[Tensor, Tensor], Tensor]


def solve(
    velocity: Velocity, x0: Float[Tensor, "cell latent"], method: str, n_steps: int, tolerance: float
) -> Float[Tensor, "cell latent"]:
    """The state at t = 1; `velocity` takes a scalar tensor t and the state.

    `tsit5` and `dopri5` choose their steps by `tolerance` (relative and absolute);
    `rk4`, `midpoint` and `euler` take `n_steps` equal ones. Differentiable throughout.
    """

    def rate(t: Tensor, x: Tensor) -> Tensor:
        return velocity(t, x).to(x.dtype)  # the state stays in its own precision under autocast

    if method == "tsit5":
        return solve_tsit5(rate, x0, tolerance)
    if method == "dopri5":
        ends = torch.tensor([0.0, 1.0], device=x0.device, dtype=x0.dtype)
        return odeint(rate, x0, ends, rtol=tolerance, atol=tolerance, method="dopri5")[-1]
    advance = {"rk4": _rk4, "midpoint": _midpoint, "euler": _euler}[method]
    step, x = 1.0 / n_steps, x0
    times = torch.linspace(0, 1, n_steps + 1, device=x0.device, dtype=x0.dtype)[:-1]
    for t in times:
        x = advance(rate, t, x, step)
    return x


def evaluation_times(method: str, n_steps: int, device: torch.device) -> Float[Tensor, " time"] | None:
    """The times at which `solve` asks for velocities, in their order; None where it chooses them as it goes."""
    parts = {"rk4": (0.0, 0.5, 0.5, 1.0), "midpoint": (0.0, 0.5), "euler": (0.0,)}.get(method)
    if parts is None:
        return None
    steps = torch.arange(n_steps, device=device)  # made on the device: it waits for no copy
    return torch.stack([(steps + part) / n_steps for part in parts], 1).flatten()


def _euler(velocity: Velocity, t: Tensor, x: Tensor, step: float) -> Tensor:
    return x + step * velocity(t, x)


def _midpoint(velocity: Velocity, t: Tensor, x: Tensor, step: float) -> Tensor:
    halfway = x + step / 2 * velocity(t, x)
    return x + step * velocity(t + step / 2, halfway)


def _rk4(velocity: Velocity, t: Tensor, x: Tensor, step: float) -> Tensor:
    k1 = velocity(t, x)
    k2 = velocity(t + step / 2, x + step / 2 * k1)
    k3 = velocity(t + step / 2, x + step / 2 * k2)
    k4 = velocity(t + step, x + step * k3)
    return x + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
