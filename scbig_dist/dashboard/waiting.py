"""Why a trial waits, in a sentence: from what it asks for, what runs, and what the cluster has."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scbig_dist.cluster.axes import combinations
from scbig_dist.dashboard.cluster import Cluster
from scbig_dist.dashboard.files import number
from scbig_dist.dashboard.study import Snapshot, when_of
from scbig_dist.dashboard.trial import Trial

MOST_LISTED = 50
MOST_POINTS = 10_000  # of a grid that is written out
UNITS = {"CPU": 1.0, "GPU": 1.0, "memory": 1e9}
NAMES = {"CPU": "CPUs", "GPU": "GPUs", "memory": "GB of memory"}


@dataclass(frozen=True)
class Waiting:
    """`values` None: the sampler chooses them when the trial starts."""

    id: str
    name: str
    values: Mapping[str, Any] | None
    why: str


def waiting_trials(study: Snapshot, cluster: Cluster) -> list[Waiting]:
    """The next trials that have not begun, at most MOST_LISTED."""
    begun = len(study.trials)
    points = list(itertools.islice(_points(study), MOST_POINTS))
    found = []
    for number_ in range(begun, min(study.n_trials, begun + MOST_LISTED)):
        name, values = points[number_] if number_ < len(points) else ("", None)
        found.append(
            Waiting(
                f"{number_:04d}", name, values, reason(study, cluster, values or {}, number_ - begun, values is None)
            )
        )
    return found


def _points(study: Snapshot) -> Any:
    """(name, values) in the order in which the sweep takes them: named ones, then the grid (cluster/plan.py)."""
    points, axes, when = study.asked.get("points"), study.asked.get("axes"), when_of(study.asked)
    named = list(points.items()) if isinstance(points, dict) else []
    for name, values in named:
        yield str(name), values if isinstance(values, dict) else {}
    if study.asked.get("sampler", "grid") == "grid" and isinstance(axes, dict) and axes:
        lists = [v for v in axes.values() if isinstance(v, list)]
        if len(lists) == len(axes):
            given = [values for _, values in named]
            for values in combinations(axes, when):
                if values not in given:
                    yield "", values


def reason(study: Snapshot, cluster: Cluster, values: Mapping[str, Any], place: int, chosen_later: bool) -> str:
    """One sentence; `place` trials stand before it."""
    later = " Its settings are chosen when it starts." if chosen_later else ""
    if not study.sweep.at_work:
        return "No sweep is at work; 'scbig sweep … --resume' goes on with the study."
    needs = needs_of(study, values)
    asks = "It asks for " + said(needs)
    running = study.of("running")
    who = _names(running)
    if cluster.answers:
        nodes = [node.resources for node in cluster.nodes if node.alive]
        for name, amount in needs.items():
            most = max((node.get(name, 0.0) for node in nodes), default=0.0)
            if nodes and most < amount:
                return f"{asks}; no node has that: the largest has {most / UNITS[name]:.3g} {NAMES[name]}. It cannot start here."
        for name, amount in needs.items():
            used, total = cluster.usage.get(name, (0.0, 0.0))
            if total and total - used < amount - 1e-9:
                have = f"{used / UNITS[name]:.3g} of {total / UNITS[name]:.3g} {NAMES[name]}"
                return f"{asks}; {have} are in use{who}. " + _turn(place, running) + later
        return (
            f"{asks}; the cluster has room for it: its process is being started, or the sweep is scoring. "
            + _turn(place, running)
            + later
        )
    if running:
        return f"{asks}; as many as run at once do{who}. " + _turn(place, running) + later
    return f"{asks}; the sweep is starting its first processes." + later


def _turn(place: int, running: Sequence[Trial]) -> str:
    if not running:
        return "It is next." if place == 0 else f"{place} {'trial stands' if place == 1 else 'trials stand'} before it."
    return (
        "It is next: it starts when a running trial ends."
        if place == 0
        else f"{place} {'trial stands' if place == 1 else 'trials stand'} before it."
    )


def _names(trials: Sequence[Trial]) -> str:
    names = [trial.id for trial in trials]
    return (
        f" (trial{'s' if len(names) > 1 else ''} {', '.join(names[:8])}{' …' if len(names) > 8 else ''})"
        if names
        else ""
    )


def needs_of(study: Snapshot, values: Mapping[str, Any]) -> dict[str, float]:
    """What one worker of a trial asks Ray for (cluster/resources.py)."""

    def setting(address: str, default: float) -> float:
        found = number(values.get(address, study.config.get(address)))
        return default if found is None else found

    wanted = {
        "CPU": setting("train.threads", 1.0),
        "GPU": setting("train.gpus", 0.0),
        "memory": 1e9 * setting("train.memory_gb", 0.0),
    }
    asked = values.get("train.workers", study.config.get("train.workers", 1))
    workers = number(str(asked).split("-")[0]) or 1.0  # of a range the least
    return {
        name: amount * (workers if name == "CPU" and workers > 1 else 1.0)
        for name, amount in wanted.items()
        if amount > 0
    }


def said(needs: Mapping[str, float]) -> str:
    parts = []
    for name, amount in needs.items():
        n = amount / UNITS[name]
        parts.append(f"{n:g} {NAMES[name].removesuffix('s') if n == 1 else NAMES[name]}")
    return " and ".join(parts) or "nothing"
