"""How far a study is and how long it will take, with what the answer rests on."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from scbig_dist.dashboard.files import number
from scbig_dist.dashboard.study import Snapshot
from scbig_dist.dashboard.trial import Trial
from scbig_dist.report.wording import duration

OVERLAP_SECONDS = 3.0
SILENT_SECONDS = 180.0  # without a line of log before a running trial is pointed at


@dataclass(frozen=True)
class TimeLeft:
    """None where nothing is known yet; `basis` says why, or what the seconds rest on."""

    seconds: float | None
    basis: str


def time_left(study: Snapshot, now: float) -> TimeLeft:
    """Trials to go times a trial's mean time, over as many as run side by side; trials under way count for their rest."""
    running = study.of("running")
    if not study.n_waiting and not running and not study.of("interrupted"):
        return TimeLeft(0.0, "every trial has ended")
    if not study.sweep.at_work:
        return TimeLeft(None, "no sweep is at work: sweep --resume goes on")
    took = [t.seconds for t in study.of("finished", "stopped") if t.seconds]
    if not took:
        return TimeLeft(None, "known once the first trial has ended")
    each = statistics.fmean(took)
    side = max(len(running), 1)
    rest = sum(max(each - (now - t.began), 0.0) for t in running if t.began is not None)
    seconds = (rest + each * study.n_waiting) / side
    n = "1 trial" if len(took) == 1 else f"{len(took)} trials"
    return TimeLeft(seconds, f"mean of {n} that ended: {duration(each)} each, {side} at a time")


def stage_progress(study: Snapshot, trial: Trial) -> tuple[float | None, str]:
    """(share of its stage, in words) of a trial under way."""
    if not trial.stage or trial.step is None:
        return None, "starting: no line of log yet"
    share, words = _at(study, trial, trial.step)
    n = len(trial.runs)
    return share, f"seed {trial.at_run + 1} of {n}: {words}" if n > 1 else words


def _at(study: Snapshot, trial: Trial, step: int) -> tuple[float | None, str]:
    if trial.stage == "flow":
        of = study.steps_of(trial)
        if of:
            return min(step / of, 1.0), f"flow, {step:,} of {of:,} micro-steps"
    if trial.stage == "cells":
        most = number(study.setting(trial, "baseline.steps"))
        if most:
            return min(step / most, 1.0), f"training, {step:,} of at most {most:,.0f} steps"
    return None, f"{trial.stage}, step {step:,}"


def silence(trial: Trial, now: float) -> str:
    """What to say of a running trial that has not been heard of; empty where all is well."""
    since = trial.heard if trial.heard is not None else trial.began
    if trial.status != "running" or since is None or now - since < SILENT_SECONDS:
        return ""
    return f"no line of log for {duration(now - since)}"


@dataclass(frozen=True)
class Span:
    """A trial's time on a place, which is one of those that run side by side."""

    place: int
    began: float
    end: float
    trial: Trial


def spans(study: Snapshot, now: float) -> list[Span]:
    """Every trial that has begun, on the first place that was free."""
    free, found = list[float](), list[Span]()
    known = []
    for trial in study.trials.values():
        end = trial.ended if trial.is_over else now if trial.status == "running" else trial.heard
        if trial.began is not None and end is not None and end >= trial.began:
            known.append((trial.began, end, trial))
    for began, end, trial in sorted(known, key=lambda each: each[0]):
        # An end is known by the last line of log: the next trial may seem to begin a moment before it.
        place = next((i for i, until in enumerate(free) if until <= began + OVERLAP_SECONDS), len(free))
        free[place : place + 1] = [end]
        found.append(Span(place, began, end, trial))
    return found


def n_places(found: list[Span]) -> int:
    return 1 + max((span.place for span in found), default=-1)


@dataclass(frozen=True)
class Sharing:
    """What trials took from each other instead of computing it again."""

    made: int
    reused: int
    seconds_saved: float
    kinds: tuple[tuple[str, int, int, float], ...]
    """(kind, made, reused, seconds saved)."""
    unpriced: int
    """Reused without a record of what making them cost: not in the seconds."""


def sharing(study: Snapshot) -> Sharing:
    kinds: dict[str, list[float]] = {}
    unpriced = 0
    for trial in study.trials.values():
        for artifact in trial.artifacts:
            entry = kinds.setdefault(artifact.kind or "artefact", [0, 0, 0.0])
            entry[1 if artifact.reused else 0] += 1
            if artifact.reused:
                entry[2] += artifact.seconds or 0.0
                unpriced += artifact.seconds is None
    rows = tuple((kind, int(made), int(reused), saved) for kind, (made, reused, saved) in sorted(kinds.items()))
    return Sharing(sum(r[1] for r in rows), sum(r[2] for r in rows), sum(r[3] for r in rows), rows, unpriced)
