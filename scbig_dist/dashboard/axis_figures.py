"""Figures of what settings do: parallel coordinates, one axis, two axes, two objectives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from scbig_dist.dashboard.blocks import Figure
from scbig_dist.dashboard.figures import (
    BEST,
    FAINT,
    MAIN,
    SCALE,
    figure,
    is_log,
    label,
    levels,
    setting_text,
    values_axis,
)
from scbig_dist.dashboard.study import Snapshot
from scbig_dist.dashboard.study_figures import escape, settings_line
from scbig_dist.dashboard.trial import Trial
from scbig_dist.report.wording import arrow

MOST_LEVELS = 16  # of an axis, for a mean per setting
# Cividis without its ends, which would vanish on a page that is as dark or as light.
SHADES = ("#31446b", "#4f576c", "#666970", "#7d7c78", "#958f78", "#b0a473", "#ccbb68", "#e6cf59")
COSTS_DOWN = (
    "seconds_total",
    "step_ms",
    "autoencoder_step_ms",
    "peak_mem_gb",
    "peak_gpu_gb",
    "n_parameters",
    "stage1_ms",
    "stage2_ms",
    "stage1_gb",
    "stage2_gb",
)


def value_of(trial: Trial, name: str) -> float | None:
    """A score or a cost."""
    return trial.scores.get(name, trial.costs.get(name))


def is_better_low(name: str) -> bool:
    return name in COSTS_DOWN or arrow(name) == "↓"


def parallel(study: Snapshot, trials: Sequence[Trial], metric: str) -> Figure | None:
    """A line per trial through its settings to its score, coloured by score: plain lines, which need no WebGL."""
    shown = [t for t in trials if value_of(t, metric) is not None]
    varied = [a for a in study.axes if len({setting_text(t.values.get(a)) for t in shown}) > 1]
    if len(shown) < 2 or not varied:
        return None
    scores = [value_of(t, metric) or 0.0 for t in shown]
    places, ticks = zip(*(_heights([t.values.get(a) for t in shown]) for a in varied), strict=True)
    low, span = min(scores), (max(scores) - min(scores)) or 1.0
    good = [1 - (y - low) / span if is_better_low(metric) else (y - low) / span for y in scores]
    lines = [[*(heights[i] for heights in places), (scores[i] - low) / span] for i in range(len(shown))]
    shade = [min(int(g * len(SHADES)), len(SHADES) - 1) for g in good]
    traces: list[dict[str, Any]] = []
    for number, colour in enumerate(SHADES):
        members = [i for i in range(len(shown)) if shade[i] == number]
        if members:
            traces.append(
                _lines(
                    [lines[i] for i in members],
                    [shown[i] for i in members],
                    colour,
                    study,
                    1.2 if len(shown) > 100 else 1.8,
                )
            )
    if study.best in shown:
        i = shown.index(study.best)  # type: ignore[arg-type]
        traces.append(
            _lines([lines[i]], [shown[i]], BEST, study, 3.0) | {"name": f"best, {shown[i].id}", "showlegend": True}
        )
    notes = [
        {
            "x": x,
            "y": y,
            "text": escape(text),
            "showarrow": False,
            "xanchor": "right",
            "xshift": -6,
            "font": {"size": 11},
        }
        for x, marks in enumerate(ticks)
        for y, text in marks
    ]
    notes += [
        {
            "x": len(varied),
            "y": y,
            "text": f"{low + y * span:.4g}",
            "showarrow": False,
            "xanchor": "left",
            "xshift": 8,
            "font": {"size": 11},
        }
        for y in (0.0, 0.5, 1.0)
    ]
    rods = [
        {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "line": {"color": FAINT, "width": 1}, "layer": "below"}
        for x in range(len(varied) + 1)
    ]
    names = {
        "tickvals": list(range(len(varied) + 1)),
        "ticktext": [*varied, label(metric)],
        "range": [-0.3, len(varied) + 0.25],
        "side": "top",
    }
    x_axis = names | {"showgrid": False, "showline": False, "ticks": "", "tickfont": {"size": 12}}
    y_axis = {"visible": False, "range": [-0.06, 1.06]}
    return figure(
        traces,
        x_axis,
        y_axis,
        annotations=notes,
        shapes=rods,
        margin={"l": 24, "r": 40, "t": 64, "b": 12},
        legend={"orientation": "h", "y": -0.02},
    )


def _lines(
    lines: Sequence[Sequence[float]], trials: Sequence[Trial], colour: str, study: Snapshot, width: float
) -> dict[str, Any]:
    """Many lines as one trace, a gap between each and the next."""
    xs, ys, texts, ids = list[Any](), list[Any](), list[Any](), list[Any]()
    for line, trial in zip(lines, trials, strict=True):
        text = f"trial {escape(trial.title)}<br>{settings_line(study, trial)}"
        xs += [*range(len(line)), None]
        ys += [*line, None]
        texts += [text] * len(line) + [None]
        ids += [trial.id] * len(line) + [None]
    return {
        "type": "scatter", "mode": "lines+markers", "x": xs, "y": ys, "text": texts, "customdata": ids, "showlegend": False,
        "line": {"color": colour, "width": width}, "marker": {"size": 4, "color": colour}, "hovertemplate": "%{text}<extra></extra>",
        "connectgaps": False, "cliponaxis": False,
    }  # fmt: skip


def _heights(values: Sequence[Any]) -> tuple[list[float], list[tuple[float, str]]]:
    """Settings as heights in [0, 1], and the marks of their axis: a log or linear scale for numbers, steps for words."""
    numeric = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    distinct = levels(values)
    if len(numeric) == len(values) and len(distinct) > 1:
        log = is_log(numeric)
        of = math.log10 if log else float
        low, high = of(min(numeric)), of(max(numeric))
        ends = (
            distinct
            if len(distinct) <= 8
            else _decades(min(numeric), max(numeric))
            if log
            else [min(numeric), (min(numeric) + max(numeric)) / 2, max(numeric)]
        )
        return [(of(v) - low) / (high - low) for v in numeric], [
            ((of(v) - low) / (high - low), setting_text(v)) for v in ends
        ]
    order = [setting_text(v) for v in distinct]
    step = max(len(order) - 1, 1)
    return [order.index(setting_text(v)) / step for v in values], [(i / step, text) for i, text in enumerate(order)]


def _decades(low: float, high: float) -> list[float]:
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    inner = [10.0**e for e in range(first, last + 1)]
    return [low, *(v for v in inner if v > 1.5 * low and v < high / 1.5), high]


def one_axis(study: Snapshot, trials: Sequence[Trial], axis: str, metric: str) -> tuple[Figure | None, str]:
    """Every trial at its setting; where a setting was tried more than once, its mean and 95% interval."""
    shown = [t for t in trials if axis in t.values and value_of(t, metric) is not None]
    if not shown:
        return None, "A point per finished trial at its setting."
    x_axis, xs = values_axis(axis, [t.values[axis] for t in shown])
    ys = [value_of(t, metric) or 0.0 for t in shown]
    best = study.best
    traces: list[dict[str, Any]] = [{
        "type": "scatter", "mode": "markers", "name": "trial", "x": xs, "y": ys, "customdata": [t.id for t in shown],
        "marker": {"color": MAIN, "size": 8, "opacity": 0.6},
        "text": [f"trial {escape(t.title)}<br>{settings_line(study, t)}" for t in shown],
        "hovertemplate": "%{text}<br>" + metric + " = %{y:.4g}<extra></extra>",
    }]  # fmt: skip
    by_level: dict[str, list[tuple[Any, float]]] = {}
    for x, y in zip(xs, ys, strict=True):
        by_level.setdefault(setting_text(x), []).append((x, y))
    repeated = [(members[0][0], [y for _, y in members]) for members in by_level.values() if len(members) > 1]
    said = f"{len(shown)} finished trials with the same budget."
    if repeated and len(by_level) <= MOST_LEVELS:
        repeated.sort(key=lambda item: (isinstance(item[0], str), item[0]))
        means = [sum(y) / len(y) for _, y in repeated]
        traces.append({
            "type": "scatter", "mode": "lines+markers", "name": "mean, 95% interval", "x": [x for x, _ in repeated], "y": means,
            "error_y": {"type": "data", "array": [half_interval(y) for _, y in repeated], "color": FAINT, "thickness": 1.5, "width": 5},
            "line": {"color": FAINT, "width": 1.5}, "marker": {"color": FAINT, "size": 9, "symbol": "line-ew-open"}, "hoverinfo": "skip",
        })  # fmt: skip
        said += f" Interval: Student's t over the trials at a setting, which differ in {_differs(study, shown, axis)}."
    if best is not None and best in shown:
        at = shown.index(best)
        traces.append({"type": "scatter", "mode": "markers", "name": f"best, {best.id}", "x": [xs[at]], "y": [ys[at]],
                       "marker": {"color": BEST, "size": 13, "symbol": "circle-open", "line": {"width": 2.5}}, "hoverinfo": "skip"})  # fmt: skip
    return figure(traces, x_axis, label(metric)), said


def _differs(study: Snapshot, trials: Sequence[Trial], axis: str) -> str:
    others = [a for a in study.axes if a != axis and len({setting_text(t.values.get(a)) for t in trials}) > 1]
    seeds = [a for a in others if a.endswith(".seed")]
    return "seed alone" if not others or others == seeds else ", ".join(others)


def half_interval(values: Sequence[float]) -> float:
    """Half of the 95% interval of a mean; Student's t."""
    from scipy.stats import t

    n = len(values)
    mean = sum(values) / n
    sd = math.sqrt(sum((v - mean) ** 2 for v in values) / (n - 1))
    return float(t.ppf(0.975, n - 1)) * sd / math.sqrt(n)


