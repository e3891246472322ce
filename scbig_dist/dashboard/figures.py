"""The look of every figure: colours that colour-blind readers tell apart, on a page that is light or dark.

A figure is plain data in Plotly's terms. Ink, grid and background come from the page that draws it
(`assets/page.js`), so one figure serves both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from scbig_dist.dashboard.blocks import Figure
from scbig_dist.report.wording import UNITS, arrow, setting

# Okabe & Ito (2008), in the order of report/style.py; amber for its pale yellow.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")
SYMBOLS = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
BEST = "#d55e00"
MAIN = "#0072b2"
FAINT = "#8b96a1"
SCALE = "Cividis"
STATUS_COLOURS = {
    "finished": "#0072b2", "stopped": "#e69f00", "failed": "#d55e00", "running": "#009e73", "interrupted": "#cc79a7",
    "unreadable": "#7f7f7f",
}  # fmt: skip
STATUS_SYMBOLS = {"finished": "circle", "stopped": "triangle-down", "failed": "x", "running": "diamond"}


def figure(traces: list[dict[str, Any]], x: Any, y: Any, **layout: Any) -> Figure:
    """A figure whose zoom outlives its updates; axes by title or in Plotly's terms."""
    return {
        "data": traces,
        "layout": {
            "xaxis": x if isinstance(x, dict) else {"title": {"text": x}},
            "yaxis": y if isinstance(y, dict) else {"title": {"text": y}},
            "uirevision": "kept",
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "xanchor": "left"},
            "margin": {"l": 64, "r": 16, "t": 28, "b": 48},
            "hovermode": "closest",
            **layout,
        },
    }


def label(column: str) -> str:
    """A column as an axis says it: with its unit, or with the direction that is better."""
    if column in UNITS:
        return f"{column}, {UNITS[column]}"
    return f"{column} {arrow(column)}" if column.startswith(("val_", "test_")) else column


def time_axis(title: str = "time") -> dict[str, Any]:
    return {"title": {"text": title}, "type": "date"}


def moment(seconds: float) -> str:
    """A time as Plotly takes it; UTC, which the axis says."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def values_axis(address: str, values: Sequence[Any]) -> tuple[dict[str, Any], list[Any]]:
    """An axis for settings and where each stands: numbers on a linear or a log scale, words as they come."""
    known = [v for v in values if v is not None]
    if known and all(isinstance(v, int | float) and not isinstance(v, bool) for v in known):
        axis: dict[str, Any] = {"title": {"text": address}}
        if is_log(known):
            axis |= {"type": "log"}
            distinct = apart(known, log=True)
            if len(distinct) <= 8:
                axis |= {"tickvals": distinct, "ticktext": [setting(v) for v in distinct]}
        elif len(set(known)) <= 8:
            axis |= {"tickvals": apart(known, log=False)}
        return axis, list(values)
    order = [setting_text(v) for v in levels(values)]
    axis = {"title": {"text": address}, "type": "category", "categoryorder": "array", "categoryarray": order}
    return axis, [setting_text(v) for v in values]


def apart(values: Sequence[float], log: bool) -> list[float]:
    """The distinct values, but those so close to the one before that their labels would lie on each other."""
    distinct = sorted(set(values))
    places = [math.log(v) for v in distinct] if log else distinct
    room = 0.06 * (places[-1] - places[0])
    kept = [0]
    for i in range(1, len(distinct)):
        if places[i] - places[kept[-1]] >= room:
            kept.append(i)
    return [distinct[i] for i in kept]


def setting_text(value: Any) -> str:
    return "null" if value is None else setting(value) if not isinstance(value, str) else value


def levels(values: Sequence[Any]) -> list[Any]:
    """The distinct settings in order: numbers first, then words."""
    distinct = {setting_text(v): v for v in values}.values()
    numeric = sorted(v for v in distinct if isinstance(v, int | float) and not isinstance(v, bool))
    return [*numeric, *sorted((v for v in distinct if not isinstance(v, int | float) or isinstance(v, bool)), key=str)]


def is_log(values: Sequence[float]) -> bool:
    """Whether positive settings span enough for a log scale, as the report has it."""
    return min(values) > 0 and max(values) / min(values) >= 4
