"""A comparison drawn: the difference of every method to the reference, condition by condition."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scbig_dist.metrics.summary import HIGHER_IS_BETTER, SCALE
from scbig_dist.report.compare import Comparison, Line
from scbig_dist.report.style import COLOURS, FAINT, INK, canvas

BETTER, WORSE, OPEN = COLOURS[2], COLOURS[1], COLOURS[6]


def forest(comparison: Comparison, part: str = "") -> Figure | None:
    """A panel per metric, a row per method: each condition's difference to the reference, the mean and its interval.

    Green: better, the interval excludes 0; orange: worse; grey: neither. None where nothing is compared.
    """
    metrics = [metric for metric in comparison.references if any(line.against for line in comparison.of(metric))]
    if not metrics:
        return None
    most = max(len(comparison.of(metric)) - 1 for metric in metrics)
    longest = max(len(line.name) for line in comparison.lines)
    one = len({comparison.references[metric] for metric in metrics}) == 1  # then all panels have the same rows
    names = 0.07 * longest * (1 if one else len(metrics))
    figure, panels = canvas(2.3 * len(metrics) + names + 0.3, 0.55 * most + (1.5 if one else 1.3), len(metrics))
    for panel, metric in zip(panels, metrics, strict=True):
        _draw(panel, comparison, metric)
        better = f"{'right' if HIGHER_IS_BETTER[metric] else 'left'} is better"
        panel.set_xlabel(better if one else f"minus {comparison.references[metric]} ({better})")
        if one and panel is not panels[0]:
            panel.tick_params(labelleft=False)
    if one:
        reference = comparison.references[metrics[0]]
        about = f"{part + ': ' if part else ''}minus {reference}, a point per condition; mean with 95 % interval: "
        figure.suptitle(f"{about}green better, orange worse, grey open", fontsize=9, color=INK)
    return figure


def _draw(panel: Axes, comparison: Comparison, metric: str) -> None:
    lines = [line for line in comparison.of(metric) if line.against is not None][::-1]
    scale, unit = SCALE.get(metric, (1.0, ""))
    panel.axvline(0, color=INK, lw=1)
    for height, line in enumerate(lines):
        assert line.against is not None
        colour, pairs = _colour(line), line.against.pairs[~np.isnan(line.against.pairs)] * scale
        # Spread by rank, not by chance: the figure is the same each time.
        spread = ((np.arange(len(pairs)) * 0.618) % 1 - 0.5) * 0.5
        panel.plot(pairs, height + spread, "o", color=FAINT, ms=3, alpha=0.6, mew=0)
        found = line.against.difference
        panel.plot([found.low * scale, found.high * scale], [height, height], color=colour, lw=3, solid_capstyle="butt")
        panel.plot(found.mean * scale, height, "D", color=colour, ms=4.5, mec="white", mew=0.8)
    panel.set_yticks(range(len(lines)), [line.name for line in lines])
    panel.set_ylim(-0.6, len(lines) - 0.4)
    panel.grid(axis="y", visible=False)
    panel.set_title(f"{metric}{unit}", loc="left")
    panel.locator_params(axis="x", nbins=5)


def _colour(line: Line) -> str:
    assert line.against is not None
    low, high = line.against.difference.low, line.against.difference.high
    if not (low > 0 or high < 0):
        return OPEN
    return BETTER if (low > 0) == HIGHER_IS_BETTER[line.metric] else WORSE
