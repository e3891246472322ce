"""The report of a study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd
import yaml

from scbig_dist.cluster.objectives import Objective, usual_mode
from scbig_dist.errors import UserError
from scbig_dist.report import study_figures as figures
from scbig_dist.report.document import Block, Code, Document, Heading, Picture, Text
from scbig_dist.report.front import front_blocks
from scbig_dist.report.printed import COSTS, read_published
from scbig_dist.report.published import Comparison, compare
from scbig_dist.report.ranking import competing
from scbig_dist.report.reading import StudyFiles
from scbig_dist.report.run import data_sentence, scores_blocks
from scbig_dist.report.study_costs import points_blocks, ratio_picture, repeats_blocks, timed_blocks, workers_blocks
from scbig_dist.report.tables import facts_table, published_table, trials_table
from scbig_dist.report.wording import bare, is_missing, score, setting
from scbig_dist.settings import addresses

UNSHOWN = ("name", "hash", "store_key", "schema")  # for machines; they stand in study.yaml


@dataclass(frozen=True)
class Question:
    """What the study varies and what it ranks by."""

    axes: list[str]
    objectives: list[Objective]
    """What the study ranks by; of two, their front."""

    @property
    def column(self) -> str:
        """The first metric, a score."""
        return self.objectives[0].name

    @property
    def mode(self) -> str:
        return self.objectives[0].mode


def study_document(study: StudyFiles) -> Document:
    """What was asked, every trial, pictures of the axes, the best trial, the paper's values beside ours."""
    document = Document(f"Study {study.asked.get('name') or study.path.resolve().name}")
    labels = sorted({run.data_label for run in study.runs.values() if run.summary})
    document.add(Text("Data: " + (" ".join(map(data_sentence, labels)) if labels else "not recorded."), "label"))
    document.add(*(Text(f"Missing here: {problem}.", "note") for problem in study.problems))
    question = question_of(study)
    document.add(*_asked(study, question))
    if study.trials.empty:
        document.add(Text("No trial has ended yet: there is nothing to rank.", "note"))
        return document
    best = best_trial(study.trials, question)
    document.add(Heading("Trials"), Text(_counts(study)))
    document.add(trials_table(study.trials, question.axes, question.column, question.mode, best), *timed_blocks(study))
    document.add(*_left_out(study))
    document.add(*points_blocks(study), *repeats_blocks(study, question.axes), *workers_blocks(study))
    if study.asked.get("timed") != "only":  # what is only timed has no score to draw or to choose by
        document.add(*front_blocks(study, question.axes, question.objectives))
        document.add(*_pictures(study, question, best))
        document.add(*_best(study, question, best))
    document.add(*_published(study, question))
    document.add(Heading("Machine"), Text("Hardware of the trials: " + _hardware(study)))
    return document


def question_of(study: StudyFiles) -> Question:
    """Axes in the study's own order (columns of the table that are addresses), metrics and their directions."""
    known = set(addresses())
    asked = study.asked.get("axes") or {}
    axes = [a for a in asked if isinstance(a, str) and a in known]
    axes += [str(c) for c in study.trials.columns if c in known and c not in axes]
    axes = [a for a in axes if a in study.trials.columns]
    metrics = _listed(study.asked.get("metric") or "val_pearson_delta")
    modes = [*_listed(study.asked.get("mode")), "", ""]
    objectives = []
    for metric, mode in zip(metrics[:2], modes, strict=False):
        column = metric if metric.startswith(("val_", "test_")) or metric in study.trials else f"val_{metric}"
        asked_mode: Literal["max", "min"] | None = "max" if mode == "max" else "min" if mode == "min" else None
        objectives.append(Objective(column, asked_mode or _mode(column)))
    return Question(axes, objectives)


def _listed(value: Any) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else [] if value is None else [str(value)]


def _mode(column: str) -> Literal["max", "min"]:
    return "min" if bare(column) == "loss" else usual_mode(column)


def best_trial(trials: pd.DataFrame, question: Question) -> str | None:
    """The trial that validation ranks first, among finished ones of equal budget."""
    if not {"trial", "status", question.column} <= set(trials.columns):
        return None
    done = trials[competing(trials, [question.column])]
    if done.empty:
        return None
    place = done[question.column].idxmax() if question.mode == "max" else done[question.column].idxmin()
    return str(done.loc[place, "trial"])


def _asked(study: StudyFiles, question: Question) -> list[Block]:
    asked = study.asked
    facts: dict[str, Any] = {k: v for k, v in asked.items() if isinstance(v, (str, int, float)) and k not in UNSHOWN}
    axes = asked.get("axes")
    if isinstance(axes, Mapping) and axes:
        facts |= {f"axis {address}": values for address, values in axes.items()}
    else:
        facts["axes"] = question.axes
    if asked.get("points"):
        facts["trials named beforehand"] = list(asked["points"])
    blocks: list[Block] = [Heading("What was asked"), facts_table(facts, ("setting", "value"))]
    if asked:
        blocks.append(Code("study.yaml", yaml.safe_dump(asked, sort_keys=False, allow_unicode=True)))
    return blocks


def _counts(study: StudyFiles) -> str:
    n = len(study.trials)
    if "status" not in study.trials:
        return f"{n} trials; their status was not recorded."
    counts = study.trials["status"].value_counts()
    return f"{n} trials: " + ", ".join(f"{counts.get(s, 0)} {s}" for s in ("finished", "stopped", "failed")) + "."


