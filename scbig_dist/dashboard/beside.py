"""The best trial beside the baselines and the paper's published values, with whether they can be compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from scbig_dist.dashboard.blocks import Block, Link, Table, Text
from scbig_dist.dashboard.files import Kept, number, read_json, read_yaml, text
from scbig_dist.dashboard.study import Snapshot
from scbig_dist.dashboard.trial import Trial
from scbig_dist.errors import UserError
from scbig_dist.metrics.summary import METRICS
from scbig_dist.report.printed import SETTINGS, read_published
from scbig_dist.report.published import Comparison, compare
from scbig_dist.report.reading import RunFiles, StudyFiles
from scbig_dist.report.tables import published_table
from scbig_dist.report.wording import METHOD_ORDER, MISSING, arrow, bare, in_order, score

SHOWN = ("pearson_delta", "pearson_delta_de", "acc", "mse", "e_dist")


class Runs(Mapping[str, RunFiles]):
    """Runs of a study, each read when it is asked for; what the report makes of them needs no curves."""

    def __init__(self, study: Snapshot) -> None:
        self._study = study

    def __getitem__(self, trial: str) -> RunFiles:
        return _run(self._study.trials[trial].folder)

    def __iter__(self):
        return iter(self._study.trials)

    def __len__(self) -> int:
        return len(self._study.trials)


def _read_run(config: Path) -> RunFiles:
    folder = config.parent
    return RunFiles(
        folder,
        config=read_yaml(config).value,
        summary=read_json(folder / "setup.json").value | read_json(folder / "run.json").value,
        scores=scores_of(folder),
        scores_meta=read_json(folder / "scores_meta.json").value,
    )


_kept_scores = Kept(lambda path: read_json(path).value, most=200)


def scores_of(folder: Path) -> dict[str, dict[str, float | None]]:
    """{method: {metric: value}} of `scores.json`; empty where the trial has not been scored on test."""
    found = _kept_scores(folder / "scores.json")
    return {
        method: {metric: number(value) for metric, value in each.items()}
        for method, each in found.items()
        if isinstance(each, dict)
    }


def _run(folder: Path) -> RunFiles:
    return _read_run(folder / "config.yaml")


def study_files(study: Snapshot) -> StudyFiles:
    """The study in the report's terms, settings of the base filled in so that no run has to be opened for them."""
    rows = []
    for trial in study.trials.values():
        if trial.is_over:
            known = {a: study.config[a] for a in (*SETTINGS.values(), "gcae.pooling") if a in study.config}
            row = {"trial": trial.id, "name": trial.name, "status": trial.status}
            rows.append(row | known | dict(trial.values) | dict(trial.scores) | dict(trial.costs))
    return StudyFiles(study.path, dict(study.asked), pd.DataFrame(rows), Runs(study))  # type: ignore[arg-type]


def published_names(study: Snapshot) -> list[str]:
    asked = study.asked.get("published")
    return [asked] if isinstance(asked, str) else [text(name) for name in asked] if isinstance(asked, list) else []


book = cache(read_published)  # part of the installation: it does not change while a dashboard runs
_compared: dict[Path, tuple[int, tuple[list[Comparison], list[str]]]] = {}


def comparisons(study: Snapshot) -> tuple[list[Comparison], list[str]]:
    """`_compare`, once for every state of a study's rows."""
    kept = _compared.get(study.path)
    if kept is None or kept[0] != study.rows_version:
        kept = _compared[study.path] = (study.rows_version, _compare(study))
    return kept[1]


def _compare(study: Snapshot) -> tuple[list[Comparison], list[str]]:
    """The paper's tables that the study names, and a line for each that cannot be shown."""
    tables, found, problems = book(), list[Comparison](), list[str]()
    if not tables and published_names(study):
        return [], ["tune/published.yaml is not beside the package: the paper's values are not shown"]
    files = study_files(study) if published_names(study) else None
    for name in published_names(study):
        try:
            found.append(compare(files, name, study.metric, study.mode, tables))  # type: ignore[arg-type]
        except UserError as error:
            problems.append(str(error))
    return found, problems


