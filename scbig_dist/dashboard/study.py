"""A study as it lies on disk at this moment; a snapshot is made again at most every three seconds, from what has changed."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from scbig_dist.cluster.study_schema import STUDY_SCHEMA, schema_of
from scbig_dist.dashboard.files import number, read_json, read_yaml, text, whole
from scbig_dist.dashboard.ranking import Group, Place, groups_of, places
from scbig_dist.dashboard.sweep import Sweep, kernel_locks, sweep_of
from scbig_dist.dashboard.trial import ENDED, Trial, read_trial, signatures, state_of
from scbig_dist.errors import UserError
from scbig_dist.report.wording import arrow
from scbig_dist.settings import addresses

SECONDS = 3.0  # between two looks at the disk, however many readers ask
SETTLED_SECONDS = 30.0  # between two looks at the files of ended trials whose folders have not changed
KNOWN = tuple(addresses())


@dataclass(frozen=True)
class Snapshot:
    """Everything that pages show of a study. `version` grows with any change, `rows_version` when a trial begins or ends."""

    id: str
    path: Path
    asked: Mapping[str, Any]
    trials: Mapping[str, Trial]
    sweep: Sweep
    problems: tuple[str, ...] = ()
    cluster: Mapping[str, Any] = field(default_factory=dict)
    """`ray.json`: where the sweep's Ray answers."""
    version: int = 0
    rows_version: int = 0
    at: float = 0.0
    by_rows: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """What depends on ended trials alone: worked out once, until one begins or ends."""
        if name not in self.by_rows:
            self.by_rows[name] = make()
        return self.by_rows[name]

    @cached_property
    def config(self) -> dict[str, Any]:
        """{address: value} that all trials have but where an axis says otherwise."""
        found = self.asked.get("config")
        return {str(k): v for k, v in found.items()} if isinstance(found, dict) else {}

    @cached_property
    def axes(self) -> list[str]:
        """Every address that differs between trials, in the study's order."""
        return axes_of(self.asked)

    @property
    def metric(self) -> str:
        """What trials are ranked by; of two objectives the first, a score."""
        return self.objectives[0]

    @property
    def mode(self) -> str:
        said = self.asked.get("mode")
        said = said[0] if isinstance(said, list) and said else said
        return said if said in ("max", "min") else "max" if arrow(self.metric) == "↑" else "min"

    @property
    def objectives(self) -> list[str]:
        """What the study optimises: one metric, or two."""
        found = self.asked.get("metric")
        return (
            [text(name) for name in found]
            if isinstance(found, list) and found
            else [text(found) or "val_pearson_delta"]
        )

    @property
    def n_trials(self) -> int:
        """Trials in all; at least those that are there."""
        return max(whole(self.asked.get("n_trials")) or 0, len(self.trials))

    @property
    def n_waiting(self) -> int:
        return self.n_trials - len(self.trials)

    def of(self, *statuses: str) -> list[Trial]:
        return [trial for trial in self.trials.values() if trial.status in statuses]

    @cached_property
    def groups(self) -> list[Group]:
        return groups_of(self.trials.values(), self.metric, self.mode, self.config)

    @cached_property
    def places(self) -> dict[str, Place]:
        return places(self.groups)

    @property
    def best(self) -> Trial | None:
        """The first of the finished trials with the largest budget; trials stopped early do not compete."""
        group = self.groups[0] if self.groups else None
        return group.trials[0] if group and group.trials[0].status == "finished" else None

    def steps_of(self, trial: Trial) -> int | None:
        """Micro-steps of stage 2 that the trial was asked for."""
        return whole(trial.values.get("flow.steps", self.config.get("flow.steps")))

    def setting(self, trial: Trial, address: str) -> Any:
        """A trial's value; None for an axis that does not exist in it."""
        if address in trial.values or (address in self.axes and trial.values and address in when_of(self.asked)):
            return trial.values.get(address)
        return self.config.get(address)


