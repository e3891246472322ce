"""The study at a glance: how far, who leads and by how much, what is stuck, whether it is worth going on."""

from __future__ import annotations

import math
from collections import Counter

from scbig_dist.dashboard.beside import best_of_baselines, best_table, trial_href
from scbig_dist.dashboard.blocks import (
    Block,
    Chart,
    Columns,
    Heading,
    Link,
    Progress,
    Segment,
    Table,
    Text,
    Tile,
    Tiles,
)
from scbig_dist.dashboard.figures import setting_text
from scbig_dist.dashboard.progress import n_places, sharing, silence, spans, stage_progress, time_left
from scbig_dist.dashboard.study import Snapshot
from scbig_dist.dashboard.study_figures import curves, lanes, objective_over_time
from scbig_dist.dashboard.trial import Trial
from scbig_dist.dashboard.view import View
from scbig_dist.report.wording import arrow, bare, duration, score

MOST_NAMED = 6


def study_page(view: View) -> list[Block]:
    study = view.study
    drawn, n_drawn = curves(study, view.logs)
    n_scored = sum(len(group.trials) for group in study.groups)
    return [
        Tiles("tiles", _tiles(view)),
        Progress("progress", _segments(study), study.n_trials),
        *_warnings(view),
        Columns((
            Chart("objective", "Objective over time", study.once("objective", lambda: objective_over_time(study)),
                  _empty(study) if not n_scored else f"{n_scored} trials with a score. Click a point for its trial."),
            Chart("curves", "Validation while training", drawn,
                  "A line per trial, from its first validation on." if drawn is None else
                  f"{n_drawn} trials: those running, then by rank. The best is orange, running ones are green and dashed."),
        )),
        Heading("Best trial", "beside the baselines and the paper"),
        best_table(study),
        Heading("Now"),
        _running(view),
        Columns((
            Chart("lanes", "What ran when", lanes(study, view.now), _lanes_caption(view), 240),
            _sharing(study),
        )),
    ]  # fmt: skip


def _tiles(view: View) -> tuple[Tile, ...]:
    study = view.study
    over, left = len(study.of("finished", "stopped", "failed")), time_left(study, view.now)
    counts = Counter(t.status for t in study.trials.values())
    parts = [f"{counts[s]} {s}" for s in ("running", "failed", "unreadable", "interrupted") if counts[s]]
    tiles = [
        Tile("trials ended", f"{over} of {study.n_trials}", ", ".join(parts) or "none running"),
        _leader(study),
        Tile("time left", _about(left.seconds), left.basis),
    ]
    busy, at_once = counts["running"], n_places(spans(study, view.now))
    tiles.append(Tile("places busy", f"{busy} of {max(at_once, busy)}", _busy_note(view, busy, at_once)))
    shared = sharing(study)
    if shared.made or shared.reused:
        note = f"{shared.reused} of {shared.made + shared.reused} artefacts came from another trial"
        note += f" ({shared.unpriced} without a recorded cost)" if shared.unpriced else ""
        tiles.append(Tile("saved by sharing", duration(shared.seconds_saved) if shared.reused else "none", note))
    else:
        tiles.append(Tile("saved by sharing", "–", "known once a trial has ended"))
    return tuple(tiles)


def _about(seconds: float | None) -> str:
    """No more exact than it is known: whole minutes from one minute on."""
    if seconds is None:
        return "unknown"
    if seconds < 60:
        return "none" if seconds == 0 else f"about {seconds:.0f} s"
    hours, minutes = divmod(math.ceil(seconds / 60), 60)
    return f"about {hours} h {minutes:02d} min" if hours else f"about {minutes} min"


def _busy_note(view: View, busy: int, at_once: int) -> str:
    if not view.study.sweep.at_work:
        return "no sweep is at work"
    idle = max(at_once - busy, 0)
    return f"{idle} idle; {view.study.sweep.basis}" if idle else view.study.sweep.basis


def _leader(study: Snapshot) -> Tile:
    best, metric = study.best, study.metric
    if best is None:
        return Tile(f"best {metric} {arrow(metric)}", "–", "no trial has finished")
    group = study.groups[0]
    note = f"trial {best.title}"
    if len(group.trials) > 1:
        gap = abs(group.trials[0].scores[metric] - group.trials[1].scores[metric])
        note += f", ahead of {group.trials[1].id} by {score(gap, bare(metric))}"
    if baseline := best_of_baselines(study, best, bare(metric)):
        note += f"; on test {score(best.scores.get('test_' + bare(metric)), bare(metric))}, {baseline[0]} {score(baseline[1], bare(metric))}"
    return Tile(
        f"best {metric} {arrow(metric)}",
        Link(score(best.scores[metric], bare(metric)), trial_href(study, best.id)),
        note,
    )


