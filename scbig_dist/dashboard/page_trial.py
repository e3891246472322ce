"""One trial: its curves, what differs from the study's base, its end in full, and how to run it again."""

from __future__ import annotations

from pathlib import Path

from scbig_dist.dashboard.beside import trial_href
from scbig_dist.dashboard.blocks import (
    Block,
    Chart,
    Choice,
    Choices,
    Code,
    Columns,
    Heading,
    Link,
    Table,
    Text,
    Tile,
    Tiles,
)
from scbig_dist.dashboard.curve_figures import loss_curves, series, validation_curves
from scbig_dist.dashboard.curves import Log
from scbig_dist.dashboard.figures import setting_text
from scbig_dist.dashboard.files import last_lines
from scbig_dist.dashboard.progress import silence, stage_progress
from scbig_dist.dashboard.study import Snapshot, when_of
from scbig_dist.dashboard.trial import Trial, config_of
from scbig_dist.dashboard.trial_records import checkpoint_of, error_of, rerun_command, starts_of
from scbig_dist.dashboard.view import View
from scbig_dist.report.wording import MISSING, arrow, bare, duration, score
from scbig_dist.report.wording import number as shown
from scbig_dist.settings import flatten

LOG_LINES = 40
SMOOTHING = (("0", "raw"), ("0.6", "light"), ("0.9", "strong"))


def trial_page(view: View, name: str) -> list[Block]:
    study = view.study
    trial = study.trials.get(name)
    if trial is None:
        said = f"Study {study.id} has no trial {name[:80]!r}" + (": it may still wait." if study.n_waiting else ".")
        return [Heading("Trial"), Text("missing", said, "note")]
    run = _run(view, trial)
    log = view.logs(run / "metrics.jsonl")
    weight = float(view.chosen("smooth", [value for value, _ in SMOOTHING], "0.6"))
    return [
        Heading(f"Trial {trial.title}"),
        _around(study, trial),
        Tiles("tiles", _tiles(view, trial)),
        Text("warnings", "\n".join(_problems(view, trial, log)), "warn"),
        Choices("set", (
            Choice("smooth", "curves", SMOOTHING, f"{weight:g}"),
            *([Choice("run", "seed", tuple((each.name, each.name) for each in trial.runs), run.name)] if len(trial.runs) > 1 else []),
        )),
        Columns((
            Chart("loss-autoencoder", "Loss, autoencoder", loss_curves(log, "autoencoder", weight),
                  _caption(log, "autoencoder", weight, trial)),
            Chart("loss-flow", "Loss, flow", loss_curves(log, _judged(log), weight), _caption(log, _judged(log), weight, trial)),
        )),
        Columns((
            Chart("validation", "Validation", validation_curves(log, study.metric), f"{study.metric} {arrow(study.metric)} and the others while training."),
            Chart("throughput", "Throughput", series(log, "cells_per_s", "cells/s"), "Cells per second, by stage."),
        )),
        Columns((
            Chart("wait", "Data wait", series(log, "data_wait", "share of a step", percent=True), "Share of a step spent waiting for cells.", 240),
            Chart("memory", "Peak memory", series(log, "peak_mem_gb", "GB"), "Highest resident memory of a worker so far, GB.", 240),
        )),
        Heading("Settings", "the study's axes, and what else differs from its base"),
        _settings(study, trial),
        Heading("Run it again"),
        Code("rerun", "command", rerun_command(study, trial), copy=True),
        Code("checkpoint", "newest checkpoint", checkpoint_of(run), copy=True),
        Heading("Where it ran"),
        starts_of(trial),
        *error_of(trial, run),
        Code("log", f"last lines of {run / 'metrics.jsonl'}", "\n".join(last_lines(run / "metrics.jsonl")[-LOG_LINES:]), tall=True),
    ]  # fmt: skip


def _run(view: View, trial: Trial) -> Path:
    """Whose curves are shown: of several seeds the reader's choice, else the one that has logged last."""
    names = [run.name for run in trial.runs]
    return trial.runs[names.index(view.chosen("run", names, names[trial.at_run]))]


def _judged(log: Log) -> str:
    return "cells" if "cells" in log.stages and "flow" not in log.stages else "flow"