def published_blocks(study: Snapshot) -> list[Block]:
    """The paper's tables beside ours; rows without a trial of ours are counted, not drawn."""
    found, problems = comparisons(study)
    blocks: list[Block] = [Text(f"published-problem-{i}", problem, "note") for i, problem in enumerate(problems)]
    for comparison in found:
        ours = replace(comparison, rows=tuple(row for row in comparison.rows if row.ours is not None))
        table = published_table(ours)
        numeric = frozenset(i for i, column in enumerate(table.columns) if column in table.numeric)
        left = len(comparison.rows) - len(ours.rows)
        caption = f"The paper's {comparison.printed_as}. Its hardware: {comparison.hardware}. {table.caption}"
        if not ours.rows:
            said = f"{caption.strip()} None of its {left} values has a finished trial of ours with these settings."
            blocks.append(Text(f"published-{comparison.table}", said, "note"))
            continue
        caption += f" {left} more published values have no finished trial of ours with these settings." if left else ""
        blocks.append(
            Table(f"published-{comparison.table}", table.columns, table.rows, numeric, caption=caption.strip())
        )
    return blocks


def best_table(study: Snapshot) -> Block:
    """Test scores: the best trial, the baselines on the same conditions, the paper's scBIG."""
    best = study.best
    if best is None:
        return Text(
            "best-table",
            "Once a trial has finished, its scores stand here beside the baselines and the paper's.",
            "empty",
        )
    scores, rows, strong = scores_of(best.folder), list[tuple[Any, ...]](), frozenset[int]()
    own = text(read_json(best.folder / "scores_meta.json").value.get("model")) or "scBIG"
    metrics = [m for m in METRICS if m in SHOWN]
    if scores:
        for method in in_order(list(scores), METHOD_ORDER):
            if method == own:
                strong = frozenset({len(rows)})
            name = Link(f"{own}, trial {best.id}", trial_href(study, best.id)) if method == own else method
            rows.append((name, *(score(scores[method].get(m), m) for m in metrics)))
        caption = "Test conditions of the best trial, which validation chose."
    else:
        values = (score(best.scores.get(f"val_{m}"), m) for m in metrics)
        rows.append((Link(f"{own}, trial {best.id} (validation)", trial_href(study, best.id)), *values))
        strong = frozenset({0})
        caption = "Validation: test and the baselines are scored once, when the study has ended."
    published, label = _published_best(study)
    if published:
        rows.append((label, *(score(published.get(m), m) for m in metrics)))
        caption += " The paper's row is of its own data and hardware: see Scaling for what can be compared."
    return Table(
        "best-table",
        ("method", *(f"{m} {arrow(m)}" for m in metrics)),
        tuple(rows),
        frozenset(range(1, len(metrics) + 1)),
        strong,
        caption,
    )


def _published_best(study: Snapshot) -> tuple[dict[str, float], str]:
    """The row of the first table that the study names which is best by its metric (or by the table's first)."""
    found, _ = comparisons(study)
    rows: dict[str, dict[str, float]] = {}
    for row in found[0].rows if found else ():
        rows.setdefault(row.setting.split(" (ours")[0], {})[row.metric] = row.published
    if not rows:
        return {}, MISSING
    metric = (
        bare(study.metric) if any(bare(study.metric) in values for values in rows.values()) else found[0].rows[0].metric
    )
    known = [name for name in rows if metric in rows[name]]
    name = (max if arrow(metric) == "↑" else min)(known, key=lambda n: rows[n][metric])
    where, label = found[0].printed_as.split("(")[0].strip(), name.split(":")[0]
    return rows[name], f"published, {label if where in label else f'{where}: {label}'}"


def trial_href(study: Snapshot, trial: str) -> str:
    return f"/study/{study.id}/trial/{quote(trial, safe='')}"


def best_of_baselines(study: Snapshot, best: Trial, metric: str) -> tuple[str, float] | None:
    """The baseline with the best test value, where the best trial has been scored."""
    scores = scores_of(best.folder)
    own = text(read_json(best.folder / "scores_meta.json").value.get("model")) or "scBIG"
    known = {
        m: v for m, each in scores.items() if m not in (own, "noise ceiling") and (v := each.get(metric)) is not None
    }
    if not known:
        return None
    name = (max if arrow(metric) == "↑" else min)(known, key=lambda m: known[m])
    return name, known[name]
