"""One trial as its folder shows it at this moment: ended with a row, running, or left behind by a sweep that is gone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scbig_dist.dashboard.files import (
    Found,
    last_record,
    number,
    read_bytes,
    read_json,
    read_yaml,
    signature,
    text,
    whole,
)
from scbig_dist.settings import flatten

ENDED = ("finished", "stopped", "failed")
WATCHED = ("trial.json", "run.json", "setup.json", "attempts.jsonl", "stop.json", "metrics.jsonl", "error.txt")
SETTLED = ("trial.json", "run.json")  # what may still change once a trial has ended: test scores come last
COSTS = (
    "step_ms", "cells_per_s", "peak_mem_gb", "n_parameters", "seconds_to_first_step", "seconds_autoencoder",
    "seconds_flow", "seconds_total", "stage1_ms", "stage2_ms", "stage1_gb", "stage2_gb",
)  # fmt: skip


@dataclass(frozen=True)
class Artifact:
    """A part of a trial that may come from another one; `seconds`: what making it cost whoever made it."""

    kind: str
    key: str
    reused: bool
    seconds: float | None


@dataclass(frozen=True)
class Trial:
    """`status` is one of ENDED, `running`, `interrupted` (no sweep is at work), or `unreadable`. None: not recorded."""

    id: str
    folder: Path
    status: str = "running"
    name: str = ""
    reason: str = ""
    error: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    costs: Mapping[str, float] = field(default_factory=dict)
    budget: int | None = None
    """Micro-steps of the stage that it is judged by."""
    stage: str = ""
    step: int | None = None
    """Micro-steps of the stage that it is in."""
    loss: float | None = None
    began: float | None = None
    ended: float | None = None
    heard: float | None = None
    """Its last line of log."""
    stopped_by: str = ""
    rung: int | None = None
    restarts: int | None = None
    node: str = ""
    gpus: str = ""
    pid: int | None = None
    artifacts: tuple[Artifact, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def is_over(self) -> bool:
        return self.status in ENDED

    @property
    def seconds(self) -> float | None:
        return self.costs.get("seconds_total")

    @property
    def title(self) -> str:
        return f"{self.id} ({self.name})" if self.name else self.id


def signatures(folder: Path, names: Sequence[str]) -> tuple[Any, ...]:
    return tuple(signature(folder / name) for name in names)


def read_trial(folder: Path, addresses: Sequence[str]) -> Trial:
    """Everything but its curves. Whatever cannot be read is named in `problems` and counts as unknown."""
    row = read_json(folder / "trial.json")
    summary = read_json(folder / "run.json")
    attempts, torn = _attempts(folder / "attempts.jsonl")
    last = last_record(folder / "metrics.jsonl")
    problems = [found.problem for found in (row, summary) if found.problem] + torn
    heard = number(last.get("time"))
    known: dict[str, Any] = {
        "artifacts": _artifacts(summary.value, problems),
        "heard": heard,
        "stage": text(last.get("stage")),
        "step": whole(last.get("micro_step")),
        "loss": number(last.get("loss")),
        **_placed(row.value, attempts),
    }
    stage_one = summary.value.get("autoencoder_step_ms")
    if row.there and (row.problem or row.value.get("status") not in ENDED):
        if not row.problem:
            problems.append(f"trial.json: status {str(row.value.get('status'))[:40]!r} is none that a trial ends with")
        return Trial(folder.name, folder, "unreadable", problems=tuple(problems), **known)
    if row.there:
        return _ended(folder, row.value, addresses, stage_one, problems, known)
    return _open(folder, addresses, last, attempts, problems, known)


def _ended(
    folder: Path, row: Mapping[str, Any], addresses: Sequence[str], stage_one: Any, problems: list[str], known: dict[str, Any]
) -> Trial:  # fmt: skip
    costs = {name: value for name in COSTS if (value := number(row.get(name))) is not None}
    if (step_ms := number(stage_one)) is not None:
        costs["autoencoder_step_ms"] = step_ms
    ended, seconds = known["heard"], costs.get("seconds_total")
    if ended is None:  # it died before its first line: the row's own time stands for its end
        kept = signature(folder / "trial.json")
        ended = kept[2] / 1e9 if kept else None
    return Trial(
        id=folder.name,
        folder=folder,
        status=row["status"],
        name=text(row.get("name")),
        reason=text(row.get("reason")),
        error=text(row.get("error")),
        values={address: row[address] for address in addresses if address in row},
        scores={
            name: value
            for name, each in row.items()
            if name.startswith(("val_", "test_")) and (value := number(each)) is not None
        },
        costs=costs,
        budget=whole(row.get("budget")),
        began=None if ended is None or seconds is None else ended - seconds,
        ended=ended,
        problems=tuple(problems),
        **known,
    )


def _open(
    folder: Path, addresses: Sequence[str], last: Mapping[str, Any], attempts: list[dict[str, Any]],
    problems: list[str], known: dict[str, Any],
) -> Trial:  # fmt: skip
    """A trial without a row: it is under way, or was when its sweep ended."""
    config = read_yaml(folder / "config.yaml")
    if config.problem:
        problems.append(config.problem)
    flat = flatten(config.value)
    began = number(attempts[0].get("began")) if attempts else None
    if began is None and (kept := signature(folder / "config.yaml")) is not None:
        began = kept[2] / 1e9
    judged = known["stage"] in ("flow", "cells")
    return Trial(
        id=folder.name,
        folder=folder,
        values={address: flat[address] for address in addresses if address in flat},
        scores={
            n: v for n, each in last.items() if judged and n.startswith("val_") and (v := number(each)) is not None
        },
        costs={n: v for n in COSTS if (v := number(last.get(n))) is not None},
        budget=known["step"] if judged else 0,
        began=began,
        problems=tuple(problems),
        **known,
    )


def _placed(row: Mapping[str, Any], attempts: list[dict[str, Any]]) -> dict[str, Any]:
    """Where it ran and how often it began, from its row or from the starts of its process."""
    last = attempts[-1] if attempts else {}
    gpus = row.get("gpus", last.get("gpus"))
    restarts = whole(row.get("restarts"))
    return {
        "restarts": max(len(attempts) - 1, 0) if restarts is None and attempts else restarts,
        "node": text(row.get("node") or last.get("node")),
        "gpus": ", ".join(map(str, gpus)) if isinstance(gpus, list) else text(gpus),
        "pid": whole(last.get("pid")),
        "stopped_by": text(row.get("stopped_by")),
        "rung": whole(row.get("rung")),
    }


def _attempts(path: Path) -> tuple[list[dict[str, Any]], list[str]]:
    if signature(path) is None:
        return [], []
    try:
        lines = read_bytes(path).decode("utf-8", errors="replace").splitlines()
    except OSError:
        return [], [f"{path.name} cannot be read"]
    found, bad = [], 0
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if isinstance(record, dict):
            found.append(record)
        else:
            bad += 1
    return found, [f"{path.name}: {bad} of {len(lines)} lines are half-written and were left out"] if bad else []


def _artifacts(summary: Mapping[str, Any], problems: list[str]) -> tuple[Artifact, ...]:
    """As `run.json` lists them; an older one tells of the autoencoder alone."""
    listed = summary.get("artifacts")
    if isinstance(listed, list):
        whole_ones = [each for each in listed if isinstance(each, dict)]
        if len(whole_ones) < len(listed):
            problems.append("run.json: some artefacts are not in their format and were left out")
        return tuple(
            Artifact(text(a.get("kind")), text(a.get("key")), a.get("reused") is True, number(a.get("seconds")))
            for a in whole_ones
        )
    if "autoencoder_reused" in summary:
        reused = summary["autoencoder_reused"] is True
        return (Artifact("autoencoder", "", reused, number(summary.get("seconds_autoencoder"))),)
    return ()


def config_of(trial: Trial) -> Found:
    return read_yaml(trial.folder / "config.yaml")