class StudyReader:
    """The newest snapshot of a study, for any number of readers."""

    def __init__(self, name: str, path: Path) -> None:
        self.id, self.path = name, path
        self._lock = threading.Lock()
        self._seen: dict[
            str, tuple[int, tuple[Any, ...], Trial]
        ] = {}  # (change of its folder, of its files, the trial)
        self._snapshot: Snapshot | None = None
        self._looked = self._settled = 0.0
        self._asked_signature: Any = None
        self._shape: Any = None

    def snapshot(self) -> Snapshot:
        with self._lock:
            now = time.monotonic()
            if self._snapshot is None or now - self._looked > SECONDS:
                self._snapshot = self._look()
                self._looked = time.monotonic()
            return self._snapshot

    def _look(self) -> Snapshot:
        before, problems = self._snapshot, list[str]()
        asked: Mapping[str, Any]
        cluster: Mapping[str, Any]
        signature = signatures(self.path, ("study.yaml", "ray.json"))
        if before is None or signature != self._asked_signature:
            found = read_yaml(self.path / "study.yaml")
            cluster = read_json(self.path / "ray.json").value
            asked, said = found.value, found.problem or ("" if found.there else "study.yaml is missing")
        else:
            asked, cluster, said = (
                before.asked,
                before.cluster,
                next((p for p in before.problems if "study.yaml" in p), ""),
            )
        problems += [said] if said else []
        trials = self._trials(axes_of(asked), when_of(asked), signature != self._asked_signature, problems)
        self._asked_signature = signature
        locks, now = kernel_locks(), time.time()
        newest = max((t.heard for t in trials.values() if t.status == "running" and t.heard is not None), default=None)
        sweep = sweep_of(self.path, newest, now, locks)
        if not sweep.at_work:
            trials = {
                name: replace(
                    trial, status="interrupted", reason="its sweep ended first; sweep --resume goes on with it"
                )
                if trial.status == "running"
                else trial
                for name, trial in trials.items()
            }
        fresh = Snapshot(self.id, self.path, asked, trials, sweep, tuple(problems), cluster, at=now)
        if before is None:
            return replace(fresh, version=1, rows_version=1)
        same_rows = [(t.id, t.status, t.scores) for t in trials.values() if t.is_over] == [
            (t.id, t.status, t.scores) for t in before.trials.values() if t.is_over
        ] and {(t.id, t.status) for t in trials.values()} == {(t.id, t.status) for t in before.trials.values()}
        same = same_rows and asked == before.asked and trials == before.trials and sweep.at_work == before.sweep.at_work
        same = same and tuple(problems) == before.problems
        if same:
            return replace(before, at=now, sweep=sweep)
        return replace(
            fresh,
            version=before.version + 1,
            rows_version=before.rows_version + (not same_rows or asked != before.asked),
            by_rows=before.by_rows if same_rows and asked == before.asked else {},
        )

    def _trials(
        self, axes: Sequence[str], when: Mapping[str, Any], anew: bool, problems: list[str]
    ) -> dict[str, Trial]:
        found, outside = dict[str, Trial](), 0
        settled = anew or time.monotonic() - self._settled >= SETTLED_SECONDS
        if settled:
            self._settled = time.monotonic()
        for name, changed in _folders(self.path / "trials", problems):
            if changed is None:
                outside += 1
                continue
            folder = self.path / "trials" / name
            kept = None if anew else self._seen.get(name)
            over = kept is not None and kept[2].status in ENDED
            if kept is not None and over and not settled and kept[0] == changed:
                found[name] = kept[2]
                continue
            now = state_of(folder, over)
            if kept is None or kept[1] != now:
                trial = read_trial(folder, axes, when)
                now = state_of(folder, True) if trial.status in ENDED and not over else now
                kept = (changed, now, trial)
            found[name] = kept[2]
            self._seen[name] = (changed, *kept[1:])
        if outside:
            problems.append(f"trials: {outside} entries are links and were left out")
        for gone in self._seen.keys() - found.keys():
            del self._seen[gone]
        return found


def _folders(path: Path, problems: list[str]) -> Iterator[tuple[str, int | None]]:
    """(name, when a file in it last came, went or was replaced) of what lies in `trials/`, in order; None: a link."""
    try:
        if path.is_symlink():
            problems.append("trials is a link and was left out")
            return
        with os.scandir(path) as entries:
            found = sorted(
                (entry.name, None if entry.is_symlink() else entry.stat(follow_symlinks=False).st_mtime_ns)
                for entry in entries
                if not entry.name.startswith(".") and (entry.is_symlink() or entry.is_dir())
            )
    except OSError:
        return
    yield from found


def axes_of(asked: Mapping[str, Any]) -> list[str]:
    """Every address that the study varies: its axes, then what its points name."""
    axes, points = asked.get("axes"), asked.get("points")
    names = list(axes) if isinstance(axes, dict) else list(axes) if isinstance(axes, list) else []
    for point in points.values() if isinstance(points, dict) else []:
        names += list(point) if isinstance(point, dict) else []
    return [name for name in dict.fromkeys(map(str, names)) if name in KNOWN]


def when_of(asked: Mapping[str, Any]) -> Mapping[str, Any]:
    """{axis: {other axis: values}}: in which trials an axis exists (cluster/axes.py)."""
    found = asked.get("when")
    if not isinstance(found, dict):
        return {}
    whole_ones = {axis: others for axis, others in found.items() if isinstance(others, dict)}
    return {axis: each for axis, each in whole_ones.items() if all(isinstance(v, list) for v in each.values())}


def check_study(path: Path) -> Path:
    """The study's own folder; a UserError where the page could not show it."""
    if not path.exists():
        raise UserError(f"dashboard {path}: no such folder; give a study, e.g. one beneath runs/")
    if not path.is_dir():
        raise UserError(f"dashboard {path}: a file; give the folder of a study")
    if not (path / "study.yaml").exists() and not (path / "trials").is_dir():
        inside = sorted(str(each.parent) for each in path.glob("*/study.yaml"))
        remedy = f"it holds studies: {', '.join(inside[:4])}" if inside else "'scbig sweep … -o STUDY' writes one"
        raise UserError(f"dashboard {path}: no study (no study.yaml, no trials/); {remedy}")
    asked = read_yaml(path / "study.yaml").value
    schema = schema_of(asked)
    if asked and number(schema) != STUDY_SCHEMA:
        raise UserError(
            f"dashboard {path}: study.yaml has schema {str(schema)[:20]}, this version reads {STUDY_SCHEMA}; "
            "install the version of scbig-dist that wrote it"
        )
    return path.resolve()


def name_studies(paths: Sequence[Path]) -> dict[str, StudyReader]:
    """Readers by a short name that a URL can hold, the folder's own where it is unique."""
    readers: dict[str, StudyReader] = {}
    for path in dict.fromkeys(check_study(path) for path in paths):
        base = "".join(c if c.isalnum() or c in "-_." else "-" for c in path.name) or "study"
        name, n = base, 1
        while name in readers:
            n += 1
            name = f"{base}-{n}"
        readers[name] = StudyReader(name, path)
    return readers
