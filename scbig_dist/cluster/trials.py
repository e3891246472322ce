"""What is known of each trial: a small file that the trial writes itself, and the table of them all."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from scbig_dist.artifacts import write_text
from scbig_dist.cluster.attempts import COLUMNS, whereabouts
from scbig_dist.cluster.objectives import COSTS, Row, front_rows
from scbig_dist.cluster.study import Study
from scbig_dist.config import Config
from scbig_dist.train.log import WARNINGS
from scbig_dist.train.seeds import seed_run

ROW_FILE = "trial.json"  # in RUN, once the trial has ended
STOP_FILE = "stop.json"  # in RUN: a scheduler's decision, which outlives every process
ERROR_FILE = "error.txt"  # in RUN: the traceback of a failed trial
TIMES = ("stage1_ms", "stage2_ms", "stage1_gb", "stage2_gb")  # of a study that is `timed`: see cluster/timing.py


def trial_dir(study_dir: Path, trial: str) -> Path:
    return study_dir / "trials" / trial


def watched_run(trial: Path, config: Config, seeds: int) -> Path:
    """The run that a scheduler watches: the trial's own, or of several seeds the first."""
    return trial if seeds == 1 else seed_run(trial, config.train.seed)


def make_row(run: Path, name: str, values: Mapping[str, Any], status: str, reason: str = "", error: str = "") -> Row:
    """The row of a trial that has ended, with whatever its run left on disk."""
    summary = read_json(run / "setup.json") | read_json(run / "run.json")
    stages = _last_records(run / "metrics.jsonl")
    flow = stages.get("flow", {}) or stages.get(
        "cells", {}
    )  # what the model is judged by: scBIG's second stage, a baseline's only one
    row: Row = {"trial": run.name, "name": name, "status": status, "reason": reason, **values}
    row |= {metric: value for metric, value in flow.items() if metric.startswith("val_")}
    for cost in COSTS:
        row[cost] = summary.get(cost, flow.get(cost))
    for stage in ("autoencoder", "flow"):
        if row[f"seconds_{stage}"] is None:
            row[f"seconds_{stage}"] = stages.get(stage, {}).get("seconds")
    if not reason and (run / WARNINGS).is_file():  # what a person should know of a trial that ended well
        row["reason"] = (run / WARNINGS).read_text(encoding="utf-8").splitlines()[-1]
    stop = read_json(run / STOP_FILE) if status == "stopped" else {}
    row |= {"stopped_by": stop.get("stopped_by", ""), "rung": stop.get("rung")}
    return row | {"budget": flow.get("micro_step", 0), "error": error}


def write_row(study_dir: Path, row: Row) -> None:
    run = trial_dir(study_dir, row["trial"])
    run.mkdir(parents=True, exist_ok=True)
    write_text(run / ROW_FILE, json.dumps(row | whereabouts(run), indent=1))


def read_row(study_dir: Path, trial: str) -> Row | None:
    """The row of a trial, or None while it has not ended."""
    return read_json(trial_dir(study_dir, trial) / ROW_FILE) or None


def read_rows(study_dir: Path) -> list[Row]:
    """Rows of all trials that have ended, in the order of their names."""
    files = sorted((study_dir / "trials").glob(f"*/{ROW_FILE}"))
    return [row for file in files if (row := read_json(file))]


def write_table(study_dir: Path, study: Study) -> list[Row]:
    """Make `trials.parquet` anew from the rows; a reader never sees half of it."""
    rows = read_rows(study_dir)
    scores = sorted({key for row in rows for key in row if key.startswith(("val_", "test_"))})
    first = ["trial", "name", "status", "reason", "stopped_by", "rung", *study.addresses]
    costs = [*COSTS, *(column for column in TIMES if any(column in row for row in rows))]
    seeds = ["seeds"] if study.seeds > 1 else []
    table = pd.DataFrame(rows, columns=[*first, *scores, *costs, "budget", *seeds, *COLUMNS, "error"])
    for column in (*scores, *costs):
        table[column] = pd.to_numeric(table[column])
    table["rung"] = table["rung"].astype("Int64")
    if len(study.objectives) > 1:
        front = {row["trial"] for row in front_rows(rows, study)}
        table["on_front"] = table["trial"].isin(front)
    for column in study.addresses:
        values = [row.get(column) for row in rows]
        if None in values and all(isinstance(v, int | None) and not isinstance(v, bool) for v in values):
            table[column] = pd.array(
                values, dtype="Int64"
            )  # empty where a trial lacks the axis, whole numbers elsewhere
            continue
        if len({type(value) for value in table[column].dropna()}) > 1 and not pd.api.types.is_numeric_dtype(
            table[column]
        ):
            table[column] = table[column].astype(str)  # a column of a Parquet file has one type
    beside = study_dir / f".trials-{uuid.uuid4().hex[:8]}.parquet"
    table.to_parquet(beside, index=False)
    os.replace(beside, study_dir / "trials.parquet")
    return rows


def rows_for_test(rows: Sequence[Row], study: Study) -> list[Row]:
    """Trials that are scored on test: named beforehand, or chosen by validation (or all, where the study says so)."""
    if study.timed == "only":
        return []
    chosen = {row["trial"] for row in front_rows(rows, study)}
    return [
        row
        for row in rows
        if row["status"] == "finished" and (study.test == "all" or row["name"] or row["trial"] in chosen)
    ]


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object, or nothing where the file is not there (they are renamed into place: never half)."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _last_records(path: Path) -> dict[str, dict[str, Any]]:
    """{stage: the last value of every field} of a `metrics.jsonl`."""
    last: dict[str, dict[str, Any]] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            record = json.loads(line)
        except ValueError:
            continue  # the process died while it wrote this line
        last.setdefault(record["stage"], {}).update(record)
    return last
