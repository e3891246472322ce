"""Compilation of the loops over cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` compiled without the GIL; kept on disk where a cache directory is writable.

    As in numpy, a division by zero gives inf or nan: a check per division would keep loops from vectorising.
    """
    try:
        return numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # "no locator available": installed read-only, without a home
        return numba.njit(nogil=True, error_model="numpy")(function)
