"""Which of several options no other beats: the front of two or more objectives."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def pareto_front(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """bool (option,) of values (option, objective), high being good in each.

    True where no option is as good in every objective and better in one; equal options are on the front together.
    """
    if not len(values):
        return np.zeros(0, bool)
    as_good = (values[:, None] >= values[None]).all(-1)  # [i, j]: i is nowhere worse than j
    better = (values[:, None] > values[None]).any(-1)
    return np.asarray(~(as_good & better).any(0))