def _left_out(study: StudyFiles) -> list[Block]:
    """A note on the trials whose model predicts a part of the test conditions alone."""
    lines = []
    for trial, run in study.runs.items():
        n = (run.scores_meta.get("undefined") or {}).get(run.method, {}).get("mse", 0)
        if n:
            lines.append(f"trial {trial} ({run.method}): {n} of {len(run.split.get('test') or [])}")
    if not lines:
        return []
    return [Text(f"Test conditions without a prediction, which means of test leave out: {'; '.join(lines)}.", "note")]


def _pictures(study: StudyFiles, question: Question, best: str | None) -> list[Block]:
    column, blocks = question.column, list[Block]()
    if not {"trial", "status", column} <= set(study.trials.columns):
        return [Text(f"trials.parquet has no column {column}: no picture can be drawn.", "note")]
    done = study.trials[(study.trials["status"] == "finished") & study.trials[column].notna()]
    varied = [a for a in question.axes if done[a].nunique() > 1]
    if len(done) >= 2 and varied:
        blocks.append(Heading("What the axes do"))
        blocks += _axis_pictures(done, varied, column, best)
        costs = [c for c in ("step_ms", "peak_mem_gb", "seconds_total") if c in done and done[c].notna().any()]
        if costs:
            picture = figures.cost(done, column, costs, best)
            blocks.append(Picture("cost", picture, f"{column} against what a trial cost. Finished trials."))
    curves = figures.learning_curves(study.runs, column, best)
    if curves is not None:
        several = "seeds" in study.trials and study.trials["seeds"].fillna(1).max() > 1
        about = f"{column} during training, a line per trial{' (its first seed)' if several else ''}, stopped ones included; of "
        about += "evaluate.n_val_cells predicted cells per condition, where the table's scores are of evaluate.n_cells."
        blocks.append(Picture("learning_curves", curves, about))
    return blocks


def _axis_pictures(done: pd.DataFrame, varied: list[str], column: str, best: str | None) -> list[Block]:
    about = "Finished trials; the mean where several share a setting."
    if len(varied) == 1:
        more = [c for c in ("step_ms", "peak_mem_gb") if c in done and done[c].notna().any()]
        picture = figures.axis_line(done, varied[0], [column, *more])
        return [Picture("axis", picture, f"{column} and cost against {varied[0]}. {about}")]
    blocks: list[Block] = []
    if len(varied) == 2:
        pair = (varied[0], varied[1])
        shared = done.groupby(list(pair)).ngroups < 0.25 * done[pair[0]].nunique() * done[pair[1]].nunique()
        if not shared:  # a grid; free search leaves hardly two trials in a row or column
            picture = figures.heat_map(done, pair, column, best)
            return [Picture("heat_map", picture, f"{column} over {pair[0]} and {pair[1]}; framed: the best trial. {about}")]  # fmt: skip
        blocks.append(Picture("plane", figures.plane(done, pair, column, best), f"{column} where trials were tried; ringed: the best. {about}"))  # fmt: skip
        return blocks
    picture = figures.parallel_lines(done, varied, column, best)
    return [
        Picture("parallel", picture, f"A line per finished trial through its settings; thick: the best by {column}.")
    ]


def _best(study: StudyFiles, question: Question, best: str | None) -> list[Block]:
    blocks: list[Block] = [Heading("Best trial")]
    if best is None:
        return [*blocks, Text(f"No finished trial has {question.column}: none was chosen.", "note")]
    row = {str(k): v for k, v in study.trials.loc[study.trials["trial"] == best].iloc[0].items()}
    settings = ", ".join(f"{a}={setting(row[a])}" for a in question.axes)
    chosen = f"Trial {best} ({settings}): {question.column} {score(row[question.column], bare(question.column))}, the "
    chosen += "highest" if question.mode == "max" else "lowest"
    blocks.append(
        Text(
            chosen
            + " of the finished trials of equal budget. It was chosen on validation; test was scored after the choice."
        )
    )
    run = study.runs.get(best)
    n: Any = row.get("seeds")
    if not is_missing(n) and int(n) > 1:
        blocks.append(
            Text(f"Its scores are means over {int(n)} seeds; what follows is of the first seed alone.", "note")
        )
    if run and run.scores:
        return blocks + scores_blocks(run)
    tests = {c: score(row[c], bare(c)) for c in row if c.startswith("test_") and not is_missing(row[c])}
    if tests:
        return [*blocks, facts_table(tests, ("metric", "test"))]
    return [*blocks, Text("Its test conditions have not been scored.", "note")]


def _published(study: StudyFiles, question: Question) -> list[Block]:
    asked = study.asked.get("published")
    if not asked:
        return []
    blocks: list[Block] = [Heading("Published beside ours")]
    book = read_published()
    if not book:
        return [
            *blocks,
            Text("tune/published.yaml is not beside the package: the paper's values are not shown.", "note"),
        ]
    for table in [asked] if isinstance(asked, str) else asked:
        try:
            comparison = compare(study, str(table), question.column, question.mode, book)
        except UserError as error:
            blocks.append(Text(f"{error}.", "note"))
            continue
        blocks += [
            Text(
                f"The paper's {comparison.printed_as}, beside {_what(comparison)} of this study. {comparison.source}."
            ),
            Text(f"Published hardware: {comparison.hardware}."),
            Text(f"Our hardware: {_hardware(study)}."),
            published_table(comparison),
        ]
        picture = ratio_picture(comparison)
        blocks += [] if picture is None else [picture]
    return blocks


def _what(comparison: Comparison) -> str:
    costs = {row.metric in COSTS for row in comparison.rows}
    return (
        "the test scores" if costs == {False} else "the times" if costs == {True} else "test scores, times and memory"
    )


def _hardware(study: StudyFiles) -> str:
    lines = sorted({run.hardware for run in study.runs.values() if run.summary})
    return "; ".join(lines) if lines else "not recorded"
