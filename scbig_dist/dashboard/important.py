"""Importances, computed beside the page: a forest over hundreds of trials takes longer than a reader waits."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from scbig_dist.dashboard.axis_figures import value_of
from scbig_dist.dashboard.figures import setting_text
from scbig_dist.dashboard.study import Snapshot
from scbig_dist.dashboard.trial import Trial

MOST_TRIALS = 400
GROWTH = 1.1  # computed again when so many times the trials have ended


@dataclass(frozen=True)
class Found:
    shares: dict[str, float]
    n: int
    problem: str = ""


class Importances:
    """By study and metric; `None` while the first is being computed."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], Found] = {}
        self._busy: set[tuple[str, str]] = set()
        self._lock = threading.Lock()
        self.version = 0

    def of(self, study: Snapshot, trials: list[Trial], metric: str) -> Found | None:
        shown = [t for t in trials if value_of(t, metric) is not None and all(a in t.values for a in study.axes)]
        key = (study.id, metric)
        with self._lock:
            kept = self._found.get(key)
            stale = kept is None or len(shown) >= max(kept.n * GROWTH, kept.n + 1) or len(shown) < kept.n
            if stale and key not in self._busy and len(shown) >= 4:
                self._busy.add(key)
                threading.Thread(target=self._compute, args=(key, study, shown, metric), daemon=True).start()
        if len(shown) < 4:
            return Found({}, len(shown))
        return kept

    def _compute(self, key: tuple[str, str], study: Snapshot, trials: list[Trial], metric: str) -> None:
        from scbig_dist.cluster.importance import importance  # brings Optuna and a forest: only where it is asked for

        step = -(-len(trials) // MOST_TRIALS)
        some = trials[::step]
        settings = [{a: _plain(t.values[a]) for a in study.axes} for t in some]
        try:
            found = Found(importance(settings, [value_of(t, metric) or 0.0 for t in some]), len(trials))
        except (ValueError, RuntimeError, ZeroDivisionError) as error:
            found = Found({}, len(trials), f"fANOVA could not be computed: {error}")
        with self._lock:
            self._found[key] = found
            self._busy.discard(key)
            self.version += 1


def _plain(value: object) -> object:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else setting_text(value)
