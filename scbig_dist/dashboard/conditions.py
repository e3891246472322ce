"""Scores by condition of trials that were scored on test, and Wilcoxon's test of their differences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from scbig_dist.dashboard.blocks import Block, Figure, Table, Text
from scbig_dist.dashboard.figures import COLOURS, FAINT, SYMBOLS, figure
from scbig_dist.dashboard.files import signature
from scbig_dist.dashboard.study_figures import escape
from scbig_dist.dashboard.trial import Trial
from scbig_dist.errors import UserError
from scbig_dist.report.compare import compare
from scbig_dist.report.compared_runs import Entry, read_entries
from scbig_dist.report.wording import MISSING, score, signed

NEEDED = ("config.yaml", "store.json", "scores_meta.json", "conditions.parquet")
UNREADABLE = (UserError, OSError, ValueError, KeyError, TypeError)


def _entries(trials: Sequence[tuple[str, Trial]]) -> tuple[list[Entry], list[Trial], str]:
    """Entries of the trials that can be compared by condition, and a sentence on the others."""
    scored = [(name, t) for name, t in trials if all(signature(t.folder / file) is not None for file in NEEDED)]
    left = [name for name, t in trials if (name, t) not in scored]
    said = f"Not scored on test: {', '.join(left)} ('scbig evaluate {_first(trials, left)}' does it)." if left else ""
    if len(scored) < 2:
        return [], [], said or "Two trials that were scored on test are needed."
    try:
        return read_entries([t.folder for _, t in scored], [], "test"), [t for _, t in scored], said
    except UNREADABLE as error:
        return [], [], f"They cannot be compared by condition: {error}"


def _first(trials: Sequence[tuple[str, Trial]], left: Sequence[str]) -> Path:
    return next(t.folder for name, t in trials if name == left[0])


def per_condition(trials: Sequence[tuple[str, Trial]], metric: str) -> tuple[Figure | None, str]:
    """A point per condition: the first trial's score against each other one's."""
    entries, _, said = _entries(trials)
    if len(entries) < 2 or any(metric not in entry.scores for entry in entries):
        return None, said or "No score by condition."
    first, traces, ends = _column(entries[0], metric), [], list[float]()
    for i, entry in enumerate(entries[1:]):
        both = pd.concat([first, _column(entry, metric)], axis=1, keys=["x", "y"]).dropna()
        ends += [*both["x"], *both["y"]]
        traces.append({
            "type": "scatter", "mode": "markers", "name": entry.name, "x": both["x"].tolist(), "y": both["y"].tolist(),
            "text": [escape(str(c)) for c in both.index], "marker": {"color": COLOURS[i], "symbol": SYMBOLS[i], "size": 8, "opacity": 0.8},
            "hovertemplate": f"%{{text}}<br>{escape(entries[0].name)} %{{x:.4f}}<br>{escape(entry.name)} %{{y:.4f}}<extra></extra>",
        })  # fmt: skip
    if not ends:
        return None, "No condition has a score in both."
    low, high = min(ends), max(ends)
    traces.append({"type": "scatter", "mode": "lines", "x": [low, high], "y": [low, high], "line": {"color": FAINT, "dash": "dot", "width": 1},
                   "showlegend": False, "hoverinfo": "skip"})  # fmt: skip
    n = len(first)
    y = "trial " + entries[1].name if len(entries) == 2 else "the others"
    return figure(
        traces, f"{metric}, trial {entries[0].name}", f"{metric}, {y}"
    ), f"{n} test conditions; dotted: equal. {said}"


def _column(entry: Entry, metric: str) -> pd.Series:
    return entry.scores[metric].groupby(level="condition").mean()


def paired_tests(trials: Sequence[tuple[str, Trial]], metric: str) -> Block:
    """Every trial against the first."""
    entries, _, said = _entries(trials)
    if len(entries) < 2 or any(metric not in entry.scores for entry in entries):
        return Text("paired", said or "The paired test needs scores by condition.", "empty")
    try:
        lines = compare(entries, [metric]).of(metric)
    except UNREADABLE as error:
        return Text("paired", f"The test cannot be made: {error}", "note")
    rows = []
    for line in lines:
        if line.against is None:
            rows.append((line.name, score(line.value.mean, metric), MISSING, MISSING, MISSING, MISSING))
            continue
        d = line.against.difference
        span = MISSING if math.isnan(d.low) else f"{signed(d.low, metric)} to {signed(d.high, metric)}"
        rows.append(
            (
                line.name,
                score(line.value.mean, metric),
                signed(d.mean, metric),
                span,
                _p(line.against.test.p),
                _p(line.against.p_holm),
            )
        )
    columns = ("trial", metric, f"minus {entries[0].name}", "95% interval", "p", "p, Holm")
    caption = f"Wilcoxon's signed-rank test over {len(entries[0].conditions)} test conditions; intervals by bootstrap over conditions. {said}"
    return Table("paired", columns, tuple(rows), frozenset(range(1, 6)), caption=caption)


def _p(p: float) -> str:
    return MISSING if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"