def heat_map(study: Snapshot, trials: Sequence[Trial], x: str, y: str, metric: str) -> tuple[Figure | None, str]:
    """The mean score of every pair of settings, with how many trials it is of."""
    shown = [t for t in trials if x in t.values and y in t.values and value_of(t, metric) is not None]
    columns, rows = levels([t.values[x] for t in shown]), levels([t.values[y] for t in shown])
    if len(shown) < 2 or len(columns) < 2 or len(rows) < 2:
        return None, "The mean score for every pair of settings, once trials differ in both axes."
    if len(columns) * len(rows) > 4 * len(shown) + 16:
        return _plane(study, shown, x, y, metric), "Free search: a point per trial, coloured by score."
    cells: dict[tuple[int, int], list[float]] = {}
    names_x, names_y = [setting_text(v) for v in columns], [setting_text(v) for v in rows]
    for trial in shown:
        place = (names_y.index(setting_text(trial.values[y])), names_x.index(setting_text(trial.values[x])))
        cells.setdefault(place, []).append(value_of(trial, metric) or 0.0)
    z = [[_mean(cells.get((r, c))) for c in range(len(columns))] for r in range(len(rows))]
    text = [[_cell_text(cells.get((r, c))) for c in range(len(columns))] for r in range(len(rows))]
    trace = {
        "type": "heatmap", "x": names_x, "y": names_y, "z": z, "text": text, "texttemplate": "%{text}", "colorscale": SCALE,
        "reversescale": is_better_low(metric), "xgap": 2, "ygap": 2, "hoverongaps": False,
        "colorbar": {"title": {"text": label(metric), "side": "right", "font": {"size": 12}}, "thickness": 12, "outlinewidth": 0},
        "hovertemplate": f"{x} %{{x}}<br>{y} %{{y}}<br>{metric} %{{z:.4f}}<extra></extra>",
    }  # fmt: skip
    axis = {"type": "category", "showgrid": False}
    made = figure([trace], axis | {"title": {"text": x}}, axis | {"title": {"text": y}})
    several = any(len(v) > 1 for v in cells.values())
    return made, "Mean of the finished trials at a pair of settings" + (", their number beneath." if several else ".")


