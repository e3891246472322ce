"""What a trial leaves for afterwards: the command that runs it again, its checkpoint, where it ran, its error in full."""

from __future__ import annotations

import shlex
from pathlib import Path

from scbig_dist.dashboard.blocks import Block, Code, Table, Text
from scbig_dist.dashboard.figures import moment
from scbig_dist.dashboard.files import number, read_bytes, read_json, signature
from scbig_dist.dashboard.starts import Process, read_starts
from scbig_dist.dashboard.study import Snapshot
from scbig_dist.dashboard.trial import Trial
from scbig_dist.report.wording import MISSING

MOST_STARTS = 24


def rerun_command(study: Snapshot, trial: Trial) -> str:
    """A training of the same config into a new folder beside the study."""
    config, out = trial.runs[0] / "config.yaml", study.path.parent / f"{study.path.name}-{trial.id}-again"
    seeds = f" --seeds {len(trial.runs)}" if len(trial.runs) > 1 else ""
    return f"scbig train {shlex.quote(str(config))}{seeds} -o {shlex.quote(str(out))}"


def checkpoint_of(run: Path) -> str:
    """The newest whole checkpoint of the last stage that has one."""
    found = []
    for stage in ("autoencoder", "shift", "flow", "cells"):
        for state in sorted((run / "checkpoints" / stage).glob("step-*/state.json")):
            step = number(read_json(state).value.get("step"))
            if signature(state.parent / "model.safetensors") is not None:
                found.append((stage, step or 0, str(state.parent)))
    return found[-1][2] if found else "none yet"


def starts_of(trial: Trial) -> Block:
    """A line per start of its process and of its workers."""
    starts = read_starts(trial.folder, trial.runs)
    rows = [(_moment(each.began), "trial", *_process(p)) for each in starts.attempts for p in each.processes]
    rows += [
        (_moment(each.began), f"worker {rank}", *_process(p))
        for each in starts.groups
        for rank, p in enumerate(each.processes)
    ]
    if not rows:
        return Text(
            "starts", "Node, process and GPUs stand here for every start, where the sweep wrote them down.", "empty"
        )
    more = f"The last {MOST_STARTS} of {len(rows)} starts." if len(rows) > MOST_STARTS else ""
    rows = sorted(rows, key=lambda row: row[0])[-MOST_STARTS:]
    return Table(
        "starts",
        ("began, UTC", "what", "node", "address", "process", "GPUs"),
        tuple(rows),
        frozenset({4}),
        caption=more,
    )


def _process(process: Process) -> tuple[str, str, str, str]:
    return process.node or MISSING, process.ip or MISSING, str(process.pid or MISSING), process.gpus or "none"


def _moment(began: float | None) -> str:
    return MISSING if began is None else moment(began)


def error_of(trial: Trial, run: Path) -> list[Block]:
    path = next((p for p in (trial.folder / "error.txt", run / "error.txt") if signature(p) is not None), None)
    if path is None:
        return []
    try:
        text = read_bytes(path, most=256_000).decode("utf-8", errors="replace")
    except OSError as error:
        text = f"error.txt cannot be read: {error.strerror}"
    return [Code("error", f"error in full: {path}", text, copy=True, tall=True)]
