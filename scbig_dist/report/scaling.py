"""Workers: how much faster more of them are, from trials named `strong N` and `weak N`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scbig_dist.report.document import Table
from scbig_dist.report.reading import StudyFiles
from scbig_dist.report.wording import MISSING, is_missing, number, with_unit

WORKERS = "train.workers"
STAGES = {
    "autoencoder": ("autoencoder_step_ms", "autoencoder_cells_per_s", "autoencoder_data_wait"),
    "flow": ("step_ms", "cells_per_s", "data_wait"),
}
KINDS = ("strong", "weak")


@dataclass(frozen=True)
class Curve:
    """Cells per second against workers: `strong`, the same update shared; `weak`, an update that grows with them."""

    kind: str
    stage: str
    workers: tuple[int, ...]
    cells_per_s: tuple[float, ...]

    @property
    def speed_up(self) -> tuple[float, ...]:
        """Against the least workers, times their number: the ideal is the number of workers."""
        return tuple(self.workers[0] * each / self.cells_per_s[0] for each in self.cells_per_s)

    @property
    def efficiency(self) -> tuple[float, ...]:
        return tuple(s / n for s, n in zip(self.speed_up, self.workers, strict=True))


def worker_curves(study: StudyFiles) -> list[Curve]:
    """Of both stages and kinds, where two numbers of workers or more were measured."""
    found = []
    for kind in KINDS:
        rows = sorted(_trials(study, kind), key=lambda row: row[WORKERS])
        for stage, (_, column, _) in STAGES.items():
            points = [
                (int(row[WORKERS]), float(v)) for row in rows if not is_missing(v := _summary(study, row, column))
            ]
            if len(points) > 1 and all(speed > 0 for _, speed in points):
                workers, speeds = zip(*points, strict=True)
                found.append(Curve(kind, stage, workers, speeds))
    return found


def workers_table(study: StudyFiles, curves: list[Curve]) -> Table:
    """An update's time, cells per second, speed-up and efficiency of every trial and stage, and what it waited for cells."""
    columns = (
        "kind",
        "stage",
        "workers",
        "nodes",
        "update (ms)",
        with_unit("cells_per_s"),
        "speed-up",
        "efficiency",
        "data wait",
    )
    rows = []
    for curve in curves:
        step, _, wait = STAGES[curve.stage]
        by_workers = {int(row[WORKERS]): row for row in _trials(study, curve.kind)}
        for n, speed, up, share in zip(curve.workers, curve.cells_per_s, curve.speed_up, curve.efficiency, strict=True):
            row = by_workers[n]
            waited = _summary(study, row, wait)
            cells: tuple[str, ...] = (curve.kind, curve.stage, str(n), number(_summary(study, row, "n_nodes")))
            cells += (number(_summary(study, row, step)), number(speed), f"{up:.2f}", f"{share:.0%}")
            rows.append((*cells, MISSING if is_missing(waited) else f"{float(waited):.0%}"))
    about = "Speed-up: cells per second against one worker of the same kind. Efficiency: speed-up per worker; its ideal is 100%. Data wait: share of the time without a batch to work on."
    return Table(columns, tuple(rows), frozenset(columns[2:]), about)


def limits(curves: list[Curve]) -> str:
    """Where each curve stops paying, in a sentence."""
    parts = []
    for curve in curves:
        best = max(zip(curve.speed_up, curve.workers, strict=True))
        n, share = curve.workers[-1], curve.efficiency[-1]
        text = f"{curve.kind} scaling of the {curve.stage} stage: {share:.0%} of the ideal with {n} workers"
        if best[1] != n:
            text += f", fastest with {best[1]}"
        parts.append(text)
    return "; ".join(parts) + "."


def _trials(study: StudyFiles, kind: str) -> list[dict[str, Any]]:
    if not {"name", "status", WORKERS} <= set(study.trials.columns):
        return []
    rows = [{str(k): v for k, v in row.items()} for row in study.trials.to_dict("records")]
    rows = [row for row in rows if "-" not in str(row[WORKERS])]  # a range of workers is no point of a curve
    return [row for row in rows if row["status"] == "finished" and str(row["name"]).startswith(f"{kind} ")]


def _summary(study: StudyFiles, row: Mapping[str, Any], name: str) -> Any:
    run = study.runs.get(str(row["trial"]))
    value = run.summary.get(name) if run else None
    return row.get(name) if is_missing(value) else value
