"""How numbers, metrics and columns are written: units, directions, `–` for what is missing."""

from __future__ import annotations

import math
from typing import Any

from scbig_dist.metrics.summary import HIGHER_IS_BETTER

MISSING = "–"

METHOD_ORDER = (
    "scBIG+", "scBIG", "CellFlow", "GEARS", "CPA", "samsVAE", "scGen", "Ridge-additive", "Additive", "kNN", "Linear-ext",
    "Linear", "Mean-shift", "Control", "noise ceiling",
)  # fmt: skip
UNITS = {
    "step_ms": "ms", "peak_mem_gb": "GB", "autoencoder_step_ms": "ms", "peak_gpu_gb": "GB", "stage1_ms": "ms",
    "stage2_ms": "ms", "stage1_gb": "GB", "stage2_gb": "GB", "autoencoder_cells_per_s": "cells/s", "cells_per_s": "cells/s", "seconds_autoencoder": "s", "seconds_flow": "s",
    "seconds_total": "s",
}  # fmt: skip


def is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value)) or str(value) in {"", "<NA>", "NaT"}


def number(value: Any) -> str:
    """A number as a reader wants it: four significant digits, thousands apart, `–` where there is none."""
    if is_missing(value):
        return MISSING
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        return str(value)
    x = float(value)
    if math.isinf(x):
        return "∞" if x > 0 else "−∞"
    if x == int(x) and abs(x) < 1e15:
        return f"{int(x):,}".replace("-", "−")
    size = abs(x)
    if size < 1e-3 or size >= 1e7:
        text = f"{x:.2e}"
    elif size < 1:
        text = f"{x:.4f}"
    elif size < 100:
        text = f"{x:.2f}"
    else:
        text = f"{x:,.0f}"
    return text.replace("-", "−") if text.startswith("-") else text


def setting(value: Any) -> str:
    """A setting as it was written: `0.1`, `5,000`, `None`; never padded with zeros."""
    if isinstance(value, bool) or not hasattr(value, "__float__") or is_missing(value):
        return MISSING if is_missing(value) else str(value)
    x = float(value)
    return f"{int(x):,}" if x == int(x) and abs(x) < 1e15 else f"{x:.4g}"


def score(value: Any, metric: str) -> str:
    """A metric with the digits its published table has: four, and two for distances; of a small error four that count."""
    if is_missing(value) or not math.isfinite(float(value)):
        return MISSING
    digits = 2 if metric in {"l2", "e_dist", "wasserstein", "wasserstein_exact"} else 4
    if metric in {"mse", "mae"} and 1e-7 < abs(float(value)) < 0.1:
        digits = min(3 - math.floor(math.log10(abs(float(value)))), 7)
    return f"{float(value):z.{digits}f}".replace("-", "−")


def signed(value: float, metric: str) -> str:
    """A difference with its sign."""
    text = score(abs(value), metric)
    return ("+" if value >= 0 or not text.strip("0.") else "−") + text


def duration(seconds: Any) -> str:
    """Seconds as `47 s`, `3 min 05 s` or `2 h 10 min`."""
    if is_missing(seconds) or not math.isfinite(float(seconds)):
        return MISSING
    total = float(seconds)
    if total < 60:
        return f"{total:.0f} s" if total >= 10 else f"{total:.1f} s"
    if total < 3600:
        return f"{total // 60:.0f} min {total % 60:02.0f} s"
    return f"{total // 3600:.0f} h {total % 3600 // 60:02.0f} min"


def with_unit(name: str) -> str:
    """A column's heading: `step_ms` stays as it is spelled, its unit beside it."""
    return f"{name} ({UNITS[name]})" if name in UNITS else name


def bare(column: str) -> str:
    """The metric behind `val_pearson_delta` or `test_pearson_delta`."""
    return column.removeprefix("val_").removeprefix("test_")


def arrow(column: str) -> str:
    """`↑` where more is better, `↓` where less is."""
    name = bare(column)
    return "↑" if HIGHER_IS_BETTER.get(name, name != "loss") else "↓"


def in_order(names: list[str], order: tuple[str, ...]) -> list[str]:
    """`names`, those of `order` first and in its order."""
    return [n for n in order if n in names] + sorted(n for n in names if n not in order)
