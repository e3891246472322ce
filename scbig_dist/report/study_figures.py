"""Figures of a study: a line for one axis, a heat map for two, parallel lines for more."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from scbig_dist.report.reading import RunFiles
from scbig_dist.report.style import COLOUR_MAP, COLOURS, FAINT, INK, MARKERS, PATCH, canvas, legend
from scbig_dist.report.wording import UNITS, arrow, setting, with_unit

MANY = 8  # settings of an axis that have a tick each


def axis_line(trials: pd.DataFrame, axis: str, columns: list[str]) -> Figure:
    """One panel per column of `columns` against the axis; trials that share a listed setting are averaged."""
    figure, panels = canvas(3.6 * len(columns) + 0.4, 3.1, len(columns))
    numeric, log = _scale(trials[axis])
    # Settings that a search has drawn: no tick has room for them, and a line through all of them says nothing.
    drawn = numeric and (trials[axis].nunique() > MANY or any(len(setting(v)) > 7 for v in _levels(trials[axis])))
    for panel, column, colour in zip(panels, columns, COLOURS, strict=False):
        frame = trials[[axis, column]].dropna(subset=[column])
        levels = _levels(frame[axis])
        place = {level: (float(level) if numeric else i) for i, level in enumerate(levels)}
        x = [place[value] for value in frame[axis]]
        if not drawn:
            mean = frame.groupby(axis)[column].mean()
            panel.plot([place[v] for v in levels], [mean[v] for v in levels], color=colour, lw=1.5)
        panel.plot(x, frame[column], "o", color=colour, ms=5, mec="white", mew=0.6)
        if log:
            panel.set_xscale("log")
        if not drawn:
            panel.set_xticks([place[v] for v in levels], [setting(v) for v in levels], minor=False)
            panel.minorticks_off()
        elif not log:
            panel.xaxis.set_major_locator(MaxNLocator(5))
        panel.set_xlabel(axis)
        panel.set_ylabel(_label(column))
        panel.margins(x=0.08, y=0.12)
    return figure


def heat_map(trials: pd.DataFrame, axes: tuple[str, str], column: str, best: str | None) -> Figure:
    """`column` over two axes, a cell per pair of settings (mean where trials share one); the best trial is framed."""
    rows, columns = _levels(trials[axes[0]]), _levels(trials[axes[1]])
    grid = np.full((len(rows), len(columns)), np.nan)
    for pair, group in trials.groupby(list(axes)):
        grid[rows.index(pair[0]), columns.index(pair[1])] = group[column].mean()
    figure, (panel,) = canvas(max(3.6, 0.95 * len(columns) + 2.2), max(2.4, 0.6 * len(rows) + 1.3))
    panel.grid(False)
    low, high = np.nanmin(grid), np.nanmax(grid)
    norm = Normalize(low, high if high > low else low + 1e-9)
    image = panel.imshow(np.ma.masked_invalid(grid), cmap=COLOUR_MAP, norm=norm, aspect="auto", origin="lower")
    for r, c in np.ndindex(*grid.shape):
        if np.isnan(grid[r, c]):
            panel.text(c, r, "–", ha="center", va="center", color=INK)
        else:
            dark = norm(grid[r, c]) < 0.55
            panel.text(
                c, r, f"{grid[r, c]:.3f}", ha="center", va="center", color="white" if dark else "black", fontsize=8
            )
    if best is not None:
        row = trials.loc[trials["trial"] == best].iloc[0]
        r, c = rows.index(row[axes[0]]), columns.index(row[axes[1]])
        panel.add_patch(Rectangle((c - 0.47, r - 0.46), 0.94, 0.92, fill=False, ec=COLOURS[1], lw=2.5))
    panel.set_xticks(range(len(columns)), [setting(v) for v in columns])
    panel.set_yticks(range(len(rows)), [setting(v) for v in rows])
    panel.set_xlabel(axes[1])
    panel.set_ylabel(axes[0])
    _colour_bar(figure, image, panel, column)
    return figure


def plane(trials: pd.DataFrame, axes: tuple[str, str], column: str, best: str | None) -> Figure:
    """Two searched axes: a point per trial, coloured by `column`; the best is ringed."""
    figure, (panel,) = canvas(5.0, 3.7)
    points = panel.scatter(
        trials[axes[0]], trials[axes[1]], c=trials[column], cmap=COLOUR_MAP, s=55, ec=INK, lw=0.5, zorder=3
    )
    chosen = trials[trials["trial"] == best]
    panel.plot(chosen[axes[0]], chosen[axes[1]], "o", ms=13, mfc="none", mec=COLOURS[1], mew=2.2, zorder=4)
    for axis, set_scale in zip(axes, (panel.set_xscale, panel.set_yscale), strict=True):
        if _scale(trials[axis])[1]:
            set_scale("log")
    panel.set_xlabel(axes[0])
    panel.set_ylabel(axes[1])
    panel.margins(0.08)
    _colour_bar(figure, points, panel, column)
    return figure


def parallel_lines(trials: pd.DataFrame, axes: list[str], column: str, best: str | None) -> Figure:
    """A line per trial through its setting on every axis, coloured by `column`."""
    figure, (panel,) = canvas(max(5.0, 1.7 * (len(axes) + 1)), 3.6)
    panel.grid(False)
    values = trials[column].to_numpy(float)
    norm = Normalize(np.nanmin(values), np.nanmax(values) if np.nanmax(values) > np.nanmin(values) else None)
    # Both ends of the map would vanish on a page that is as dark or as light.
    colours = LinearSegmentedColormap.from_list("lines", colormaps[COLOUR_MAP](np.linspace(0.22, 0.92, 64)))
    places = np.column_stack([*[_positions(trials[axis]) for axis in axes], norm(values)])
    order = np.argsort(values)
    for i in order if arrow(column) == "↑" else order[::-1]:
        is_best = trials["trial"].iloc[i] == best
        has = np.flatnonzero(np.isfinite(places[i]))  # an axis that this trial did not have is passed by
        panel.plot(
            has, places[i, has], color=COLOURS[1] if is_best else colours(norm(values[i])),
            lw=2.6 if is_best else 1.3, alpha=0.95, zorder=3 if is_best else 2, marker="o", ms=3.5,
        )  # fmt: skip
    for i, axis in enumerate(axes):
        panel.axvline(i, color=FAINT, lw=0.8, zorder=1)
        levels = _levels(trials[axis])
        shown = levels if len(levels) <= 6 else [levels[0], levels[len(levels) // 2], levels[-1]]
        at = dict(zip(trials[axis], places[:, i], strict=True))
        for level in shown:
            panel.annotate(
                setting(level), (i, at[level]), xytext=(-6, 0), textcoords="offset points", ha="right", va="center",
                fontsize=7.5, color="black", zorder=5, bbox={"boxstyle": "round,pad=0.2", "fc": PATCH, "ec": "none"},
            )  # fmt: skip
    panel.axvline(len(axes), color=FAINT, lw=0.8, zorder=1)
    panel.set_xticks(range(len(axes) + 1), [*axes, _label(column)], rotation=18, ha="right", rotation_mode="anchor")
    panel.set_yticks([])
    panel.spines["left"].set_visible(False)
    panel.set_xlim(-0.45, len(axes) + 0.1)
    _colour_bar(figure, ScalarMappable(norm, colours), panel, column)
    return figure


def cost(trials: pd.DataFrame, column: str, costs: list[str], best: str | None) -> Figure:
    """The score against what a trial cost: step time, memory, whatever was recorded."""
    figure, panels = canvas(3.6 * len(costs) + 0.4, 3.1, len(costs))
    for panel, name in zip(panels, costs, strict=True):
        panel.plot(trials[name], trials[column], "o", color=COLOURS[0], ms=6, mec="white", mew=0.6)
        chosen = trials[trials["trial"] == best]
        panel.plot(chosen[name], chosen[column], "*", color=COLOURS[1], ms=13, mec="white", mew=0.6, label="best trial")
        panel.xaxis.set_major_locator(MaxNLocator(5))
        panel.set_xlabel(with_unit(name))
        panel.set_ylabel(_label(column))
        panel.margins(0.12)
        if not chosen.empty:
            legend(panel, loc="best")
    return figure


def learning_curves(runs: dict[str, RunFiles], metric: str, best: str | None) -> Figure | None:
    """`metric` in the flow, or the one stage of a trained baseline, a line per trial; None where no trial logged it."""
    curves = {}
    for trial, run in runs.items():
        points = [
            (r.get("micro_step", r.get("step")), r.get(metric)) for r in run.log if r.get("stage") in ("flow", "cells")
        ]
        points = [(x, y) for x, y in points if isinstance(x, (int, float)) and isinstance(y, (int, float))]
        if points:
            curves[trial] = points
    if not curves:
        return None
    figure, (panel,) = canvas(5.6, 3.2)
    others = [colour for colour in COLOURS if colour != COLOURS[1]]
    many = len(curves) > len(others)
    labels = {} if many else {trial: trial for trial in curves}
    if many:
        labels[next(t for t in curves if t != best)] = "other trials"
    if best in curves:
        labels[str(best)] = f"{best} (best)"
    for i, (trial, points) in enumerate(curves.items()):
        is_best = trial == best
        colour = COLOURS[1] if is_best else FAINT if many else others[i % len(others)]
        panel.plot(
            *zip(*points, strict=True), color=colour, lw=2.4 if is_best else 1.2, marker="o" if many else MARKERS[i % len(MARKERS)],
            ms=3 if many and not is_best else 4, zorder=3 if is_best else 2, label=labels.get(trial),
        )  # fmt: skip
    panel.set_xlabel("micro-step of the flow, or of a baseline's training")
    panel.set_ylabel(_label(metric))
    panel.margins(x=0.04, y=0.1)
    legend(panel, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _colour_bar(figure: Figure, mappable: ScalarMappable, panel: Axes, column: str) -> None:
    bar = figure.colorbar(mappable, ax=panel, pad=0.03)
    bar.set_label(_label(column), color=INK, fontsize=9)
    bar.ax.tick_params(color=INK, labelcolor=INK, labelsize=8)
    bar.outline.set_visible(False)  # type: ignore[operator]


def _label(column: str) -> str:
    return with_unit(column) if column in UNITS else f"{column} {arrow(column)}"


def _levels(values: pd.Series) -> list:
    """The distinct settings of an axis, in order."""
    distinct = [v for v in pd.unique(values) if not pd.isna(v)]
    return sorted(distinct, key=lambda v: (isinstance(v, str), v))


def _scale(values: pd.Series) -> tuple[bool, bool]:
    """(numeric, logarithmic): a log scale where positive settings span a decade or double step by step."""
    if not pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
        return False, False
    positive = values.dropna()
    return True, bool((positive > 0).all() and positive.max() / positive.min() >= 4) if len(positive) else False


def _positions(values: pd.Series) -> np.ndarray:
    """Settings as heights in [0, 1]: on a log or linear scale, or by rank for words; NaN where there is none."""
    numeric, log = _scale(values)
    if numeric:
        x = values.to_numpy(float)
        x = np.log(x) if log else x
    else:
        levels = _levels(values)
        x = np.array([levels.index(v) if v in levels else np.nan for v in values], float)
    span = np.nanmax(x) - np.nanmin(x)
    return (x - np.nanmin(x)) / (span or 1.0) + (0.0 if span else 0.5)
