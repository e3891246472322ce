"""Figures of trials that were named beforehand: a score per point with its interval, its times and memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from scbig_dist.report.style import COLOURS, FAINT, INK, canvas
from scbig_dist.report.wording import MISSING, UNITS, arrow, with_unit


@dataclass(frozen=True)
class Mark:
    """A point's value and, where one is known, the ends of its interval."""

    label: str
    value: float | None
    low: float | None = None
    high: float | None = None


def dots(panels: Sequence[tuple[str, Sequence[Mark]]]) -> Figure:
    """A panel per metric, a dot and its interval per point; the first point's value is a thin line to compare with."""
    figure, axes = _rows([mark.label for mark in panels[0][1]], len(panels))
    for panel, (metric, marks) in zip(axes, panels, strict=True):
        for place, mark in enumerate(marks):
            if mark.value is None:
                panel.text(0.5, place, "–", ha="center", va="center", color=INK, transform=panel.get_yaxis_transform())
                continue
            if mark.low is not None and mark.high is not None:
                panel.plot([mark.low, mark.high], [place, place], color=COLOURS[0], lw=1.8, solid_capstyle="butt")
            panel.plot(mark.value, place, "o", color=COLOURS[0], ms=6, mec="white", mew=0.6, zorder=3)
        if marks[0].value is not None:
            panel.axvline(marks[0].value, color=FAINT, lw=0.9, ls=(0, (4, 3)), zorder=1)
        panel.set_xlabel(with_unit(metric) if metric in UNITS else f"{metric} {arrow(metric)}")
    return figure


def bars(panels: Sequence[tuple[str, Sequence[Mark]]]) -> Figure:
    """A panel per cost, a bar from zero per point with its number."""
    figure, axes = _rows([mark.label for mark in panels[0][1]], len(panels))
    for i, (panel, (cost, marks)) in enumerate(zip(axes, panels, strict=True)):
        most = max((mark.value or 0.0 for mark in marks), default=0.0)
        for place, mark in enumerate(marks):
            panel.barh(place, mark.value or 0.0, height=0.6, color=COLOURS[i % 2])
            panel.text(
                (mark.value or 0.0) + 0.02 * most,
                place,
                MISSING if mark.value is None else f"{mark.value:.3g}",
                va="center",
                color=INK,
                fontsize=8,
            )
        panel.set_xlim(0, 1.22 * most or 1.0)
        panel.set_xlabel(with_unit(cost))
    return figure


def _rows(labels: Sequence[str], n_panels: int) -> tuple[Figure, Sequence[Axes]]:
    """Panels side by side with a row per label from the top, named at the left."""
    widest = max(map(len, labels))
    figure, axes = canvas(2.5 * n_panels + 0.075 * widest + 0.4, 0.34 * len(labels) + 1.0, n_panels)
    for i, panel in enumerate(axes):
        panel.grid(axis="y", visible=False)
        panel.set_yticks(range(len(labels)), labels if i == 0 else [""] * len(labels))
        panel.set_ylim(len(labels) - 0.5, -0.5)
        panel.xaxis.set_major_locator(MaxNLocator(4))
    return figure, axes
