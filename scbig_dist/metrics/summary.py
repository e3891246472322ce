"""Names and directions of the metrics, their average over conditions, and how tables write them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

HIGHER_IS_BETTER: dict[str, bool] = {
    "pearson_delta": True,
    "pearson_delta_de": True,
    "acc": True,
    "acc_de": True,
    "des": True,
    "pds": True,
    "l2": False,
    "mse": False,
    "mae": False,
    "discr_cos": True,
    "e_dist": False,
    "wasserstein": False,
    "wasserstein_exact": False,
}
"""Every metric in the order of the tables."""
METRICS = tuple(HIGHER_IS_BETTER)
DISTRIBUTION_METRICS = ("e_dist", "wasserstein", "wasserstein_exact")
PROFILE_METRICS = tuple(name for name in METRICS if name not in DISTRIBUTION_METRICS)

SCALE = {"mse": (1e3, " ×10³")}  # in tables: else every value would print as 0.00


@dataclass(frozen=True)
class Summary:
    """Macro mean of one metric, and how many of the conditions had no value."""

    mean: float | None
    n: int
    n_undefined: int


def summarise(values: Array) -> Summary:
    """The mean over the conditions where the metric is defined; None where it is nowhere."""
    defined = values[~np.isnan(values)]
    return Summary(float(defined.mean()) if len(defined) else None, len(values), len(values) - len(defined))


def best(values: Mapping[str, float | None], metric: str, n_undefined: Mapping[str, int] | None = None) -> set[str]:
    """The methods of {method: value} whose value is the best of all defined ones.

    `n_undefined`: conditions that a method's mean leaves out. Who leaves out more than others do
    does not compete: its mean may be over the easy ones.
    """
    known = {method: value for method, value in values.items() if value is not None and not math.isnan(value)}
    left_out = {method: (n_undefined or {}).get(method, 0) for method in known}
    known = {method: value for method, value in known.items() if left_out[method] == min(left_out.values())}
    if not known:
        return set()
    goal = (max if HIGHER_IS_BETTER[metric] else min)(known.values())
    return {method for method, value in known.items() if value == goal}


def counted(text: str, n_undefined: int, n: int) -> str:
    """The text of a mean over n conditions, `(7 of 10)` behind it where some have no value; an undefined one as it is."""
    return f"{text} ({n - n_undefined} of {n})" if 0 < n_undefined < n else text


def header_of(metric: str) -> str:
    """The metric as tables head it: with its scale and the direction that is better."""
    return f"{metric}{SCALE.get(metric, (1, ''))[1]} {'↑' if HIGHER_IS_BETTER[metric] else '↓'}"


def number(value: float | None, metric: str) -> str:
    """A score as tables show it, '–' where it is undefined; what rounds to zero has no sign."""
    return "–" if value is None or math.isnan(value) else f"{value * SCALE.get(metric, (1, ''))[0]:z.3f}"


def under_halves(scores: Mapping[str, Mapping[str, float | None]], ceiling: str) -> bool:
    """Whether a method's Wasserstein distance is below the noise ceiling's: that says nothing of the method.

    The ceiling compares halves of the true cells, and these distances grow as cells get fewer.
    """
    names = ("wasserstein", "wasserstein_exact")
    limits = {name: value for name in names if (value := scores.get(ceiling, {}).get(name)) is not None}
    pairs = [(row.get(name), limit) for row in scores.values() for name, limit in limits.items()]
    return any(value is not None and value < limit for value, limit in pairs)
