"""What size costs and brings: step time, memory and accuracy against HVGs, modules and workers, beside the paper's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scbig_dist.dashboard.axis_figures import value_of
from scbig_dist.dashboard.beside import Runs, book, published_blocks, published_names
from scbig_dist.dashboard.blocks import Block, Chart, Choice, Choices, Columns, Figure, Heading, Text
from scbig_dist.dashboard.figures import BEST, MAIN, figure, label, setting_text, values_axis
from scbig_dist.dashboard.files import number
from scbig_dist.dashboard.study import Snapshot
from scbig_dist.dashboard.study_figures import escape, settings_line
from scbig_dist.dashboard.trial import Trial
from scbig_dist.dashboard.view import View

SIZES = {"panel.n_hvg": "HVGs", "grc.n_modules": "modules K", "train.workers": "workers"}
SIZE_COLUMNS = {"panel.n_hvg": "n_genes", "grc.n_modules": "n_modules"}
MEASURES = ("stage1_ms", "stage2_ms", "peak_mem_gb", "test_pearson_delta")
TITLES = {
    "stage1_ms": "Update of stage 1", "stage2_ms": "Micro-batch of stage 2", "peak_mem_gb": "Peak memory",
    "test_pearson_delta": "Accuracy on test",
}  # fmt: skip
UNITS = {"stage1_ms": "ms", "stage2_ms": "ms", "peak_mem_gb": "GB", "test_pearson_delta": "test_pearson_delta ↑"}
MEANT = {
    "stage1_ms": "A whole update: timed alone where the study was timed, else as logged.",
    "stage2_ms": "A micro-batch with its share of the update: timed alone where the study was timed, else the logged update times train.workers, ÷ flow.accumulate.",
    "peak_mem_gb": "Ours: GPU memory where there is one, else the process's; the paper's: GPU memory, the larger of both stages.",
}


def scaling_page(view: View) -> list[Block]:
    study = view.study
    default = next((a for a in SIZES if a in study.axes), "panel.n_hvg")
    size = view.chosen("size", list(SIZES), default)
    trials = study.of("finished")
    measures = [
        *MEASURES[:3],
        "test_pearson_delta" if any("test_pearson_delta" in t.scores for t in trials) else study.metric,
    ]
    charts = [_chart(study, trials, size, measure) for measure in measures]
    return [
        Heading("Scaling", "ours beside the paper's tables 8 and 9"),
        Choices("set", (Choice("size", "size", tuple((a, f"{a}: {name}") for a, name in SIZES.items()), size),)),
        Text("comparable", _comparable(study), "note"),
        Columns((charts[0], charts[1])),
        Columns((charts[2], charts[3])),
        Heading("Published beside ours", ", ".join(published_names(study))),
        Text("published-none", "" if published_names(study) else "This study names no table of tune/published.yaml (published = \"…\").", "empty"),
        *published_blocks(study),
    ]  # fmt: skip


def _chart(study: Snapshot, trials: Sequence[Trial], size: str, measure: str) -> Chart:
    theirs, source = published_points(size, measure)
    shown = [t for t in trials if study.setting(t, size) is not None and ours_of(study, t, measure) is not None]
    title, said = TITLES.get(measure, measure), [MEANT[measure]] if measure in MEANT else []
    if theirs:
        said.append(f"Published: {source}. Not comparable: other hardware and data.")
    if not shown:
        said.append("Ours appear once a trial has finished.")
    made = _figure(study, shown, size, measure, theirs) if shown or theirs else None
    return Chart(f"scaling-{measure.removeprefix('val_')}", title, made, " ".join(said), 280)


def _figure(
    study: Snapshot, shown: Sequence[Trial], size: str, measure: str, theirs: Sequence[tuple[float, float, str]]
) -> Figure:
    ours = [study.setting(t, size) for t in shown]
    axis, _ = values_axis(f"{size}", [*ours, *(x for x, _, _ in theirs)])
    traces: list[dict[str, Any]] = []
    if shown:
        traces.append({
            "type": "scatter", "mode": "markers", "name": "ours", "x": ours, "y": [ours_of(study, t, measure) for t in shown],
            "marker": {"color": MAIN, "size": 9, "opacity": 0.75}, "customdata": [t.id for t in shown],
            "text": [f"trial {escape(t.title)}<br>{settings_line(study, t)}" for t in shown],
            "hovertemplate": "%{text}<br>" + measure + " = %{y:.4g}<extra></extra>",
        })  # fmt: skip
    if theirs:
        traces.append({
            "type": "scatter", "mode": "markers", "name": "published, not comparable", "x": [x for x, _, _ in theirs],
            "y": [y for _, y, _ in theirs], "marker": {"color": BEST, "size": 10, "symbol": "diamond-open", "line": {"width": 2}},
            "text": [name for _, _, name in theirs], "hovertemplate": "published, %{text}<br>%{y:.4g}<extra></extra>",
        })  # fmt: skip
    y = {"title": {"text": UNITS.get(measure, label(measure))}}
    if measure in UNITS and measure != "test_pearson_delta":
        y["rangemode"] = "tozero"  # type: ignore[assignment]
    return figure(traces, axis, y)


def ours_of(study: Snapshot, trial: Trial, measure: str) -> float | None:
    """A measure in the terms in which the paper prints it."""
    known = value_of(trial, measure)
    if measure == "stage1_ms" and known is None:
        return trial.costs.get("autoencoder_step_ms")
    if measure == "peak_mem_gb":
        return trial.costs.get("peak_gpu_gb", known)
    step = trial.costs.get("step_ms")
    if measure != "stage2_ms" or known is not None or step is None:
        return known
    workers, accumulate = (number(study.setting(trial, a)) or 1.0 for a in ("train.workers", "flow.accumulate"))
    return step * workers / accumulate


def published_points(size: str, measure: str) -> tuple[list[tuple[float, float, str]], str]:
    """(size, value, row) that the paper prints of a measure, and where."""
    tables = book()
    if not tables:
        return [], ""
    hardware = tables.get("hardware", {})
    if measure == "stage1_ms" and size == "grc.n_modules":
        rows = [
            (float(k), float(ms), f"K {setting_text(k)}, batch {batch}")
            for k, batch, ms in tables["step_time_n_modules"]["rows"].values()
        ]
        return rows, f"table 8, {hardware.get('default')}"
    column = {"stage2_ms": "stage2_ms", "test_pearson_delta": "pearson_delta"}.get(measure, "")
    table, at = tables["scaling_hvg"], SIZE_COLUMNS.get(size)
    found = []
    for name, row in table["rows"].items():
        cells = dict(zip(table["columns"], row, strict=True))
        value = max(cells["stage1_gb"], cells["stage2_gb"]) if measure == "peak_mem_gb" else cells.get(column)
        if at and value is not None:
            batch = f", batch {cells['stage2_batch']:,}" if measure == "stage2_ms" else ""
            found.append((float(cells[at]), float(value), f"{name}{batch}"))
    return found, f"table 9, {hardware.get('scaling_hvg')}" if found else ""


def _comparable(study: Snapshot) -> str:
    """Both machines, and what data ours is of."""
    best = study.best
    if best is None:
        return "Our hardware and data are known once a trial has finished."
    run = Runs(study)[best.id]
    return f"Ours: {run.hardware}; data: {run.data_label}. Published values are the paper's own, on its hardware and data: they are shown, not ranked with ours."
