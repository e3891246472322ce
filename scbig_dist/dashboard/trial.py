"""One trial as its folder shows it at this moment: ended with a row, running, or left behind by a sweep that is gone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scbig_dist.cluster.axes import existing
from scbig_dist.dashboard.files import (
    Found,
    last_record,
    number,
    read_json,
    read_yaml,
    signature,
    text,
    whole,
)
from scbig_dist.dashboard.starts import ATTEMPTS, WORKERS, Starts, read_starts
from scbig_dist.settings import flatten

ENDED = ("finished", "stopped", "failed")
WATCHED = ("trial.json", "run.json", "setup.json", ATTEMPTS, WORKERS, "stop.json", "metrics.jsonl", "error.txt")
SEEDS = "seeds.json"
SETTLED = ("trial.json", "run.json")  # what may still change once a trial has ended: test scores come last
DEVIATION = "_sd"  # beside a score that is a mean over seeds
COSTS = (
    "step_ms", "autoencoder_step_ms", "cells_per_s", "peak_mem_gb", "peak_gpu_gb", "n_parameters", "seconds_to_first_step",
    "seconds_autoencoder", "seconds_flow", "seconds_total", "stage1_ms", "stage2_ms", "stage1_gb", "stage2_gb",
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
    deviations: Mapping[str, float] = field(default_factory=dict)
    """Of the scores that are means over seeds: their standard deviation (n − 1)."""
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
    runs: tuple[Path, ...] = ()
    """Its own folder, or of a trial of several seeds a folder each, in their order."""
    at_run: int = 0
    """Which of them has logged last."""
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


def state_of(folder: Path, over: bool) -> tuple[Any, ...]:
    """What changes when something is to be read again; of a trial that has ended only what may still come."""
    if over:
        return signatures(folder, SETTLED)
    return signatures(folder, (*WATCHED, SEEDS)) + tuple(
        each for run in runs_of(folder) if run != folder for each in signatures(run, WATCHED)
    )


def runs_of(folder: Path) -> tuple[Path, ...]:
    """The trial's own folder, or of a trial of several seeds a folder each (train/seeds.py); links are left out."""
    seeds = read_json(folder / SEEDS).value.get("seeds")
    numbers = [seed for seed in seeds if isinstance(seed, int)] if isinstance(seeds, list) else []
    runs = [folder / f"seed-{seed}" for seed in numbers]
    return tuple(run for run in runs if not run.is_symlink()) or (folder,)


def read_trial(folder: Path, addresses: Sequence[str], when: Mapping[str, Any] | None = None) -> Trial:
    """Everything but its curves. Whatever cannot be read is named in `problems` and counts as unknown.

    `when`: the study's word on which axes exist in which trials (cluster/axes.py).
    """
    row = read_json(folder / "trial.json")
    runs = runs_of(folder)
    summaries = [read_json(run / "run.json") for run in runs]
    starts = read_starts(folder, runs)
    at_run = max((i for i, run in enumerate(runs) if signature(run / "metrics.jsonl") is not None), default=0)
    last = last_record(runs[at_run] / "metrics.jsonl")
    problems = [found.problem for found in (row, *summaries) if found.problem] + list(starts.problems)
    heard = number(last.get("time"))
    known: dict[str, Any] = {
        "runs": runs,
        "at_run": at_run,
        "artifacts": tuple(each for found in summaries for each in _artifacts(found.value, problems)),
        "heard": heard,
        "stage": text(last.get("stage")),
        "step": whole(last.get("micro_step")),
        "loss": number(last.get("loss")),
        **_placed(row.value, starts),
    }
    stage_one = summaries[0].value.get("autoencoder_step_ms")  # rows of an older sweep lack it
    if row.there and (row.problem or row.value.get("status") not in ENDED):
        if not row.problem:
            problems.append(f"trial.json: status {str(row.value.get('status'))[:40]!r} is none that a trial ends with")
        return Trial(folder.name, folder, "unreadable", problems=tuple(problems), **known)
    if row.there:
        return _ended(folder, row.value, addresses, stage_one, problems, known)
    return _open(folder, addresses, when or {}, last, starts, problems, known)


