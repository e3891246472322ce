"""Figures of a run: losses of both stages, scores by condition, the model against its strongest baseline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from scbig_dist.metrics.summary import best, counted
from scbig_dist.report.style import COLOURS, FAINT, INK, MARKERS, canvas, legend
from scbig_dist.report.wording import METHOD_ORDER, arrow, in_order

MOST_CURVES = 5
WIDE = 3  # highest by lowest loss, from which their axis is logarithmic


def loss_curves(log: list[dict[str, Any]]) -> Figure | None:
    """A panel per stage of the log (losses, log scale), and one for the validation score; None for an empty log."""
    panels = []
    for stage in dict.fromkeys(str(r["stage"]) for r in log if "stage" in r):
        records = [r for r in log if r.get("stage") == stage]
        names = [
            name for name in dict.fromkeys(key for r in records for key in r) if name.startswith(("loss", "val_loss"))
        ]
        curves = {name: points for name in names[:MOST_CURVES] if (points := _curve(records, name))}
        if curves:
            panels.append((f"{stage}: loss", curves, True))
        scores = {n: p for n in ("val_pearson_delta", "val_pearson_delta_de") if (p := _curve(records, n))}
        if scores:
            panels.append((f"{stage}: validation", scores, False))
    if not panels:
        return None
    figure, axes = canvas(3.4 * len(panels) + 0.3, 3.0, len(panels))
    for panel, (title, curves, is_loss) in zip(axes, panels, strict=True):
        _draw(panel, title, curves, is_loss)
    return figure


def _curve(records: list[dict[str, Any]], name: str) -> list[tuple[float, float]]:
    points = [(r.get("step"), r.get(name)) for r in records]
    return [(x, y) for x, y in points if isinstance(x, (int, float)) and isinstance(y, (int, float)) and np.isfinite(y)]


def _draw(panel: Axes, title: str, curves: dict[str, list[tuple[float, float]]], is_loss: bool) -> None:
    heights = [y for points in curves.values() for _, y in points]
    low, high = min(heights), max(heights)
    for i, (name, points) in enumerate(curves.items()):
        few = len(points) <= 30
        panel.plot(*zip(*points, strict=True), color=COLOURS[i], lw=1.4, marker=MARKERS[i] if few else None, ms=3.5, label=name)  # fmt: skip
    if is_loss and low > 0 and high > WIDE * low:  # within less, powers of ten and what lies between leave an axis bare
        panel.set_yscale("log")
        panel.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
        # Within a decade or so the powers of ten alone would leave the axis bare.
        panel.yaxis.set_minor_formatter(
            FuncFormatter(lambda y, _: f"{y:g}" if high < 30 * low and f"{y:e}"[0] in "2357" else "")
        )
    updates = sorted({x for points in curves.values() for x, _ in points})
    # One point would have ticks all around it, each as long as its own and none of an update that was looked at.
    panel.xaxis.set_major_locator(
        FixedLocator(updates) if len(updates) == 1 else MaxNLocator(4, integer=True, steps=[1, 2, 5, 10])
    )
    panel.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    panel.set_title(title, loc="left")
    panel.set_xlabel("update")
    panel.set_ylabel("loss" if is_loss else "score ↑")
    panel.margins(x=0.03, y=0.08)
    legend(panel, loc="best")


def condition_strip(conditions: pd.DataFrame, metric: str, model: str) -> Figure | None:
    """One row of points per method, a point per test condition, the mean as a bar; how many, where some have no value."""
    groups = _by_method(conditions, metric)
    if not groups:
        return None
    figure, (panel,) = canvas(6.2, 0.42 * len(groups) + 1.0)
    methods = in_order(list(groups), METHOD_ORDER)[::-1]
    for i, method in enumerate(methods):
        values = groups[method].to_numpy(float)
        # Spread by rank, not by chance: the figure is the same each time.
        spread = ((np.arange(len(values)) * 0.618) % 1 - 0.5) * 0.5
        colour = COLOURS[1] if method == model else COLOURS[0] if method != "noise ceiling" else COLOURS[6]
        panel.plot(values, i + spread, "o", color=colour, ms=4, alpha=0.55, mew=0)
        panel.plot([values.mean()] * 2, [i - 0.36, i + 0.36], color=colour, lw=2.4, solid_capstyle="butt")
    n = conditions.loc[conditions["part"] == "test", "condition"].nunique() if "part" in conditions else 0
    panel.set_yticks(range(len(methods)), [counted(m, max(n - len(groups[m]), 0), n) for m in methods])
    panel.grid(axis="y", visible=False)
    panel.set_xlabel(f"{metric} {arrow(metric)} (a point per condition; bar: mean)")
    panel.set_ylim(-0.6, len(methods) - 0.4)
    return figure


def condition_scatter(conditions: pd.DataFrame, metric: str, model: str, other: str) -> Figure | None:
    """The model against another method, a point per condition, the line of equality."""
    groups = _by_method(conditions, metric)
    if model not in groups or other not in groups:
        return None
    pairs = pd.concat([groups[other], groups[model]], axis=1, join="inner", keys=["x", "y"])
    if pairs.empty:
        return None
    figure, (panel,) = canvas(4.0, 3.9)
    low, high = float(pairs.min().min()), float(pairs.max().max())
    pad = 0.06 * (high - low or 1.0)
    panel.plot([low - pad, high + pad], [low - pad, high + pad], color=FAINT, lw=1, ls="--")
    panel.plot(pairs["x"], pairs["y"], "o", color=COLOURS[0], ms=5, alpha=0.75, mec="white", mew=0.5)
    one_context = pairs.index.astype(str).str.split("/").str[0].nunique() == 1
    gap = (pairs["y"] - pairs["x"]).abs()
    named: list[float] = []
    for name in gap.sort_values(ascending=False).index[:3]:
        if any(abs(pairs.loc[name, "y"] - height) < 0.05 * (high - low) for height in named):
            continue  # two names on one line could not be read
        named.append(float(pairs.loc[name, "y"]))
        right = pairs.loc[name, "x"] > (low + high) / 2
        # A ring says which of several near points has the name.
        panel.plot(pairs.loc[name, "x"], pairs.loc[name, "y"], "o", ms=6.5, mfc="none", mec=INK, mew=0.9)
        panel.annotate(
            str(name).split("/")[-1] if one_context else str(name), (pairs.loc[name, "x"], pairs.loc[name, "y"]), xytext=(-5 if right else 5, 4),
            textcoords="offset points", fontsize=7, color=INK, ha="right" if right else "left",
        )  # fmt: skip
    panel.set_xlim(low - pad, high + pad)
    panel.set_ylim(low - pad, high + pad)
    panel.set_aspect("equal")
    panel.set_xlabel(f"{other}: {metric}")
    panel.set_ylabel(f"{model}: {metric}")
    return figure


def strongest_baseline(
    scores: dict[str, dict[str, float | None]],
    metric: str,
    model: str,
    undefined: Mapping[str, Mapping[str, int]] | None = None,
) -> str | None:
    """The method beside the model with the best score; the noise ceiling is no method, and means of a part compete with none."""
    values = {m: s.get(metric) for m, s in scores.items() if m not in {model, "noise ceiling"}}
    missing = {m: counts.get(metric, 0) for m, counts in (undefined or {}).items()}
    return min(best(values, metric, missing), default=None)


def _by_method(conditions: pd.DataFrame, metric: str) -> dict[str, pd.Series]:
    if conditions.empty or not {"method", "condition", metric} <= set(conditions.columns):
        return {}
    frame = conditions[conditions["part"] == "test"] if "part" in conditions else conditions
    frame = frame if not frame.empty else conditions
    groups = {str(m): g.set_index("condition")[metric].dropna() for m, g in frame.groupby("method")}
    return {m: g[~g.index.duplicated()] for m, g in groups.items() if len(g)}
