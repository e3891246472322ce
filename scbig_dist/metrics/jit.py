"""Compilation of the loops of metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` compiled without the GIL; kept on disk where a cache directory is writable.

    Sums may be reordered, so that they vectorise; NaN and infinity keep their meaning, and a
    division by zero gives them as in numpy.
    """
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"reassoc", "contract", "nsz"}}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # "no locator available": installed read-only, without a home
        return numba.njit(**options)(function)
