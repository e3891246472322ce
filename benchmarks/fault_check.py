"""Everything that must hold once a sweep under faults has ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import yaml

from benchmarks.fault_sweep import Fault, Sweep, read_json, read_lines
from scbig_dist.artifacts import Shelf
from scbig_dist.artifacts.listing import list_place


@dataclass
class Found:
    """What a sweep under faults has left; `wrong` names each thing that does not hold."""

    n_trials: int = 0
    n_finished: int = 0
    n_alone: int = 0
    """Trials of one worker, whose scores must be the undisturbed ones."""
    unequal: int = 0
    apart: float = 0.0
    """The most that a score of a trial of two workers differs."""
    n_artifacts: int = 0
    half: int = 0
    beside: int = 0
    """What makers who died left beside the artefacts, where no reader looks."""
    repeated: list[int] = field(default_factory=list)
    """Updates done again, per restart that repeated any."""
    wrong: list[str] = field(default_factory=list)


def examine(sweep: Sweep, calm: Sweep) -> Found:
    """Lay what a struck sweep has left beside an undisturbed one of the same study."""
    found = Found()
    for undisturbed in sorted((calm.out / "trials").glob("*/trial.json")):
        run = sweep.out / "trials" / undisturbed.parent.name
        where, row = f"{sweep.out.name} trial {run.name}", read_json(run / "trial.json")
        found.n_trials += 1
        if row.get("status") != "finished":
            found.wrong.append(f"{where}: {row.get('status')}: {row.get('error')}")
            for fault in sweep.faults:
                fault.lost |= fault.trial == run.name
            continue
        found.n_finished += 1
        scores = {key: value for key, value in read_json(undisturbed).items() if key.startswith(("val_", "test_"))}
        apart = max(_apart(row.get(key), value) for key, value in scores.items())
        if sweep.workers == 1:
            found.n_alone += 1
            found.unequal += apart > 0
            if apart > 0:
                found.wrong.append(f"{where}: a score differs by {apart:g}")
        else:
            found.apart = max(found.apart, apart)
        _repeated(found, run, sweep.faults, where)
    _artifacts(found, sweep.out)
    return found


def _apart(one: float | None, other: float | None) -> float:
    if one is None or other is None:
        return 0.0 if one is other else float("inf")
    return abs(one - other)


def _repeated(found: Found, run: Path, faults: list[Fault], where: str) -> None:
    """Each restart went on from the newest checkpoint there was, or from the one before where that was cut."""
    interval = yaml.safe_load((run / "config.yaml").read_text())["train"]["checkpoint_every"]
    for each in read_lines(run / "repeated.jsonl"):
        n = each["reached"] - each["from"]
        found.repeated.append(n)
        before = [fault for fault in faults if fault.struck < each["time"]]
        cut = any(fault.kind == "checkpoint" and fault.trial == run.name for fault in before)
        stage, step = before[-1].kept.get(run.name, ("", 0)) if before else ("", 0)
        if n > interval * (1 + cut):
            found.wrong.append(f"{where}: {n} updates repeated")
        if stage == each["stage"] and each["from"] < step - interval * cut:
            found.wrong.append(f"{where}: went on from {stage} update {each['from']}, though {step} was saved")


def _artifacts(found: Found, out: Path) -> None:
    shelf = Shelf(out / "artifacts", str(out / "cache"))
    for entry in list_place(shelf.place):
        if entry.name != f"{entry.kind}-{entry.key}":
            found.beside += 1
            continue
        found.n_artifacts += 1
        if entry.state != "whole" or shelf.find(entry.kind, entry.key) is None:  # find reads every byte
            found.half += 1
            found.wrong.append(f"{out.name}: artefact {entry.name} is half-written")
