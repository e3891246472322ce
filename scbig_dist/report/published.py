"""The paper's values of the same experiment beside ours, each row with whether and why it can be compared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from scbig_dist.errors import UserError, suggest
from scbig_dist.metrics.summary import METRICS
from scbig_dist.report.reading import RunFiles, StudyFiles
from scbig_dist.report.wording import is_missing, number, setting
from scbig_dist.settings import flatten

PUBLISHED = Path(__file__).resolve().parents[2] / "tune" / "published.yaml"

# Columns of the paper's tables that are settings, with our address.
SETTINGS = {
    "n_modules": "grc.n_modules",
    "n_inducing": "gcae.n_inducing",
    "latent_dim": "gcae.latent_dim",
    "n_genes": "panel.n_hvg",
    "lambda_corr": "align.lambda_corr",
    "lambda_path": "align.lambda_path",
    "pooling": "gcae.pooling",
}
LOG_SCALED = frozenset({"lambda_corr", "lambda_path"})
NEAR_DECADES = 0.25  # a searched λ this near to a printed one is set beside it
NEAR_GENES = 0.03  # 2,000 HVGs make the paper's 2,051 genes: perturbed genes come on top
COSTS = ("step_ms", "peak_mem_gb")


@dataclass(frozen=True)
class Row:
    """One number of the paper and ours."""

    setting: str
    metric: str
    published: float
    ours: float | None
    reasons: tuple[str, ...]
    """What stands between the two numbers beside the method; none: they can be compared."""

    @property
    def comparable(self) -> bool:
        return not self.reasons

    @property
    def difference(self) -> float | None:
        return None if self.ours is None else self.ours - self.published


@dataclass(frozen=True)
class Comparison:
    """A published table beside a study; `hardware` is the paper's."""

    table: str
    printed_as: str
    source: str
    hardware: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class _Printed:
    """A row of a published table: what was set and what came out."""

    name: str
    settings: dict[str, Any]
    values: dict[str, float]


def read_published(path: Path = PUBLISHED) -> dict[str, Any]:
    """The paper's tables by name; empty where the file is not there (an installation without the repository)."""
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}


def tables_of(book: Mapping[str, Any]) -> list[str]:
    """The names that a study's `published` field can hold."""
    return list(book.get("printed_as", {}))


def compare(study: StudyFiles, table: str, column: str, mode: str, book: Mapping[str, Any]) -> Comparison:
    """Every number of `table` beside the test score of the trial of the same name, or else with the same settings.

    A row without settings is otherwise a method: its score in the best trial's run. `column` and `mode`
    (`max` or `min`) choose among trials with equal settings. An unknown table is a UserError.
    """
    if table not in tables_of(book):
        raise UserError(
            f"study.yaml: published={table!r} is no table of published.yaml; {suggest(table, tables_of(book))}"
        )
    printed = _printed(table, book)
    rows: list[Row] = []
    for line in printed:
        unknown = book.get("unmatched", {}).get(table, {}).get(line.name)
        named = None if unknown else _named(study, book.get("trials", {}).get(table, {}).get(line.name, line.name))
        if named is None:
            unknown = unknown or book.get("not_run", {}).get(line.name)
        trial = None if unknown else named or _matching(study, line, column, mode)
        run = None if trial is None else study.runs.get(str(trial["trial"]))
        method = "scBIG" if named or line.settings else line.name
        if method not in ("scBIG", *(run.scores if run else ())):
            trial = None  # neither a trial nor a method of this study
        for metric, value in line.values.items():
            ours = None if trial is None else _ours(trial, run, metric, method)
            reasons = [unknown] if unknown else _reasons(trial, run, line, metric, ours, book, column)
            rows.append(Row(_setting_text(line, trial, study), metric, value, ours, tuple(reasons)))
    source = book.get("source", {})
    return Comparison(
        table=table,
        printed_as=book["printed_as"][table],
        source=f"{source.get('authors', '')}: {source.get('title', '')} ({source.get('code', '')})",
        hardware=book.get("hardware", {}).get(table, book.get("hardware", {}).get("default", "not printed")),
        rows=tuple(rows),
    )


def _printed(table: str, book: Mapping[str, Any]) -> list[_Printed]:
    if table == "sensitivity":  # a figure without values: its best setting is table 1's scBIG
        base = book["norman_additive"]
        values = dict(zip(base["columns"], base["rows"]["scBIG"], strict=True))
        return [_Printed("best of figure 6", dict(book["sensitivity"]), _known(values))]
    columns, body = book[table]["columns"], book[table]["rows"]
    lines = body.items() if isinstance(body, Mapping) else [("", row) for row in body]
    printed = []
    for name, row in lines:
        cells = dict(zip(columns, row, strict=True))
        settings = {k: v for k, v in cells.items() if k in SETTINGS}
        if table == "pooling":
            settings = {"pooling": str(name).replace(" ", "_")}
        gigabytes = [v for k, v in cells.items() if k.endswith("_gb")]
        values = {k: v for k, v in cells.items() if k in METRICS or k in COSTS}
        if gigabytes:
            values["peak_mem_gb"] = max(gigabytes)
        printed.append(_Printed(str(name), settings, _known(values)))
    return printed


def _known(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items() if value is not None}