def _ended(
    folder: Path, row: Mapping[str, Any], addresses: Sequence[str], stage_one: Any, problems: list[str], known: dict[str, Any]
) -> Trial:  # fmt: skip
    costs = {name: value for name in COSTS if (value := number(row.get(name))) is not None}
    if (step_ms := number(stage_one)) is not None:
        costs.setdefault("autoencoder_step_ms", step_ms)
    scores = {n: v for n, each in row.items() if n.startswith(("val_", "test_")) and (v := number(each)) is not None}
    deviations = {n.removesuffix(DEVIATION): v for n, v in scores.items() if n.endswith(DEVIATION)}
    # A trial is scored behind the last line of its log; rows of an older sweep do not say when that was.
    ended, seconds = number(row.get("ended")) or known["heard"], costs.get("seconds_total")
    if cut := _cut_short(row, known):
        problems.append(cut)
        ended = None
    elif (
        ended is None and row["status"] == "failed"
    ):  # it died before its first line: its row's own time stands for its end
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
        scores={n: v for n, v in scores.items() if not n.endswith(DEVIATION)},
        deviations=deviations,
        costs=costs,
        budget=whole(row.get("budget")),
        began=None if ended is None or seconds is None else ended - seconds,
        ended=ended,
        problems=tuple(problems),
        **known,
    )


def _cut_short(row: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    """What to say where the log ends before its trial did, as in a folder that was copied by half."""
    budget, step = whole(row.get("budget")), known["step"]
    if row["status"] != "finished" or not budget or len(known["runs"]) > 1:
        return ""
    if step is None:
        return "metrics.jsonl is not there: no curves, and no time of its end"
    judged = known["stage"] in ("flow", "cells")
    return (
        ""
        if judged and step >= budget
        else f"metrics.jsonl is cut short: {known['stage']}, step {step:,}, is its last line"
    )


def _open(
    folder: Path, addresses: Sequence[str], when: Mapping[str, Any], last: Mapping[str, Any],
    starts: Starts, problems: list[str], known: dict[str, Any],
) -> Trial:  # fmt: skip
    """A trial without a row: it is under way, or was when its sweep ended."""
    config = read_yaml(known["runs"][0] / "config.yaml")
    if config.problem:
        problems.append(config.problem)
    flat = flatten(config.value)
    began = starts.attempts[0].began if starts.attempts else None
    if began is None and (kept := signature(known["runs"][0] / "config.yaml")) is not None:
        began = kept[2] / 1e9
    judged = known["stage"] in ("flow", "cells")
    return Trial(
        id=folder.name,
        folder=folder,
        values=existing(
            {address: flat[address] for address in addresses if address in flat}, when
        ),  # a config has a value for every address
        scores={
            n: v for n, each in last.items() if judged and n.startswith("val_") and (v := number(each)) is not None
        },
        costs={n: v for n in COSTS if (v := number(last.get(n))) is not None},
        budget=known["step"] if judged else 0,
        began=began,
        problems=tuple(problems),
        **known,
    )


def _placed(row: Mapping[str, Any], starts: Starts) -> dict[str, Any]:
    """Where it ran and how often it began, from its row or from the starts of its processes."""
    last = starts.last
    restarts, gpus = whole(row.get("restarts")), row.get("gpus")
    listed = ",".join(map(str, gpus)) if isinstance(gpus, list) else text(gpus)
    return {
        "restarts": starts.restarts if restarts is None else restarts,
        "node": text(row.get("node")).replace(",", ", ") or (last.nodes if last else ""),
        "gpus": listed.replace(",", ", ") or (last.gpus if last else ""),
        "pid": starts.attempts[-1].processes[0].pid if starts.attempts else None,
        "stopped_by": text(row.get("stopped_by")),
        "rung": whole(row.get("rung")),
    }


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
    """The config of a trial; of several seeds that of the first, whose settings the others share."""
    return read_yaml((trial.runs or (trial.folder,))[0] / "config.yaml")