def _plane(study: Snapshot, trials: Sequence[Trial], x: str, y: str, metric: str) -> Figure:
    x_axis, xs = values_axis(x, [t.values[x] for t in trials])
    y_axis, ys = values_axis(y, [t.values[y] for t in trials])
    trace = {
        "type": "scatter", "mode": "markers", "x": xs, "y": ys, "customdata": [t.id for t in trials],
        "marker": {"color": [value_of(t, metric) for t in trials], "colorscale": SCALE, "reversescale": is_better_low(metric), "size": 11,
                   "line": {"width": 1, "color": FAINT}, "colorbar": {"title": {"text": label(metric), "side": "right", "font": {"size": 12}}, "thickness": 12}},
        "text": [f"trial {escape(t.title)}<br>{metric} = {value_of(t, metric):.4g}" for t in trials],
        "hovertemplate": "%{text}<extra></extra>",
    }  # fmt: skip
    return figure([trace], x_axis, y_axis)


def _mean(values: list[float] | None) -> float | None:
    return sum(values) / len(values) if values else None


def _cell_text(values: list[float] | None) -> str:
    if not values:
        return ""
    n = f"<br>n={len(values)}" if len(values) > 1 else ""
    return f"{sum(values) / len(values):.4g}{n}"


def pareto_front(points: Sequence[tuple[float, float]], low: tuple[bool, bool]) -> list[int]:
    """Places of the points that no other one is at least as good as in both, and better in one."""
    signed = [(x if low[0] else -x, y if low[1] else -y) for x, y in points]
    order = sorted(range(len(points)), key=lambda i: signed[i])
    front, least, at = list[int](), math.inf, math.nan
    for i in order:
        x, y = signed[i]
        if y < least or (y == least and x == at):  # equal points are all on the front
            front.append(i)
            least, at = y, x
    return front


