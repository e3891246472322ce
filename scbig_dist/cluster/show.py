"""What a person sees of a study: its plan, a line for every trial that ends, where to look."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from scbig_dist.cluster.axes import Range
from scbig_dist.cluster.objectives import Row, best_row, front_rows
from scbig_dist.cluster.outlook import saved
from scbig_dist.cluster.plan import Plan
from scbig_dist.cluster.resources import Needs, check_placeable, n_concurrent
from scbig_dist.cluster.storage import kept_storage
from scbig_dist.cluster.study import Asha, Study
from scbig_dist.errors import amount


def print_plan(plan: Plan, needs: Sequence[Needs], of: Sequence[dict[str, float]] | None) -> None:
    """The trials that would be run, on stdout; `of`: this machine, where that is where they would."""
    study, console = plan.study, Console(markup=False)
    table = Table(title=f"{plan.n_trials} trials", title_justify="left")
    for heading in ("trial", *(["name"] if study.points else []), *study.addresses):
        table.add_column(heading, overflow="fold")
    for number, point in enumerate(plan.points[: plan.n_trials]):
        cells = [str(point.values.get(address, "–")) for address in study.addresses]
        table.add_row(f"{number:04d}", *([point.name] if study.points else []), *cells)
    if plan.n_trials > len(plan.points):
        rest = f"{len(plan.points):04d} … {plan.n_trials - 1:04d}"
        cells = [_axis_text(study.axes.get(address)) for address in study.addresses]
        table.add_row(rest, *([f"({study.sampler})"] if study.points else []), *cells)
    console.print(table)
    for address, others in study.when.items():
        wanted = " and ".join(f"{other} is {' or '.join(map(str, values))}" for other, values in others.items())
        console.print(f"{address}: only where {wanted}")
    flow, auto = plan.base.flow, plan.base.autoencoder
    work = f"up to {auto.epochs} epochs of stage 1, {flow.steps:,} micro-steps of stage 2"
    if study.timed == "only":
        work = "a few updates of each stage are timed, nothing is trained"
    console.print(f"each: {work}; asks for " + " or ".join(str(each) for each in needs))
    if study.timed == "alone":
        console.print("once all have ended, a few updates of each are timed, one trial after the other")
    if study.seeds > 1:
        console.print(
            f"each {study.seeds} times, with seeds {plan.base.train.seed} … {plan.base.train.seed + study.seeds - 1}"
        )
    if (rule := study.stopping) is not None:
        first = " (its first seed)" if study.seeds > 1 else ""
        if isinstance(rule, Asha):
            text = f"rungs at {rule.grace:,} micro-steps and every ×{rule.reduction} after"
        else:
            text = f"below the median of {rule.others} or more others, from micro-step {rule.grace:,} on"
        console.print(f"early stop{first}: {text}")
    if study.timed != "only":
        chosen = " and ".join(f"{each.name} ({each.mode})" for each in study.objectives)
        console.print(f"chosen by {chosen}; scored on test, once, at the end: {_test_text(plan)}")
    if of is not None:
        check_placeable(needs, of, "a trial")
        n = n_concurrent(needs, of)
        limit = 1 if study.timed == "only" else study.at_once
        console.print(f"at once on this machine: {n if limit is None else min(n, limit)}")


def _axis_text(axis: Any) -> str:
    if isinstance(axis, Range):
        return f"{axis.low:g} … {axis.high:g}" + (" (log)" if axis.log else "")
    return ", ".join(str(value) for value in axis or ["as named"])


def _test_text(plan: Plan) -> str:
    if plan.study.test == "all":
        return "every finished trial"
    best = "the best trial" if len(plan.study.objectives) == 1 else "the trials of the front"
    return best + (" and every named point" if plan.study.points else "")


class Board:
    """One line per trial as it ends, and a status line where the terminal can show one."""

    def __init__(self, plan: Plan, study_dir: Path, dashboard: str | None) -> None:
        self._plan, self._dir, self._dashboard = plan, study_dir, dashboard
        self._console = Console(markup=False, stderr=True)
        self._status = self._console.status("")
        self._began, self._before, self._ended = time.time(), 0, 0

    def open(self, rows: Sequence[Row], n_at_once: int) -> None:
        self._before = self._ended = len(rows)
        self._say(f"study: {self._dir}" + (f" ({len(rows)} of {self._plan.n_trials} trials had ended)" if rows else ""))
        if self._dashboard:
            self._say(f"Ray Dashboard: {self._dashboard} (its token: ray get-auth-token)")
        self._say(f"trials: optuna-dashboard {kept_storage(self._dir).at(self._dir)} (pip install optuna-dashboard)")
        self._say(f"curves: tensorboard --logdir {self._dir / 'trials'}")
        self._say(f"{self._plan.n_trials} trials, {n_at_once} at a time")
        self._status.update(f"{len(rows)}/{self._plan.n_trials} done")
        self._status.start()

    def ended(self, row: Row, rows: Sequence[Row]) -> None:
        study = self._plan.study
        best, metric = best_row(rows, study), study.objectives[0].name
        self._ended += 1
        self._say(f"[{self._ended}/{self._plan.n_trials}] {_line(row, study)}")
        each = (time.time() - self._began) / (self._ended - self._before)
        left = max(self._plan.n_trials - self._ended, 0)
        text = f"{self._ended}/{self._plan.n_trials} done, about {each * left / 60:.0f} min left"
        if best is not None:
            text += f", best {metric} {best[metric]:.4f} (trial {best['trial']})"
        self._status.update(text)

    def died(self, trial: str, cause: str) -> None:
        self._say(f"trial {trial}: {cause}; it goes on from its newest checkpoint")

    def noticed(self, trial: str, what: str) -> None:
        self._say(f"trial {trial}: {what}")

    def warned(self, what: str) -> None:
        self._say(what)

    def scoring(self, n: int) -> None:
        if n:
            self._say(f"scoring {n} trial{'s' if n > 1 else ''} on test")

    def timing(self, n: int) -> None:
        if n:
            self._say(f"timing the steps of {n} trial{'s' if n > 1 else ''}, one after the other")

    def scored(self, row: Row) -> None:
        value = row.get("test_pearson_delta")
        text = (
            (row["reason"] or "test_pearson_delta is undefined") if value is None else f"test_pearson_delta {value:.4f}"
        )
        self._say(f"{_title(row)}: {text}")

    def close(self, rows: Sequence[Row], n_left: int) -> None:
        """`n_left`: trials that have not ended, by the search; of others that have no row the folder is gone."""
        self._status.stop()
        study, counts = self._plan.study, Counter(row["status"] for row in rows)
        best = best_row(rows, study)
        text = ", ".join(f"{n} {status}" for status, n in counts.items()) or "no trial ended"
        if best is not None and len(study.objectives) == 1:
            text += f"; best: {_line(best, study)}"
        self._say(text)
        if len(study.objectives) > 1:
            front = sorted(front_rows(rows, study), key=lambda row: row[study.objectives[1].name])
            for row in front:
                self._say(f"on the front: {_line(row, study)}")
        if text := saved(self._dir):
            self._say(text)
        missing = self._plan.n_trials - len(rows)
        if n_left and missing > 0:
            self._say(f"{amount(missing, 'trial')} to go: the same command with --resume continues")
        else:
            if missing > 0:
                self._say(
                    f"{amount(missing, 'trial')} ended and left no folder in {self._dir / 'trials'}: not run again; "
                    "another study (-o) with the same --artifacts repeats little"
                )
            self._say(f"table: {self._dir / 'trials.parquet'}; next: scbig report {self._dir}")

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True)


def _title(row: Mapping[str, Any]) -> str:
    return f"trial {row['trial']}" + (f" ({row['name']})" if row["name"] else "")


def _line(row: Mapping[str, Any], study: Study) -> str:
    parts = [_title(row)]
    parts += [f"{address}={_text(row[address])}" for address in study.addresses if address in row]
    parts.append(row["status"] if row["status"] != "finished" else "")
    for each in study.objectives:
        if row.get(each.name) is not None:
            spread = row.get(f"{each.name}_sd")
            parts.append(f"{each.name}={row[each.name]:.4f}" + (f" ± {spread:.4f}" if spread is not None else ""))
    if row.get("stage1_ms") is not None:
        parts.append(f"stage 1 {row['stage1_ms']:.4g} ms, stage 2 {row['stage2_ms']:.4g} ms")
    if row["seconds_total"] is not None:
        parts.append(f"{row['seconds_total']:.0f} s")
    parts.append(row["error"] or row["reason"])
    return "  ".join(part for part in parts if part)


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
