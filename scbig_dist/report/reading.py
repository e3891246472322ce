"""A run or a study read from disk, with a line for everything that is missing or half-written."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from scbig_dist.cluster.study_schema import STUDY_SCHEMA, schema_of
from scbig_dist.errors import UserError


@dataclass
class RunFiles:
    """What a run left on disk; empty where a file is missing."""

    path: Path
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    log: list[dict[str, Any]] = field(default_factory=list)
    scores: dict[str, dict[str, float | None]] = field(default_factory=dict)
    scores_meta: dict[str, Any] = field(default_factory=dict)
    split: dict[str, Any] = field(default_factory=dict)
    conditions: pd.DataFrame = field(default_factory=pd.DataFrame)
    problems: list[str] = field(default_factory=list)

    @property
    def data_label(self) -> str:
        return str(self.summary.get("data_label") or "unknown")

    @property
    def method(self) -> str:
        """What the run's own model is called in its tables."""
        return str(self.scores_meta.get("model") or "scBIG")

    @property
    def hardware(self) -> str:
        return str(self.summary.get("hardware") or "not recorded")


@dataclass
class StudyFiles:
    """What a study left on disk; `runs` holds the trials' folders by trial name."""

    path: Path
    asked: dict[str, Any] = field(default_factory=dict)
    trials: pd.DataFrame = field(default_factory=pd.DataFrame)
    runs: dict[str, RunFiles] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @cached_property
    def finished(self) -> list[dict[str, Any]]:
        """Rows of the trials that ran to their end, in the table's order; to be asked for once `trials` stands."""
        rows = self.trials.to_dict("records") if "trial" in self.trials else []
        return [{str(k): v for k, v in row.items()} for row in rows if row.get("status") == "finished"]


def kind_of(path: Path) -> str:
    """`study` or `run`; a UserError for anything else."""
    if not path.exists():
        raise UserError(f"report {path}: no such folder; give a run or a study, e.g. one beneath runs/")
    if not path.is_dir():
        raise UserError(f"report {path}: a file; give the folder of a run or a study")
    if any((path / name).exists() for name in ("study.yaml", "trials.parquet", "study.db")):
        return "study"
    if any((path / name).exists() for name in ("config.yaml", "run.json", "scores.json")):
        return "run"
    if (path / "seeds.json").is_file():
        raise UserError(
            f"report {path}: runs of several seeds; report one of them, e.g. {path}/seed-0, or lay all beside others with "
            "'scbig compare'"
        )
    raise UserError(
        f"report {path}: neither a run (no config.yaml) nor a study (no study.yaml); 'scbig train' or 'scbig sweep' writes one"
    )


def read_run(path: Path) -> RunFiles:
    """The files of a run; what cannot be read is named in `problems`."""
    run = RunFiles(path)
    remedy = {
        "run.json": "the training has not finished",
        "scores.json": f"not evaluated yet: scbig evaluate {path}",
        "metrics.jsonl": "no training step was logged",
    }
    run.config = _mapping(path / "config.yaml", yaml.safe_load, run.problems)
    timing = _mapping(path / "timing.json", json.loads, run.problems, quiet=True)
    if timing and not (path / "run.json").exists():  # a trial whose steps were timed, and nothing trained
        run.summary = timing
        return run
    run.summary = _mapping(path / "run.json", json.loads, run.problems, remedy["run.json"])
    run.scores = {
        method: metrics
        for method, metrics in _mapping(path / "scores.json", json.loads, run.problems, remedy["scores.json"]).items()
        if isinstance(metrics, dict)
    }
    run.scores_meta = _mapping(path / "scores_meta.json", json.loads, run.problems, quiet=True)
    run.split = _mapping(path / "split.json", json.loads, run.problems, quiet=True)
    run.log = _log(path / "metrics.jsonl", run.problems, remedy["metrics.jsonl"])
    run.conditions = _frame(path / "conditions.parquet", run.problems, quiet=not run.scores)
    return run


def read_study(path: Path) -> StudyFiles:
    """The files of a study and of each trial's run."""
    study = StudyFiles(path)
    study.asked = _mapping(path / "study.yaml", yaml.safe_load, study.problems)
    schema = schema_of(study.asked)
    if not isinstance(schema, int) or schema > STUDY_SCHEMA:  # of earlier ones everything that is there can be read
        raise UserError(
            f"report {path}: study.yaml has schema {str(schema)[:20]}, this version reads up to {STUDY_SCHEMA}; "
            "install the version of scbig-dist that wrote it"
        )
    study.trials = _frame(path / "trials.parquet", study.problems, remedy="no trial has ended yet")
    if "trial" in study.trials:
        study.trials["trial"] = study.trials["trial"].astype(str)
    folder = path / "trials"
    for each in sorted(folder.iterdir()) if folder.is_dir() else []:
        if each.is_dir():
            study.runs[each.name] = read_run(_first_seed(each))
    return study


def _first_seed(trial: Path) -> Path:
    """The run of a trial; of a trial of several seeds the first one's, whose settings the others share."""
    seeds = _mapping(trial / "seeds.json", json.loads, [], quiet=True).get("seeds")
    return trial / f"seed-{seeds[0]}" if seeds else trial


def _mapping(
    path: Path, parse: Callable[[str], Any], problems: list[str], remedy: str = "", quiet: bool = False
) -> dict[str, Any]:
    try:
        content = parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if not quiet:
            problems.append(f"{path.name} is missing" + (f" ({remedy})" if remedy else ""))
        return {}
    except (OSError, ValueError, yaml.YAMLError):
        problems.append(f"{path.name} cannot be read: cut short or not in its format")
        return {}
    if not isinstance(content, dict):
        problems.append(f"{path.name} holds {type(content).__name__}, expected keys and values")
        return {}
    return content


def _log(path: Path, problems: list[str], remedy: str) -> list[dict[str, Any]]:
    try:
        lines = path.read_bytes().decode("utf-8", errors="replace").splitlines()
    except OSError:
        problems.append(f"{path.name} is missing ({remedy})")
        return []
    records, bad = [], 0
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            bad += 1
            continue
        if isinstance(record, dict):
            records.append(record)
        else:
            bad += 1
    if bad:
        problems.append(f"{path.name}: {bad} of {len(lines)} lines are half-written and were left out")
    return records


def _frame(path: Path, problems: list[str], remedy: str = "", quiet: bool = False) -> pd.DataFrame:
    if not path.is_file():
        if not quiet:
            problems.append(f"{path.name} is missing" + (f" ({remedy})" if remedy else ""))
        return pd.DataFrame()
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError):  # pyarrow's errors are of these kinds
        problems.append(f"{path.name} cannot be read: cut short or not Parquet")
        return pd.DataFrame()