def pareto(study: Snapshot, trials: Sequence[Trial], x: str, y: str) -> tuple[Figure | None, str]:
    shown = [t for t in trials if value_of(t, x) is not None and value_of(t, y) is not None]
    if len(shown) < 2:
        return None, "Trials by two objectives, and the front that no other trial beats in both."
    points = [(value_of(t, x) or 0.0, value_of(t, y) or 0.0) for t in shown]
    front = pareto_front(points, (is_better_low(x), is_better_low(y)))
    rest = [i for i in range(len(shown)) if i not in set(front)]
    traces: list[dict[str, Any]] = []
    for name, places, colour, size, mode in (
        ("other trials", rest, MAIN, 7, "markers"),
        ("Pareto front", front, BEST, 10, "lines+markers"),
    ):
        if places:
            traces.append({
                "type": "scatter", "mode": mode, "name": name, "x": [points[i][0] for i in places], "y": [points[i][1] for i in places],
                "customdata": [shown[i].id for i in places], "line": {"color": colour, "shape": "linear", "dash": "dot", "width": 1.5},
                "marker": {"color": colour, "size": size, "opacity": 0.55 if places is rest else 1, "symbol": "circle" if places is rest else "diamond"},
                "text": [f"trial {escape(shown[i].title)}<br>{settings_line(study, shown[i])}" for i in places],
                "hovertemplate": f"%{{text}}<br>{x} = %{{x:.4g}}<br>{y} = %{{y:.4g}}<extra></extra>",
            })  # fmt: skip
    ways = [f"{n}: {'lower' if is_better_low(n) else 'higher'} is better" for n in (x, y)]
    names = ", ".join(shown[i].id for i in front[:8]) + (" …" if len(front) > 8 else "")
    return figure(traces, label(x), label(y)), f"{'; '.join(ways)}. On the front: {names}."


def importance_bars(found: dict[str, float]) -> Figure:
    items = sorted(found.items(), key=lambda item: item[1])
    trace = {
        "type": "bar", "orientation": "h", "x": [v for _, v in items], "y": [a for a, _ in items],
        "marker": {"color": MAIN}, "text": [f"{v:.0%}" for _, v in items], "textposition": "auto",
        "hovertemplate": "%{y}: %{x:.1%}<extra></extra>",
    }  # fmt: skip
    x = {"title": {"text": "share of the variance explained"}, "tickformat": ".0%", "rangemode": "tozero"}
    return figure([trace], x, {"type": "category", "automargin": True}, showlegend=False)
