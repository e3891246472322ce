"""A comparison drawn: the difference of every method to the reference, condition by condition."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scbig_dist.metrics.summary import HIGHER_IS_BETTER
from scbig_dist.report.compare import Comparison, Line
from scbig_dist.report.style import COLOURS, FAINT, INK, canvas

BETTER, WORSE, OPEN = COLOURS[2], COLOURS[1], COLOURS[6]


def forest(comparison: Comparison) -> Figure | None:
    """A panel per metric, a row per method: each condition's difference to the reference, the mean and its interval.

    Green: better, the interval excludes 0; orange: worse; grey: neither. None where nothing is compared.
    """
    metrics = [metric for metric in comparison.references if any(line.against for line in comparison.of(metric))]
    if not metrics:
        return None
    most = max(len(comparison.of(metric)) - 1 for metric in metrics)
    longest = max(len(line.name) for line in comparison.lines)
    figure, panels = canvas((2.6 + 0.07 * longest) * len(metrics) + 0.3, 0.55 * most + 1.35, len(metrics))
    for panel, metric in zip(panels, metrics, strict=True):
        _draw(panel, comparison, metric)
    return figure


def _draw(panel: Axes, comparison: Comparison, metric: str) -> None:
    lines = [line for line in comparison.of(metric) if line.against is not None][::-1]
    panel.axvline(0, color=INK, lw=1)
    for height, line in enumerate(lines):
        assert line.against is not None
        colour, pairs = _colour(line), line.against.pairs[~np.isnan(line.against.pairs)]
        # Spread by rank, not by chance: the figure is the same each time.
        spread = ((np.arange(len(pairs)) * 0.618) % 1 - 0.5) * 0.5
        panel.plot(pairs, height + spread, "o", color=FAINT, ms=3, alpha=0.6, mew=0)
        found = line.against.difference
        panel.plot([found.low, found.high], [height, height], color=colour, lw=2.6, solid_capstyle="butt")
        panel.plot(found.mean, height, "D", color=colour, ms=6, mec="white", mew=0.8)
    panel.set_yticks(range(len(lines)), [line.name for line in lines])
    panel.set_ylim(-0.6, len(lines) - 0.4)
    panel.grid(axis="y", visible=False)
    better = "right" if HIGHER_IS_BETTER[metric] else "left"
    panel.set_title(metric, loc="left")
    panel.set_xlabel(f"minus {comparison.references[metric]} ({better} is better)")
    panel.locator_params(axis="x", nbins=5)


def _colour(line: Line) -> str:
    assert line.against is not None
    low, high = line.against.difference.low, line.against.difference.high
    if not (low > 0 or high < 0):
        return OPEN
    return BETTER if (low > 0) == HIGHER_IS_BETTER[line.metric] else WORSE
