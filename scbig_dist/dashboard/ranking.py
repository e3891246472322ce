"""Trials ranked, and only beside those with the same budget."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from scbig_dist.dashboard.trial import Trial

BUDGETS = (
    "flow.steps",
    "autoencoder.epochs",
    "baseline.steps",
)  # settings that are a budget, where a study varies them
SCBIG = "scbig"


@dataclass(frozen=True)
class Group:
    """Trials that had the same budget, the best first; `order` sorts the largest budget of finished trials to the front."""

    label: str
    order: tuple[int, float]
    trials: tuple[Trial, ...]


@dataclass(frozen=True)
class Place:
    """A trial's rank among the `of` trials of its group."""

    rank: int
    of: int
    group: str


def groups_of(trials: Iterable[Trial], metric: str, mode: str, config: Mapping[str, Any]) -> list[Group]:
    """Ended trials with a score, by budget. `config` is the study's own, for what no axis names."""
    found: dict[tuple[str, tuple[int, float]], list[Trial]] = {}
    for trial in trials:
        if trial.status in ("finished", "stopped") and metric in trial.scores:
            found.setdefault(_budget(trial, config), []).append(trial)
    sign = 1 if mode == "max" else -1
    return [
        Group(label, order, tuple(sorted(members, key=lambda t: -sign * t.scores[metric])))
        for (label, order), members in sorted(found.items(), key=lambda item: item[0][1])
    ]


def places(groups: Iterable[Group]) -> dict[str, Place]:
    return {
        trial.id: Place(rank, len(group.trials), group.label)
        for group in groups
        for rank, trial in enumerate(group.trials, 1)
    }


def _budget(trial: Trial, config: Mapping[str, Any]) -> tuple[str, tuple[int, float]]:
    model = trial.values.get("model.name", config.get("model.name", SCBIG))
    steps = trial.budget or 0
    varied = [f"{address} {trial.values[address]}" for address in BUDGETS[1:] if address in trial.values]
    more = f", {', '.join(varied)}" if varied else ""
    if trial.status == "stopped":
        return f"stopped at {steps:,} micro-steps{more}", (2, -steps)
    if model != SCBIG:  # closed forms have no steps, the others end by a rule of their own
        return f"baselines, each by its own rule{more}", (1, 0.0)
    return f"{steps:,} micro-steps{more}", (0, -steps)


def running_best(group: Group, metric: str, mode: str) -> list[tuple[float, float, Trial]]:
    """(end, best so far, the trial) whenever a trial of the group became the best."""
    better = max if mode == "max" else min
    steps: list[tuple[float, float, Trial]] = []
    for trial in sorted((t for t in group.trials if t.ended is not None), key=lambda t: t.ended or 0.0):
        value = trial.scores[metric]
        if not steps or (value != steps[-1][1] and better(value, steps[-1][1]) == value):
            steps.append((trial.ended or 0.0, value, trial))
    return steps
