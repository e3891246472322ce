"""Learning curves of one trial, or of several over one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scbig_dist.dashboard.blocks import Figure
from scbig_dist.dashboard.curves import Log, smoothed
from scbig_dist.dashboard.figures import COLOURS, DASHES, SYMBOLS, figure, label
from scbig_dist.dashboard.study_figures import escape


def _line(name: str, xs: Sequence[float], ys: Sequence[float], colour: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "scatter", "mode": "lines", "name": name, "x": list(xs), "y": list(ys),
        "line": {"color": colour, "width": 1.8, "dash": more.pop("dash", "solid")},
        "hovertemplate": f"{escape(name)}<br>micro-step %{{x:,}}<br>%{{y:.4g}}<extra></extra>", **more,
    }  # fmt: skip


def loss_curves(log: Log, stage: str, weight: float) -> Figure | None:
    """The loss and its parts; beneath a smoothed line the raw one, faint."""
    found = log.stages.get(stage)
    names = [n for n in (found.columns if found else ()) if n == "loss" or n.startswith(("loss_", "val_loss"))]
    if found is None or not names:
        return None
    if "loss_flow" in names and len(names) == 2:
        names.remove("loss_flow")  # the whole loss by another name
    traces = []
    for name, colour, dash in zip(names, COLOURS, DASHES, strict=False):
        xs, ys = found.points("micro_step", name)
        if not xs:
            continue
        if name == "val_loss":
            traces.append(_line(name, xs, ys, colour, mode="lines+markers", dash=dash))
            continue
        if weight:
            traces.append(
                _line(name, xs, ys, colour, opacity=0.28, showlegend=False, hoverinfo="skip", legendgroup=name)
            )
            ys = smoothed(ys, weight)
        traces.append(_line(name, xs, ys, colour, dash=dash, legendgroup=name))
    return figure(traces, "micro-step" if stage == "flow" else "step", "loss")


def validation_curves(log: Log, metric: str) -> Figure | None:
    stage = log.judged
    names = [n for n in stage.columns if n.startswith("val_")]
    if not names:
        return None
    names.sort(key=lambda n: (n != metric, n))
    traces = []
    for i, name in enumerate(names[:4]):
        xs, ys = stage.points("micro_step", name)
        first = i == 0
        more: dict[str, Any] = {} if first else {"yaxis": "y2"}
        traces.append(
            _line(
                name,
                xs,
                ys,
                COLOURS[i],
                mode="lines+markers",
                dash=DASHES[i],
                marker={"symbol": SYMBOLS[i], "size": 6},
                **more,
            )
        )
    second = {
        "overlaying": "y",
        "side": "right",
        "showgrid": False,
        "title": {"text": ", ".join(map(label, names[1:4]))},
    }
    more_axes = {"yaxis2": second, "margin": {"l": 64, "r": 64, "t": 28, "b": 48}} if len(names) > 1 else {}
    return figure(traces, "micro-step", label(names[0]), **more_axes)


def series(log: Log, name: str, title: str, percent: bool = False) -> Figure | None:
    """One field over a trial's own time, a line per stage."""
    traces, offset = [], 0.0
    for (stage_name, stage), colour, dash in zip(log.stages.items(), COLOURS, DASHES, strict=False):
        xs, ys = stage.points("seconds", name)
        if xs:
            traces.append(_line(stage_name, [x + offset for x in xs], ys, colour, dash=dash,
                                hovertemplate=f"{escape(stage_name)}<br>%{{x:.0f}} s<br>%{{y:.4g}}<extra></extra>"))  # fmt: skip
            offset += xs[-1]
    y: dict[str, Any] = {"title": {"text": title}, "rangemode": "tozero"}
    if percent:
        y["tickformat"] = ".1%"
    return figure(traces, "training time, s", y) if traces else None


def curves_over_another(logs: Mapping[str, Log], name: str, stage: str = "") -> Figure | None:
    """One field of several trials; `stage` empty: the one that they are judged by."""
    traces = []
    for i, (title, log) in enumerate(logs.items()):
        found = log.stages.get(stage) if stage else log.judged
        xs, ys = found.points("micro_step", name) if found else ([], [])
        if xs:
            few = len(xs) < 40
            traces.append(_line(title, xs, ys, COLOURS[i % 7], mode="lines+markers" if few else "lines", dash=DASHES[i % 6],
                                marker={"symbol": SYMBOLS[i % 7], "size": 6}))  # fmt: skip
    return figure(traces, "micro-step", label(name)) if traces else None
