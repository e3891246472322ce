"""What a sweep does about trials whose process dies, and says of those that seem to stand still."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ray.tune import Callback

from scbig_dist.artifacts import write_text
from scbig_dist.cluster.ask import living_nodes
from scbig_dist.cluster.attempts import ATTEMPTS
from scbig_dist.cluster.causes import killed, node_died
from scbig_dist.cluster.leftovers import remove_leftovers
from scbig_dist.cluster.newcomers import Newcomers
from scbig_dist.cluster.resources import check_placeable, needs_of, nodes
from scbig_dist.cluster.search import StudySearch
from scbig_dist.cluster.show import Board
from scbig_dist.cluster.trials import ERROR_FILE, ROW_FILE, make_row, read_json, trial_dir, write_row
from scbig_dist.config import Config
from scbig_dist.errors import UserError
from scbig_dist.train.log import PROGRESS

DEATHS = 5  # of its process, one after the other without a checkpoint between them, end a trial: it starts for seconds, in which it may be struck again
LOOK_S = 20.0  # between two looks at trials that may stand still
STUCK_S = 15 * 60.0  # without a sign of life
SIGNS = (PROGRESS, "metrics.jsonl", "setup.json", "config.yaml", ATTEMPTS)


@dataclass
class _Record:
    """Deaths of a trial since it last got any further."""

    n: int = 0
    reached: list[dict[str, Any]] = field(default_factory=list)


class Deaths(Callback):
    """Tune's callback: a trial whose process died goes on from its checkpoint, however often, as long as it gets further.

    Deaths with their node count for nothing: on machines that come and go they are no fault of the trial's.
    """

    def __init__(self, study_dir: Path, search: StudySearch, board: Board) -> None:
        self._dir, self._search, self._board = study_dir, search, board
        self._records: dict[str, _Record] = {}
        self._looked = time.time()
        self._newcomers = Newcomers(study_dir, living_nodes(), board.warned)
        self._said: set[tuple[str, str]] = set()

    def __getstate__(self) -> dict[str, Any]:
        return {}  # as the searcher

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        text = _text(trial)
        name, line = trial.config["trial"], killed(text)
        record = self._records.setdefault(name, _Record())
        reached = _reached(trial_dir(self._dir, name))
        if reached != record.reached:
            record.n, record.reached = 0, reached
        record.n += not node_died(text)
        if record.n < DEATHS:
            self._board.died(name, line)
        else:  # Tune starts it once more; it then finds that it has ended
            self._end(trial, f"its process died {DEATHS} times without getting any further", line, text)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        text = _text(trial)
        self._end(trial, "its process could not be started again", killed(text), text)
        row = read_json(trial_dir(self._dir, trial.config["trial"]) / ROW_FILE)
        self._search.end(trial.trial_id, row)

    def _end(self, trial: Any, reason: str, line: str, text: str) -> None:
        task = trial.config
        run = trial_dir(self._dir, task["trial"])
        if (run / ROW_FILE).exists():
            return
        run.mkdir(parents=True, exist_ok=True)
        write_text(run / ERROR_FILE, text)
        write_row(self._dir, make_row(run, task["name"], task["values"], "failed", reason, line))

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Say of a trial, once, that it cannot be placed any more, or gives no sign of life; look at nodes that joined;
        give back what the dead still hold."""
        now = time.time()
        if now - self._looked < LOOK_S:
            return
        self._looked = now
        remove_leftovers()
        self._newcomers.look()
        room = nodes()
        for trial in trials:
            name = trial.config["trial"]
            if trial.status == "PENDING" and trial.config["config"] is not None:
                self._once(name, "has no room", _no_room(trial, room))
            elif trial.status == "RUNNING":
                self._once(name, "stands still", stands_still(trial_dir(self._dir, name), now))

    def _once(self, name: str, what: str, text: str | None) -> None:
        if text is None:
            self._said.discard((name, what))
        elif (name, what) not in self._said:
            self._said.add((name, what))
            self._board.noticed(name, text)


def _no_room(trial: Any, room: list[dict[str, float]]) -> str | None:
    try:
        check_placeable([needs_of(Config.model_validate_json(trial.config["config"]))], room, "it waits; it")
    except UserError as error:
        return f"{error} (nodes that join are used at once)"
    return None


def stands_still(run: Path, now: float) -> str | None:
    """A line about a trial that has given no sign of life for STUCK_S."""
    signs = [path.stat().st_mtime for name in SIGNS for path in (*run.glob(name), *run.glob(f"seed-*/{name}"))]
    if not signs or now - max(signs) < STUCK_S:
        return None
    reached = _reached(run)
    where = f"at {reached[-1]['stage']} update {reached[-1]['step']}" if reached else "before its first checkpoint"
    return (
        f"no sign of life for {(now - max(signs)) / 60:.0f} minutes, {where}; it may wait for another trial's autoencoder; "
        f"if not, end its process ({run / ATTEMPTS} names it) and it goes on from its checkpoint"
    )


def _reached(trial: Path) -> list[dict[str, Any]]:
    """The newest checkpoint of each of a trial's runs."""
    return [read_json(path) for path in sorted([*trial.glob(PROGRESS), *trial.glob(f"seed-*/{PROGRESS}")])]


def _text(trial: Any) -> str:
    """Ray's whole text about a trial's end."""
    return str(trial.get_error() or "the process died").strip()