def _segments(study: Snapshot) -> tuple[Segment, ...]:
    counts = Counter(t.status for t in study.trials.values())
    parts = [Segment("finished", counts["finished"], "finished")]
    rungs = Counter(t.rung for t in study.of("stopped"))
    for rung, n in sorted(rungs.items(), key=lambda item: (item[0] is None, item[0] or 0)):
        where = "stopped early" if rung is None else f"stopped at rung {rung}"
        parts.append(Segment(where, n, "stopped"))
    parts += [Segment(s, counts[s], s) for s in ("failed", "unreadable", "interrupted", "running")]
    parts.append(Segment("waiting", study.n_waiting, "waiting"))
    return tuple(part for part in parts if part.n or part.label in ("finished", "running", "waiting"))


def _warnings(view: View) -> list[Block]:
    """What is stuck or broken, each in a sentence; always the same blocks, so that they can come and go."""
    study, lines = view.study, list[str]()
    lines += list(study.problems)
    for trial in study.trials.values():
        if said := silence(trial, view.now):
            lines.append(f"trial {trial.title}: {said}")
    failed = study.of("failed")
    lines += [f"trial {t.title} failed: {t.error or t.reason}" for t in failed[:MOST_NAMED]]
    if len(failed) > MOST_NAMED:
        lines.append(f"{len(failed) - MOST_NAMED} more trials failed: see Trials")
    broken = [t for t in study.trials.values() if t.problems]
    lines += [f"trial {t.title}: {'; '.join(t.problems)}" for t in broken[:MOST_NAMED]]
    if len(broken) > MOST_NAMED:
        lines.append(f"{len(broken) - MOST_NAMED} more trials have files that cannot be read: see Trials")
    text = "\n".join(lines)
    return [Text("warnings", text, "warn")]


def _running(view: View) -> Block:
    study = view.study
    now = study.of("running")
    if not now:
        waiting = f" {study.n_waiting} trials wait." if study.n_waiting else ""
        return Text("running", f"No trial is running: {study.sweep.basis}.{waiting}" if not study.sweep.at_work else
                    f"No trial is running at this moment.{waiting}", "empty")  # fmt: skip
    rows = [_running_row(view, trial) for trial in now]
    columns = ("trial", "at", "for", "note", *study.axes)
    numbers = frozenset(range(4, len(study.axes) + 4))
    return Table("running", columns, tuple(rows), numbers, caption=_waits(view))


def _running_row(view: View, trial: Trial) -> tuple[str | Link, ...]:
    study = view.study
    share, words = stage_progress(study, trial)
    where = words if share is None else f"{share:.0%}  {words}"
    settings = (setting_text(trial.values[a]) if a in trial.values else "–" for a in study.axes)
    since = "–" if trial.began is None else duration(max(view.now - trial.began, 0.0))
    notes = [silence(trial, view.now)]
    if trial.restarts:
        notes.append(f"restarted {trial.restarts} time{'s' if trial.restarts > 1 else ''}")
    if trial.node:
        notes.append(f"on {trial.node}" + (f", GPU {trial.gpus}" if trial.gpus else ""))
    return (Link(trial.id, trial_href(study, trial.id)), where, since, "; ".join(n for n in notes if n), *settings)


def _waits(view: View) -> str:
    return f"{view.study.n_waiting} trials wait: see Cluster for why." if view.study.n_waiting else "No trial waits."


def _lanes_caption(view: View) -> str:
    found = spans(view.study, view.now)
    if not found:
        return "A bar per trial, once one has begun."
    whole = max(s.end for s in found) - min(s.began for s in found)
    share = sum(s.end - s.began for s in found) / (n_places(found) * whole) if whole else 1.0
    return f"A bar per trial, a row per place. Places were busy {min(share, 1.0):.0%} of {duration(whole)}."


def _sharing(study: Snapshot) -> Block:
    shared = sharing(study)
    if not shared.kinds:
        return Text(
            "sharing",
            "What trials share (autoencoders, modules) and the time it saved appears once a trial has ended.",
            "empty",
        )
    rows = tuple(
        (kind, f"{made:,}", f"{reused:,}", duration(saved) if reused else "–")
        for kind, made, reused, saved in shared.kinds
    )
    return Table("sharing", ("artefact", "made", "reused", "saved"), rows, frozenset({1, 2, 3}),
                 caption="Saved: what making it had cost the trial that made it.")  # fmt: skip


def _empty(study: Snapshot) -> str:
    return f"A point per ended trial by {study.metric}, and the best so far. No trial has ended yet."
