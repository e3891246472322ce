"""The tables of a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pandas as pd

from scbig_dist.metrics.summary import METRICS, best, counted, under_halves
from scbig_dist.report.document import Table
from scbig_dist.report.printed import COSTS, INTERVAL
from scbig_dist.report.published import DEVIATIONS, Comparison
from scbig_dist.report.ranking import competing
from scbig_dist.report.reading import RunFiles
from scbig_dist.report.wording import (
    METHOD_ORDER,
    MISSING,
    arrow,
    bare,
    duration,
    in_order,
    is_missing,
    number,
    score,
    setting,
    signed,
    with_unit,
)

# A table of trials with every metric twice would be too wide to read: these, and the study's own metric.
TRIAL_METRICS = ("pearson_delta", "pearson_delta_de", "acc", "mse", "e_dist")
CEILING = "noise ceiling"  # in no race
SHOWN_COSTS = (
    "stage1_ms", "stage2_ms", "stage1_gb", "stage2_gb", "step_ms", "peak_mem_gb", "peak_gpu_gb", "n_parameters",
)  # fmt: skip
STATUS_ORDER = {"finished": 1, "stopped": 2, "failed": 3}


def trials_table(trials: pd.DataFrame, axes: list[str], column: str, mode: str, best: str | None) -> Table:
    """One row per trial: the ranked ones, best first; then, without a rank, those that had less training or failed, and why.

    Scores of an unranked trial stand in brackets. ±: standard deviation over a trial's seeds.
    """
    ranked = _ranked(trials, column, mode)
    named = [column, *(f"{p}_{m}" for p in ("val", "test") for m in TRIAL_METRICS)]
    metrics = [c for c in dict.fromkeys(named) if c in ranked and ranked[c].notna().any()]
    costs = [c for c in SHOWN_COSTS if c in ranked and ranked[c].notna().any()]
    names = ["name"] if "name" in ranked and ranked["name"].fillna("").astype(bool).any() else []
    columns = [
        "trial",
        *names,
        "status",
        "rank",
        *axes,
        *(f"{m} {arrow(m)}" for m in metrics),
        *map(with_unit, costs),
        "time",
        "why",
    ]
    rows, strong = [], set()
    for i, trial in enumerate(ranked.to_dict("records")):
        cells = [str(trial.get("trial", i)), *(number(trial[n]) for n in names), str(trial.get("status", MISSING))]
        cells.append(str(i + 1) if trial["_able"] else MISSING)
        cells += [setting(trial[a]) for a in axes]
        texts = [with_spread(trial, m) for m in metrics]
        cells += [text if trial["_able"] or text == MISSING else f"({text})" for text in texts]
        cells += [number(trial[c]) for c in costs]
        why = _why(trial) or ("" if trial["_able"] or trial.get("status") != "finished" else _unranked(trial, column))
        rows.append((*cells, duration(trial.get("seconds_total")), why))
        if cells[0] == best:
            strong.add(i)
    return Table(
        columns=tuple(columns),
        rows=tuple(rows),
        numeric=frozenset(columns[len(names) + 2 : -1]),
        caption=_caption(ranked, column),
        strong=frozenset(strong),
    )


def _ranked(trials: pd.DataFrame, column: str, mode: str) -> pd.DataFrame:
    frame = trials.copy()
    status = frame["status"] if "status" in frame else pd.Series("", index=frame.index)
    frame["_able"] = competing(frame, [column])
    frame["_group"] = status.map(STATUS_ORDER).fillna(4).where(~frame["_able"], 0)
    frame["_score"] = (frame[column] if mode == "min" else -frame[column]) if column in frame else 0.0
    return frame.sort_values(["_group", "_score"], kind="stable")


def _caption(ranked: pd.DataFrame, column: str) -> str:
    text = f"Ranked by {column}"
    if not ranked["_able"].all():
        text += (
            ", among finished trials of equal budget; in brackets: scores of trials that had less training or lack it"
        )
    if f"{column}_sd" in ranked and ranked[f"{column}_sd"].notna().any():
        text += ". ±: standard deviation over the seeds of a trial"
    return f"{text}. Every metric of every trial: trials.parquet."


def _unranked(trial: Mapping[Any, Any], column: str) -> str:
    return f"not ranked: no {column}" if is_missing(trial.get(column)) else "not ranked: less budget than others"


def with_spread(trial: Mapping[Any, Any], column: str) -> str:
    """A score, and its standard deviation where the trial is a mean over seeds."""
    text, spread = score(trial.get(column), bare(column)), trial.get(f"{column}_sd")
    return text if is_missing(spread) or text == MISSING else f"{text} ± {score(spread, bare(column))}"


def _why(trial: Mapping[Any, Any]) -> str:
    """The reason of a stopped or failed trial, one line of its error."""
    if trial.get("status") == "finished":
        return ""
    texts = [str(trial[k]).strip() for k in ("reason", "error") if k in trial and not is_missing(trial[k])]
    lines = [text.splitlines()[-1] for text in dict.fromkeys(texts) if text]
    text = "; ".join(dict.fromkeys(lines))
    return text if len(text) <= 160 else text[:157] + "…"


def scores_table(
    scores: Mapping[str, Mapping[str, float | None]],
    caption: str,
    model: str,
    undefined: Mapping[str, Mapping[str, int]] | None = None,
    n: int | None = None,
) -> Table:
    """Methods by metrics; the best of each metric is marked, the noise ceiling left out of the race, `model` in bold.

    `undefined`: conditions, of `n`, that a mean leaves out; it then carries the number of the others.
    """
    left_out, total = undefined or {}, n or 0
    methods = in_order(list(scores), METHOD_ORDER)
    rows: list[list[str]] = [[method] for method in methods]
    metrics = [m for m in METRICS if any(m in row for row in scores.values())]
    for metric in metrics:
        missing = {method: left_out.get(method, {}).get(metric, 0) for method in methods}
        rivals = {method: _known(scores[method].get(metric)) for method in methods if method != CEILING}
        winners = best(rivals, metric, missing) if len([v for v in rivals.values() if v is not None]) > 1 else set()
        for row, method in zip(rows, methods, strict=True):
            text = counted(score(scores[method].get(metric), metric), missing[method], total)
            row.append(text + " ●" * (method in winners))
    columns = ("method", *(f"{m} {arrow(m)}" for m in metrics))
    strong = frozenset(i for i, method in enumerate(methods) if method == model)
    if any("(" in cell for row in rows for cell in row[1:]):
        caption += (
            " x (7 of 10): a mean over the 7 conditions that have a value, which competes with no mean over all 10."
        )
    if under_halves(scores, CEILING):
        caption += " Wasserstein distances grow as cells get fewer, and the noise ceiling compares halves: it is none of theirs."
    return Table(columns, tuple(map(tuple, rows)), frozenset(columns[1:]), caption, strong)


def _known(value: Any) -> float | None:
    return None if is_missing(value) or not isinstance(value, (int, float)) else float(value)


def published_table(comparison: Comparison) -> Table:
    """The paper's number, ours, the difference, and whether the two can be compared.

    Times of two machines are also shown as multiples of the table's reference row, each on its own machine.
    """
    ratios = ("published ×", "ours ×") if any(row.published_ratio is not None for row in comparison.rows) else ()
    apart = ratios or ("difference",)  # of two machines' times a difference says nothing
    columns = ("setting", "metric", "published", "ours", *apart, "comparable", "why not")
    marks = reason_marks(comparison)
    rows, above = [], ""
    for row in comparison.rows:
        difference = row.difference
        named, above = "" if row.setting == above else row.setting, row.setting
        rows.append(
            (
                named,
                _metric_text(row.metric, comparison.table),
                f"{row.published:g}" if row.metric in COSTS else _printed(row.published, row.metric),
                _printed(row.ours, row.metric),
                *(
                    (_ratio(row.published_ratio), _ratio(row.ours_ratio))
                    if ratios
                    else (MISSING if difference is None else _signed(difference, row.metric),)
                ),
                MISSING if row.ours is None else "yes" if row.comparable else "no",
                " ".join(marks.get(reason, reason) for reason in row.reasons),
            )
        )
    notes = [f"{mark} {reason}" for reason, mark in marks.items()]
    if ratios:
        notes.insert(0, f"×: a time as a multiple of the row '{comparison.reference}' on the same machine")
    return Table(columns, tuple(rows), frozenset({"published", "ours", *apart}), ". ".join(notes))


def _metric_text(metric: str, table: str) -> str:
    if table == DEVIATIONS:
        return f"{metric}, SD over seeds"
    if metric in INTERVAL:
        return f"pearson_delta, {metric} end of its 95% interval"
    return f"{with_unit(metric)} {'↓' if metric in COSTS else arrow(metric)}"


def _ratio(value: float | None) -> str:
    return MISSING if value is None else f"{value:.2f}"


def reason_marks(comparison: Comparison) -> dict[str, str]:
    """A letter for each reason that several rows share, so that it is read once."""
    counts = Counter(reason for row in comparison.rows for reason in row.reasons)
    shared = [reason for reason, n in counts.items() if n > 1]
    return {reason: f"({chr(ord('a') + i)})" for i, reason in enumerate(shared)}


def _printed(value: float | None, metric: str) -> str:
    return number(value) if metric in COSTS else score(value, metric)


def _signed(value: float, metric: str) -> str:
    if metric in COSTS:
        return ("+" if value >= 0 else "−") + number(abs(value))
    return signed(value, metric)


def facts_table(facts: Mapping[str, Any], names: tuple[str, str] = ("what", "value"), caption: str = "") -> Table:
    """Names and values, those without a value left out."""
    rows = tuple((name, _text(value)) for name, value in facts.items() if not is_missing(value))
    return Table(names, rows, caption=caption)


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(_text(v) for v in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{k}: {_text(v)}" for k, v in value.items())
    return setting(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)


def run_facts(run: RunFiles) -> Table:
    """Size, time and machine of a run."""
    s = run.summary
    speed = None if is_missing(s.get("cells_per_s")) else f"{number(s['cells_per_s'])} cells/s"
    memory = None if is_missing(s.get("peak_mem_gb")) else f"{number(s['peak_mem_gb'])} GB"
    step = None if is_missing(s.get("step_ms")) else f"{number(s['step_ms'])} ms"
    versions = s.get("versions")
    return facts_table(
        {
            "data": run.data_label,
            "hardware": run.hardware,
            "genes": s.get("n_genes"),
            "training cells": s.get("n_train_cells"),
            "parameters": s.get("n_parameters"),
            "autoencoder stage": None
            if is_missing(s.get("seconds_autoencoder"))
            else duration(s["seconds_autoencoder"]),
            "flow stage": None if is_missing(s.get("seconds_flow")) else duration(s["seconds_flow"]),
            "flow step": step,
            "flow speed": speed,
            "peak memory": memory,
            "versions": versions if versions else None,
        }
    )
