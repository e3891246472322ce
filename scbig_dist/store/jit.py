"""Compilation of the loops over cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` compiled without the GIL; kept on disk where a cache directory is writable."""
    try:
        return numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # "no locator available": installed read-only, without a home
        return numba.njit(nogil=True)(function)
