"""What a study's report says of named points, of repeats, of times and of workers."""

from __future__ import annotations

from typing import Any

from scbig_dist.metrics.summary import METRICS
from scbig_dist.report import cost_figures, point_figures
from scbig_dist.report.document import Block, Heading, Picture, Table, Text
from scbig_dist.report.point_figures import Mark
from scbig_dist.report.printed import COSTS
from scbig_dist.report.published import Comparison
from scbig_dist.report.reading import StudyFiles
from scbig_dist.report.repeats import SEED, groups, seeded, spread
from scbig_dist.report.scaling import limits, worker_curves, workers_table
from scbig_dist.report.wording import MISSING, arrow, is_missing, number, score, setting

SHOWN = ("pearson_delta", "pearson_delta_de", "acc", "e_dist")  # panels of the picture of named points
MOST_POINTS = 30
TABLE_METRICS = METRICS[:9]


def points_blocks(study: StudyFiles) -> list[Block]:
    """Test scores of trials that were named beforehand, and what each costs."""
    trials = study.trials
    if not {"name", "status"} <= set(trials.columns) or seeded(trials):
        return []
    named = trials[(trials["status"] == "finished") & trials["name"].fillna("").astype(bool)]
    if not 2 <= len(named) <= MOST_POINTS:
        return []
    rows = [{str(k): v for k, v in row.items()} for row in named.to_dict("records")]
    metrics = [m for m in SHOWN if any(not is_missing(row.get(f"test_{m}")) for row in rows)]
    blocks: list[Block] = []
    if metrics:
        panels = [(metric, [_mark(study, row, metric) for row in rows]) for metric in metrics]
        about = "Test scores of the trials named beforehand; bars: 95% interval over test conditions, one seed (what another seed would do is not in it). Dashed: the first."
        blocks.append(Picture("points", point_figures.dots(panels), about))
    costs = [c for c in COSTS if any(not is_missing(row.get(c)) for row in rows)]
    if costs:
        panels = [(cost, [Mark(str(row["name"]), _number(row.get(cost))) for row in rows]) for cost in costs]
        about = "An update of stage 1, a micro-batch of stage 2, and the most memory in each: a few updates on random cells, nothing beside them."
        blocks.append(Picture("costs", point_figures.bars(panels), about))
    return [Heading("Points"), *blocks] if blocks else []


def _mark(study: StudyFiles, row: dict[str, Any], metric: str) -> Mark:
    run = study.runs.get(str(row["trial"]))
    found = (run.scores_meta.get("intervals") or {}).get(run.method, {}).get(metric, {}) if run else {}
    return Mark(str(row["name"]), _number(row.get(f"test_{metric}")), found.get("low"), found.get("high"))


def _number(value: Any) -> float | None:
    return None if is_missing(value) else float(value)


def repeats_blocks(study: StudyFiles, axes: list[str]) -> list[Block]:
    """Mean and deviation over seeds, a row per setting, and a picture of them."""
    if not seeded(study.trials):
        return []
    others = [a for a in axes if a != SEED]
    found = [g for g in groups(study.trials, axes) if any(spread(g, f"test_{m}") is not None for m in TABLE_METRICS)]
    metrics = [m for m in TABLE_METRICS if any(spread(g, f"test_{m}") is not None for g in found)]
    if not found or not metrics:
        return []
    columns = (*others, "seeds", *(f"{m} {arrow(m)}" for m in metrics))
    rows, labels = [], []
    for group in found:
        cells = tuple(setting(group[0].get(axis)) for axis in others)
        named = [f"{axis.split('.')[-1]}={cell}" for axis, cell in zip(others, cells, strict=True) if cell != MISSING]
        labels.append(str(group[0].get("name") or "") or ", ".join(named) or "all")
        n = max(each.n for m in metrics if (each := spread(group, f"test_{m}")) is not None)
        rows.append((*cells, str(n), *(_spread_text(group, m) for m in metrics)))
    about = "Test scores: mean ± standard deviation over seeds (n − 1)."
    shown = [m for m in SHOWN if m in metrics]
    panels = [(m, [_seed_mark(label, g, m) for label, g in zip(labels, found, strict=True)]) for m in shown]
    return [
        Heading("Seeds"),
        Table(columns, tuple(rows), frozenset(columns[len(others) :]), about),
        Picture("seeds", point_figures.dots(panels), "Test scores: mean and standard deviation over seeds. Dashed: the first."),
    ]  # fmt: skip


def _spread_text(group: list[dict[str, Any]], metric: str) -> str:
    found = spread(group, f"test_{metric}")
    if found is None:
        return MISSING
    return score(found.mean, metric) + ("" if found.sd is None else f" ± {score(found.sd, metric)}")


def _seed_mark(label: str, group: list[dict[str, Any]], metric: str) -> Mark:
    found = spread(group, f"test_{metric}")
    if found is None:
        return Mark(label, None)
    if found.sd is None:
        return Mark(label, found.mean)
    return Mark(label, found.mean, found.mean - found.sd, found.mean + found.sd)


def ratio_picture(comparison: Comparison) -> Picture | None:
    """A published table of times beside ours, as multiples: a curve over K, else bars."""
    rows = [row for row in comparison.rows if row.published_ratio is not None]
    if comparison.reference is None or not any(row.ours_ratio is not None for row in rows):
        return None
    about = f"Times of {comparison.printed_as} and ours, each as a multiple of its own '{comparison.reference}': not the same hardware, not the same sizes."
    if all(row.n_modules is not None for row in rows):
        figure = cost_figures.ratio_curve(rows, "gene modules K", comparison.reference)
    else:
        figure = cost_figures.ratio_bars(rows, comparison.reference)
    return Picture(f"published_{comparison.table}", figure, about)


def workers_blocks(study: StudyFiles) -> list[Block]:
    """Strong and weak scaling, where the study has such trials."""
    curves = worker_curves(study)
    if not curves:
        return []
    return [
        Heading("Workers"),
        workers_table(study, curves),
        Picture("workers", cost_figures.worker_curves(curves), "Cells per second with more workers beside the ideal, by stage."),
        Text("Limits: " + limits(curves)),
    ]  # fmt: skip


def timed_blocks(study: StudyFiles) -> list[Block]:
    """A note where nothing was trained."""
    if study.asked.get("timed") != "only":
        return []
    n = number(len(study.trials))
    return [
        Text(
            f"Nothing was trained: the updates of {n} trials were timed on random cells, one trial after the other.",
            "note",
        )
    ]
