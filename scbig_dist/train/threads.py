"""How many threads a process computes with: torch's, and those of the BLAS beneath NumPy, SciPy and scikit-learn."""

from __future__ import annotations

import torch
from threadpoolctl import threadpool_limits


def use_threads(n: int) -> None:
    """Compute with `n` threads from now on, whatever the environment says.

    Sums over threads have an order of their own: components made with two of BLAS's threads, as a shell gives them, have
    other last bits than with the one that Ray's OMP_NUM_THREADS leaves to its workers.
    """
    torch.set_num_threads(n)
    threadpool_limits(n)
