"""Figures of what things cost: times as multiples of one of them, beside the paper's; workers beside the ideal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator

from scbig_dist.report.published import Row
from scbig_dist.report.scaling import Curve
from scbig_dist.report.style import COLOURS, FAINT, INK, MARKERS, canvas, legend


def ratio_bars(rows: Sequence[Row], reference: str) -> Figure:
    """A pair of bars per row of a table of times: ours and the paper's, each × its own reference row."""
    figure, (panel,) = canvas(5.4, 0.5 * len(rows) + 1.3)
    panel.grid(axis="y", visible=False)
    for place, row in enumerate(rows):
        for shift, value, colour, hatch in (
            (-0.19, row.ours_ratio, COLOURS[0], ""), (0.19, row.published_ratio, COLOURS[4], "////"),
        ):  # fmt: skip
            if value is not None:
                panel.barh(
                    place + shift, value, height=0.34, color=colour, hatch=hatch, ec="white", lw=0,
                    label={"": "ours", "////": "published"}[hatch] if place == 0 else None,
                )  # fmt: skip
                panel.text(value + 0.01, place + shift, f" {value:.2f}", va="center", color=INK, fontsize=8)
    panel.axvline(1.0, color=FAINT, lw=0.9, zorder=1)
    panel.set_yticks(range(len(rows)), [row.name for row in rows])
    panel.set_ylim(len(rows) - 0.5, -0.5)
    panel.margins(x=0.12)
    panel.set_xlabel(f"{rows[0].metric}, × that of '{reference}'")
    legend(panel, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def ratio_curve(rows: Sequence[Row], axis: str, reference: str) -> Figure:
    """Times against K on log scales: ours at our counts, the paper's at its own."""
    figure, (panel,) = canvas(5.4, 3.4)
    ours = [(row.n_modules[0], row.ours_ratio) for row in rows if row.n_modules and row.ours_ratio]
    theirs = [(row.n_modules[1], row.published_ratio) for row in rows if row.n_modules and row.published_ratio]
    for points, label, colour, style, face in (
        (theirs, "published", COLOURS[4], (0, (5, 2)), "white"), (ours, "ours", COLOURS[0], "-", COLOURS[0]),
    ):  # fmt: skip
        if points:
            marker = MARKERS[0] if label == "ours" else MARKERS[1]
            panel.plot(
                *zip(*points, strict=True), color=colour, ls=style, marker=marker, mfc=face, ms=6, lw=1.8, label=label
            )
    panel.set_xscale("log", base=2)
    panel.set_yscale("log", base=2)
    ticks = sorted({x for x, _ in (ours or theirs)})
    panel.set_xticks(ticks, [f"{x:,.0f}" for x in ticks])
    low, high = (f([y for _, y in ours + theirs]) for f in (min, max))
    levels = [2.0**k for k in range(-6, 12) if low / 1.5 <= 2.0**k <= high * 1.5]
    panel.set_yticks(levels, [f"{y:g}" for y in levels])
    for side in (panel.xaxis, panel.yaxis):
        side.set_minor_locator(NullLocator())
        side.set_minor_formatter(NullFormatter())
    panel.set_xlabel(axis)
    panel.set_ylabel(f"{rows[0].metric}, × that of '{reference}'")
    legend(panel, loc="upper left")
    return figure


def worker_curves(curves: Sequence[Curve]) -> Figure:
    """Speed-up and efficiency against workers, a line per kind of scaling and stage, beside the ideal."""
    figure, (speed, efficiency) = canvas(8.4, 3.4, 2)
    workers = sorted({n for curve in curves for n in curve.workers})
    speed.plot(workers, workers, color=FAINT, ls=(0, (4, 3)), lw=1.4, label="ideal")
    efficiency.plot(workers, [1.0] * len(workers), color=FAINT, ls=(0, (4, 3)), lw=1.4, label="ideal")
    for i, curve in enumerate(curves):
        look: dict[str, Any] = {
            "color": COLOURS[i % len(COLOURS)],
            "marker": MARKERS[i % len(MARKERS)],
            "lw": 1.6,
            "ms": 5.5,
        }
        speed.plot(curve.workers, curve.speed_up, **look)
        efficiency.plot(curve.workers, curve.efficiency, label=f"{curve.kind}, {curve.stage}", **look)
    for panel in (speed, efficiency):
        panel.set_xscale("log", base=2)
        panel.set_xticks(workers, [str(n) for n in workers])
        panel.minorticks_off()
        panel.set_xlabel("train.workers")
    speed.set_yscale("log", base=2)
    speed.set_yticks(workers, [f"{n:g}" for n in workers])
    speed.minorticks_off()
    speed.set_ylabel("cells per second, × one worker")
    efficiency.set_ylim(0, 1.15)
    efficiency.set_ylabel("efficiency: share of the ideal")
    legend(efficiency, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