def _around(study: Snapshot, trial: Trial) -> Block:
    names = list(study.trials)
    i = names.index(trial.id)
    place = study.places.get(trial.id)
    cells: list[str | Link] = [f"rank {place.rank} of {place.of}, {place.group}" if place else "not ranked"]
    if i:
        cells.append(Link(f"← {names[i - 1]}", trial_href(study, names[i - 1])))
    if i + 1 < len(names):
        cells.append(Link(f"{names[i + 1]} →", trial_href(study, names[i + 1])))
    if (best := study.best) and best.id != trial.id:
        cells.append(Link(f"beside the best, {best.id}", f"/study/{study.id}/compare?trials={best.id},{trial.id}"))
    return Table("around-table", (), (tuple(cells),))


def _tiles(view: View, trial: Trial) -> tuple[Tile, ...]:
    study, metric = view.study, view.study.metric
    share, words = stage_progress(study, trial)
    state = f"{words}" if trial.status == "running" else trial.reason
    tone = (
        "bad"
        if trial.status in ("failed", "unreadable")
        else "warn"
        if trial.status in ("stopped", "interrupted")
        else ""
    )
    took = (
        trial.seconds
        if trial.is_over
        else (view.now - trial.began if trial.began and trial.status == "running" else None)
    )
    tiles = [
        Tile("status", trial.status if share is None or trial.is_over else f"{trial.status}, {share:.0%}", state, tone),
        Tile(f"{metric} {arrow(metric)}", score(trial.scores.get(metric), bare(metric)), _test_note(trial, metric)),
        Tile("budget", MISSING if trial.budget is None else f"{trial.budget:,}", "micro-steps of the stage it is judged by"),
        Tile("time", duration(took), f"autoencoder {duration(trial.costs.get('seconds_autoencoder'))}, flow {duration(trial.costs.get('seconds_flow'))}"),
        Tile("peak memory", f"{shown(trial.costs.get('peak_mem_gb'))} GB", f"step {shown(trial.costs.get('step_ms'))} ms"),
        Tile("where", trial.node or "not recorded", _where(trial)),
    ]  # fmt: skip
    return tuple(tiles)


def _test_note(trial: Trial, metric: str) -> str:
    test, found = f"test_{bare(metric)}", list[str]()
    if metric in trial.deviations:
        found.append(f"mean of {len(trial.runs)} seeds, ± {score(trial.deviations[metric], bare(metric))}")
    said = f" ± {score(trial.deviations[test], bare(metric))}" if test in trial.deviations else ""
    found.append(
        f"test {score(trial.scores[test], bare(metric))}{said}" if test in trial.scores else "test: not scored"
    )
    return "; ".join(found)


def _where(trial: Trial) -> str:
    restarts = "restarts not recorded" if trial.restarts is None else f"{trial.restarts} restarts"
    gpus = f"GPU {trial.gpus}" if trial.gpus else "no GPU" if trial.node else ""
    return ", ".join(part for part in (gpus, restarts, f"process {trial.pid}" if trial.pid else "") if part)


def _problems(view: View, trial: Trial, log: Log) -> list[str]:
    lines = list(trial.problems)
    if said := silence(trial, view.now):
        lines.append(said)
    if log.broken:
        lines.append(f"metrics.jsonl: {log.broken} lines are half-written and were left out")
    if log.is_open and trial.status != "running":
        lines.append("metrics.jsonl: its last line is half-written and was left out")
    return lines


def _caption(log: Log, stage: str, weight: float, trial: Trial) -> str:
    found = log.stages.get(stage)
    if found is None:
        taken = next((a for a in trial.artifacts if a.kind == stage and a.reused), None)
        return (
            "Taken over from another trial: nothing was trained here."
            if taken
            else "Appears with the first line of log of this stage."
        )
    return f"{found.n:,} records" + (f"; thin: as logged, thick: smoothed ({weight:g})." if weight else ", as logged.")


def _settings(study: Snapshot, trial: Trial) -> Block:
    found = config_of(trial)
    if not found.value:
        return Text(
            "settings", found.problem or "config.yaml is not there: it is written when a trial begins.", "empty"
        )
    own = flatten(found.value)
    differs = [a for a in own if a in study.config and own[a] != study.config[a] and not a.startswith(("data.", "qc."))]
    names = list(dict.fromkeys([*[a for a in study.axes if a in own], *differs]))
    absent = {a for a in when_of(study.asked) if a in study.axes and a not in trial.values}
    rows = tuple(
        (
            a,
            "does not exist here" if a in absent else setting_text(own[a]),
            setting_text(study.config[a]) if a in study.config else MISSING,
        )
        for a in names
    )
    if not rows:
        return Text("settings", "Nothing differs from the study's base.", "note")
    return Table(
        "settings", ("setting", "this trial", "base"), rows, caption=f"All settings: {trial.runs[0] / 'config.yaml'}"
    )
