"""Figures of a study as a whole: the objective as trials end, what ran when, and curves side by side."""

from __future__ import annotations

from typing import Any

from scbig_dist.dashboard.blocks import Figure
from scbig_dist.dashboard.curves import Logs
from scbig_dist.dashboard.figures import (
    BEST,
    FAINT,
    STATUS_COLOURS,
    STATUS_SYMBOLS,
    figure,
    label,
    moment,
    setting_text,
    time_axis,
)
from scbig_dist.dashboard.progress import Span, n_places, spans
from scbig_dist.dashboard.ranking import running_best
from scbig_dist.dashboard.study import Snapshot
from scbig_dist.dashboard.trial import Trial
from scbig_dist.report.wording import duration

MOST_CURVES = 40
CURVE_POINTS = 100
MOST_BARS = 150  # from here on lines stand for bars: a browser draws one line of many pieces as fast as one bar
LANE_SECONDS = 20.0


def settings_line(study: Snapshot, trial: Trial) -> str:
    return "<br>".join(
        f"{escape(a)} = {escape(setting_text(trial.values[a]))}" for a in study.axes if a in trial.values
    )


def escape(text: str) -> str:
    """Text inside a figure, where Plotly would read tags."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def objective_over_time(study: Snapshot) -> Figure | None:
    """Every ended trial where it ended, and the best so far among those with the full budget."""
    metric, traces = study.metric, list[dict[str, Any]]()
    for status in ("finished", "stopped"):
        shown = [t for t in study.of(status) if t.ended is not None and metric in t.scores]
        if shown:
            traces.append({
                "type": "scatter", "mode": "markers", "name": status,
                "x": [moment(t.ended or 0.0) for t in shown], "y": [t.scores[metric] for t in shown],
                "marker": {"color": STATUS_COLOURS[status], "symbol": STATUS_SYMBOLS[status], "size": 8, "opacity": 0.8},
                "customdata": [t.id for t in shown],
                "text": [f"trial {escape(t.title)}<br>{settings_line(study, t)}" for t in shown],
                "hovertemplate": "%{text}<br>" + metric + " = %{y:.4f}<extra></extra>",
            })  # fmt: skip
    if not traces:
        return None
    if study.groups and study.groups[0].trials[0].status == "finished":
        steps = running_best(study.groups[0], metric, study.mode)
        if steps:
            last = max(t.ended for t in study.trials.values() if t.ended is not None)
            traces.append({
                "type": "scatter", "mode": "lines", "name": f"best so far, {study.groups[0].label}",
                "x": [moment(x) for x, _, _ in steps] + [moment(last)], "y": [y for _, y, _ in steps] + [steps[-1][1]],
                "line": {"color": BEST, "width": 2, "shape": "hv"}, "hoverinfo": "skip",
            })  # fmt: skip
    return figure(traces, time_axis("when the trial ended, UTC"), label(metric))


def lanes(study: Snapshot, now: float) -> Figure | None:
    """What ran when: a lane per place, a bar per trial."""
    pause = LANE_SECONDS if len(study.trials) <= MOST_BARS else 3 * LANE_SECONDS
    found = spans(study, now - now % pause)  # a bar that grows is not worth a figure every few seconds
    if not found:
        return None
    placed: dict[str, list[Span]] = {}
    for span in found:
        placed.setdefault(span.trial.status, []).append(span)
    if len(found) > MOST_BARS:
        traces = [_pieces(status, bars) for status, bars in placed.items()]
    else:
        traces = [_bars(status, bars, len(found) <= 80) for status, bars in placed.items()]
    order = [str(i + 1) for i in range(n_places(found))]
    y = {
        "title": {"text": "place"},
        "type": "category",
        "categoryorder": "array",
        "categoryarray": order[::-1],
        "showgrid": False,
    }
    return figure(
        traces, time_axis("time, UTC"), y, barmode="overlay", bargap=0.25, uniformtext={"minsize": 10, "mode": "hide"}
    )


def _bars(status: str, bars: list[Span], named: bool) -> dict[str, Any]:
    return {
        "type": "bar", "orientation": "h", "name": status, "y": [str(b.place + 1) for b in bars],
        "base": [moment(b.began) for b in bars], "x": [1000 * (b.end - b.began) for b in bars],
        "marker": {"color": STATUS_COLOURS[status], "line": {"width": 1, "color": "rgba(128,128,128,0.6)"}},
        "text": [b.trial.id for b in bars] if named else None, "textposition": "inside", "insidetextanchor": "middle",
        "textangle": 0, "customdata": [b.trial.id for b in bars], "hovertext": [_said(b) for b in bars],
        "hovertemplate": "%{hovertext}<extra></extra>",
    }  # fmt: skip


def _pieces(status: str, bars: list[Span]) -> dict[str, Any]:
    """The same as one broken line; a trial's name shows at both of its ends."""
    return {
        "type": "scatter", "mode": "lines", "name": status, "y": [y for b in bars for y in (str(b.place + 1), str(b.place + 1), None)],
        "x": [x for b in bars for x in (moment(b.began), moment(b.end), None)], "line": {"color": STATUS_COLOURS[status], "width": 9},
        "customdata": [i for b in bars for i in (b.trial.id, b.trial.id, None)], "opacity": 0.85,
        "hovertext": [t for b in bars for t in (_said(b), _said(b), None)], "hovertemplate": "%{hovertext}<extra></extra>",
    }  # fmt: skip


def _said(span: Span) -> str:
    return f"trial {escape(span.trial.title)}, {span.trial.status}, {duration(span.end - span.began)}"


def curves(study: Snapshot, logs: Logs) -> tuple[Figure | None, int]:
    """Validation over training: the best and the running ones in colour, the next best faint; how many are drawn."""
    best, metric = study.best, study.metric
    ranked = [t for group in study.groups for t in group.trials]
    shown = [*study.of("running"), *ranked, *study.of("failed")][:MOST_CURVES]
    traces = list[dict[str, Any]]()
    for trial in shown:
        xs, ys = logs(trial.runs[0] / "metrics.jsonl").judged.points("micro_step", metric, CURVE_POINTS)
        if not xs:
            continue
        is_best, runs = best is not None and trial.id == best.id, trial.status == "running"
        traces.append({
            "type": "scatter", "mode": "lines+markers" if len(xs) < 40 else "lines",
            "name": f"{trial.id} (best)" if is_best else f"{trial.id} (running)" if runs else trial.id,
            "x": xs, "y": [float(f"{y:.5g}") for y in ys], "customdata": [trial.id] * len(xs), "showlegend": is_best or runs,
            "line": {"color": BEST if is_best else STATUS_COLOURS["running"] if runs else FAINT, "width": 2.5 if is_best else 1.5,
                     "dash": "dash" if runs else "solid"},
            "marker": {"size": 5}, "opacity": 1.0 if is_best or runs else 0.45,
            "hovertemplate": f"trial {escape(trial.title)}<br>micro-step %{{x:,}}<br>{metric} = %{{y:.4f}}<extra></extra>",
        })  # fmt: skip
    traces.sort(key=lambda t: t["opacity"])
    return (figure(traces, "micro-step", label(metric)) if traces else None), len(traces)
