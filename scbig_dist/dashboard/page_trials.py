"""Every trial in one table: what was set, what came out, what it cost, where it ran, and its rank among equals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scbig_dist.dashboard.blocks import Block, Column, Grid, Heading, Table, Text
from scbig_dist.dashboard.figures import setting_text
from scbig_dist.dashboard.progress import silence, stage_progress
from scbig_dist.dashboard.study import Snapshot
from scbig_dist.dashboard.trial import DEVIATION, Trial
from scbig_dist.dashboard.view import View
from scbig_dist.metrics.summary import METRICS
from scbig_dist.report.wording import arrow, bare, score

NOT_RECORDED = "not recorded"


def trials_page(view: View) -> list[Block]:
    study = view.study
    if not study.trials:
        said = "A row per trial: its settings, scores, budget, rank, where it ran and what it cost. No trial has begun yet."
        return [Heading("Trials"), Text("trials-empty", said, "empty")]
    rows = [row_of(view, trial) for trial in study.trials.values()]
    return [
        Heading("Trials", f"ranked by {study.metric} {arrow(study.metric)}, only among trials with the same budget"),
        _groups(study),
        Grid("trials", columns_of(study), rows),
    ]


def _groups(study: Snapshot) -> Block:
    """What is ranked with what."""
    if not study.groups:
        return Text("groups", "Nothing is ranked yet: no trial has both ended and a score.", "empty")
    rows = []
    for group in study.groups:
        best = group.trials[0]
        rows.append(
            (group.label, str(len(group.trials)), best.title, score(best.scores[study.metric], bare(study.metric)))
        )
    return Table("groups", ("budget", "trials", "first", study.metric), tuple(rows), frozenset({1, 3}))


def columns_of(study: Snapshot) -> tuple[Column, ...]:
    """Ranks and settings first, then every metric that a trial has, costs, place, and why."""
    metric = study.metric
    names = {name for t in study.trials.values() for name in t.scores if name != metric}
    order = {f"{part}_{m}": (i, j) for i, part in enumerate(("val", "test")) for j, m in enumerate(METRICS)}
    rest = sorted(names, key=lambda n: (*order.get(n, (n.startswith("test_"), 99)), n))
    numeric = {a for a in study.axes if _is_numeric(study, a)}
    text = [Column("trial", "trial", "trial", 90, pinned=True), Column("status", "status", "status", 122)]
    if any(t.name for t in study.trials.values()):
        text.insert(1, Column("name", "name", "text", 170))
    ranks = [
        Column("order", "order", "count", 80, hidden=True),
        Column("rank", "rank", "count", 76, "among trials with the same budget"),
        Column("group", "ranked with", "text", 230, "trials with this budget; ranks of two budgets cannot be compared"),
        Column(metric, f"{metric} {arrow(metric)}", "score", max(150, 8 * len(metric) + 60)),
    ]
    axes = [Column(a, a, "number" if a in numeric else "text", max(110, 9 * len(a) + 36)) for a in study.axes]
    scores = [_deviation(metric)] if any(metric in t.deviations for t in study.trials.values()) else []
    for name in rest:
        scores.append(Column(name, f"{name} {arrow(name)}", "score", max(120, 8 * len(name) + 60)))
        if any(name in t.deviations for t in study.trials.values()):
            scores.append(_deviation(name))
    costs = [
        Column("budget", "budget, micro-steps", "count", 150, "micro-steps of the stage that a trial is judged by"),
        *(
            [Column("seeds", "seeds", "count", 80, "runs that a trial is the mean of")]
            if any(len(t.runs) > 1 for t in study.trials.values())
            else []
        ),
        Column("rung", "rung", "count", 76, "of successive halving, where it was stopped"),
        Column("stopped_by", "stopped by", "text", 110),
        Column("seconds_total", "time, s", "seconds", 92),
        Column("seconds_autoencoder", "autoencoder, s", "seconds", 130),
        Column("seconds_flow", "flow, s", "seconds", 92),
        Column("seconds_to_first_step", "to first step, s", "number", 130),
        Column("step_ms", "step, ms", "number", 96, "an update of the stage that a trial is judged by"),
        Column("cells_per_s", "cells/s", "number", 100),
        Column("peak_mem_gb", "memory, GB", "number", 110),
        *(
            [Column("peak_gpu_gb", "GPU memory, GB", "number", 130)]
            if any("peak_gpu_gb" in t.costs for t in study.trials.values())
            else []
        ),
        Column("n_parameters", "parameters", "count", 110),
        Column("node", "node", "text", 120),
        Column("gpus", "GPU", "text", 90),
        Column("restarts", "restarts", "count", 92, "times that its process began anew"),
        Column("reason", "why", "text", 420, "why it was stopped or failed, or where it is"),
    ]
    return tuple([*text, *ranks, *axes, *scores, *costs])


def _deviation(name: str) -> Column:
    title = f"± {name}"
    return Column(
        name + DEVIATION, title, "score", max(120, 8 * len(title) + 40), "standard deviation over a trial's seeds"
    )


def row_of(view: View, trial: Trial) -> dict[str, Any]:
    """A trial as the table has it; None is shown as a dash, what an older sweep did not write as `not recorded`."""
    study, place = view.study, view.study.places.get(trial.id)
    order = {group.label: i for i, group in enumerate(study.groups)}
    row: dict[str, Any] = {"id": trial.id, "trial": trial.id, "href": f"/study/{study.id}/trial/", "name": trial.name}
    row |= {"order": 100_000 * order[place.group] + place.rank if place else None}
    row |= {"status": trial.status, "rank": place.rank if place else None, "group": place.group if place else ""}
    row |= {a: _setting(trial.values, a) for a in study.axes}
    row |= dict(trial.scores) | dict(trial.costs) | {name + DEVIATION: sd for name, sd in trial.deviations.items()}
    unknown = NOT_RECORDED if trial.is_over else ""
    row |= {"budget": trial.budget, "rung": trial.rung, "restarts": trial.restarts, "seeds": len(trial.runs)}
    row |= {"stopped_by": trial.stopped_by or ("" if trial.status != "stopped" else NOT_RECORDED)}
    row |= {"node": trial.node or unknown, "gpus": trial.gpus or ("" if trial.node else unknown)}
    return row | {"reason": _why(view, trial)}


def _why(view: View, trial: Trial) -> str:
    if trial.status == "running":
        share, words = stage_progress(view.study, trial)
        parts = [words if share is None else f"{share:.0%} {words}", silence(trial, view.now)]
    else:
        parts = [trial.reason, trial.error.strip().splitlines()[-1] if trial.error.strip() else ""]
    return "; ".join(part for part in dict.fromkeys([*parts, *trial.problems]) if part)


def _setting(values: Mapping[str, Any], address: str) -> Any:
    value = values.get(address)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return setting_text(value) if address in values else None
    return value


def _is_numeric(study: Snapshot, address: str) -> bool:
    known = [t.values[address] for t in study.trials.values() if address in t.values]
    return bool(known) and all(isinstance(v, int | float) and not isinstance(v, bool) for v in known)