def setting_of(study: StudyFiles, trial: Mapping[str, Any], address: str) -> Any:
    """A trial's value at an address: its axis, else its run's config; None where neither says."""
    if address in trial and not is_missing(trial[address]):
        return trial[address]
    run = study.runs.get(str(trial["trial"]))
    return flatten(run.config).get(address) if run else None


def _named(study: StudyFiles, name: str) -> dict[str, Any] | None:
    """The finished trial that was named so beforehand."""
    done = (t for t in _records(study.trials) if t.get("status") == "finished")
    return next((trial for trial in done if trial.get("name") == name), None)


def _matching(study: StudyFiles, line: _Printed, column: str, mode: str) -> dict[str, Any] | None:
    """The finished trial with the row's settings, the nearest where a λ was searched, the best among equals."""
    candidates = []
    for trial in _records(study.trials):
        if trial.get("status") != "finished":
            continue
        gaps = [_gap(name, value, setting_of(study, trial, SETTINGS[name])) for name, value in line.settings.items()]
        score = trial.get(column)
        if None not in gaps and not is_missing(score):
            rank = float(score) if mode == "min" else -float(score)  # type: ignore[arg-type]
            candidates.append((sum(g for g in gaps if g is not None), rank, str(trial["trial"]), trial))
    return min(candidates, key=lambda c: c[:3])[3] if candidates else None


def _records(trials: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(k): v for k, v in row.items()} for row in trials.to_dict("records")] if "trial" in trials else []


def _gap(name: str, printed: Any, ours: Any) -> float | None:
    """Distance of a setting from the printed one; None where it is another setting."""
    if ours is None or isinstance(printed, str):
        return 0.0 if ours == printed else None
    a, b = float(printed), float(ours)
    if name in LOG_SCALED:
        gap = abs(math.log10(b / a)) if a > 0 and b > 0 else math.inf
        return gap if gap <= NEAR_DECADES else None
    if name == "n_genes":
        return 0.0 if abs(a - b) <= NEAR_GENES * a else None
    return 0.0 if a == b else None


def _ours(trial: Mapping[str, Any], run: RunFiles | None, metric: str, method: str) -> float | None:
    if metric in COSTS or method == "scBIG":
        value = trial.get(metric if metric in COSTS else f"test_{metric}")
        if not is_missing(value):
            return float(value)  # type: ignore[arg-type]
    value = run.scores.get(method, {}).get(metric) if run and metric not in COSTS else None
    return None if is_missing(value) else float(value)  # type: ignore[arg-type]


def _reasons(
    trial: Mapping[str, Any] | None, run: RunFiles | None, line: _Printed, metric: str, ours: float | None,
    book: Mapping[str, Any], column: str,
) -> list[str]:  # fmt: skip
    """What makes the two numbers differ beside the method; empty: comparable."""
    if trial is None:
        return ["no finished trial with these settings" if line.settings else "no finished trial of this name"]
    if ours is None:
        if metric in COSTS:
            return ["not measured"]
        if any(str(k).startswith("test_") and not is_missing(v) for k, v in trial.items()):
            return ["this metric was not computed"]
        val = trial.get(f"val_{metric}")
        return ["test is scored for chosen trials only" + ("" if is_missing(val) else f" (validation: {number(val)})")]
    if run is None:
        return ["the trial's run is gone: its data and scale are unknown"]
    reasons = []
    if metric in COSTS:
        reasons.append("hardware: " + run.hardware)
    genes, cells = run.summary.get("n_genes"), run.summary.get("n_train_cells")
    paper = book["splits"]["norman_additive"]
    paper_genes = line.settings.get("n_genes", paper["n_genes"])
    if not run.data_label.startswith("real"):
        reasons.append(f"data: {run.data_label}")
    elif genes is None or cells is None:
        reasons.append("data: not known to be the paper's")
    if genes is not None and abs(genes - paper_genes) > NEAR_GENES * paper_genes:
        reasons.append(f"scale: {number(genes)} genes, published {number(paper_genes)}")
    if cells is not None and abs(cells - paper["cells"][0]) > 0.1 * paper["cells"][0]:
        reasons.append(f"scale: {number(cells)} training cells, published {number(paper['cells'][0])}")
    config = flatten(run.config)
    if (kind := config.get("split.kind")) not in (None, "additive"):
        reasons.append(f"split: {kind}, published additive")
    for address, printed in book.get("training", {}).items():
        value = config.get(address)
        if value is not None and value < 0.9 * printed:
            reasons.append(f"training: {address} {number(value)}, published {number(printed)}")
    return reasons


def _setting_text(line: _Printed, trial: Mapping[str, Any] | None, study: StudyFiles) -> str:
    """The printed settings, and ours where they are not quite the same."""
    settings = ", ".join(f"{name} {setting(value)}" for name, value in line.settings.items())
    text = f"{line.name}: {settings}" if line.name and settings else line.name or settings
    if trial is None or not line.settings:
        return text
    near = [
        f"{SETTINGS[name]} {setting(ours)}"
        for name, value in line.settings.items()
        if (ours := setting_of(study, trial, SETTINGS[name])) != value and name in LOG_SCALED
    ]
    return text + f" (ours: trial {trial['trial']}" + (", " + ", ".join(near) if near else "") + ")"
