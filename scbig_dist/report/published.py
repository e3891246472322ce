"""The paper's values of the same experiment beside ours, each row with whether and why it can be compared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from scbig_dist.errors import UserError, suggest
from scbig_dist.report.comparable import NEAR_GENES, differences, why_absent
from scbig_dist.report.printed import COSTS, INTERVAL, TIMES, Printed, printed_rows, tables_of
from scbig_dist.report.reading import RunFiles, StudyFiles
from scbig_dist.report.repeats import alike, n_seeds, spread
from scbig_dist.report.wording import is_missing, setting
from scbig_dist.settings import addresses, flatten

LOG_SCALED = frozenset({"lambda_corr", "lambda_path"})
NEAR_DECADES = 0.25  # a searched λ this near to a printed one is set beside it
DEVIATIONS = "seed_std"  # the table that prints deviations over seeds, not scores


@dataclass(frozen=True)
class Row:
    """One number of the paper and ours."""

    setting: str
    metric: str
    published: float
    ours: float | None
    reasons: tuple[str, ...]
    """What stands between the two numbers beside the method; none: they can be compared."""
    name: str = ""
    """The row's own name in the table."""
    n_modules: tuple[int, int] | None = None
    """K of our trial and of the table, where the table is about K."""
    published_ratio: float | None = None
    ours_ratio: float | None = None
    """A time as a multiple of the same table's reference row, each on its own machine."""

    @property
    def comparable(self) -> bool:
        return not self.reasons

    @property
    def difference(self) -> float | None:
        return None if self.ours is None else self.ours - self.published


@dataclass(frozen=True)
class Comparison:
    """A published table beside a study; `hardware` is the paper's, `reference` the row that times are multiples of."""

    table: str
    printed_as: str
    source: str
    hardware: str
    rows: tuple[Row, ...]
    reference: str | None = None


def compare(study: StudyFiles, table: str, column: str, mode: str, book: Mapping[str, Any]) -> Comparison:
    """Every number of `table` beside the test score of the trial of the same name, or else with the same settings.

    A row without settings is otherwise a method: its score in the best trial's run. `column` and `mode`
    (`max` or `min`) choose among trials with equal settings; trials that differ in the seed alone are
    averaged. An unknown table is a UserError.
    """
    if table not in tables_of(book):
        raise UserError(
            f"study.yaml: published={table!r} is no table of published.yaml; {suggest(table, tables_of(book))}"
        )
    rows: list[Row] = []
    for line in printed_rows(table, book):
        unknown = book.get("unmatched", {}).get(table, {}).get(line.name)
        if not unknown and _named_trial(study, line, table, book) is None:
            unknown = book.get("not_run", {}).get(line.name)
        trial, method = (None, "") if unknown else _trial_of(study, line, table, column, mode, book)
        run = None if trial is None else study.runs.get(str(trial["trial"]))
        repeats = [] if trial is None else _repeats(study, trial)
        for metric, value in line.values.items():
            ours = None if trial is None else _ours(trial, repeats, run, metric, method, table)
            if unknown:
                reasons = [unknown]
            elif trial is None:
                reasons = [_absent(line, table, book)]
            elif ours is None and table == DEVIATIONS and n_seeds(repeats) < 2:
                reasons = ["one seed has no deviation"]
            elif ours is None:
                reasons = why_absent(trial, metric)
            else:
                reasons = differences(trial, run, line, metric, table, book)
            text, k = _setting_text(line, trial, study, n_seeds(repeats)), _n_modules(line, trial, study)
            rows.append(Row(text, metric, value, ours, tuple(reasons), line.name, k))
    source, reference = book.get("source", {}), book.get("relative_to", {}).get(table)
    return Comparison(
        table=table,
        printed_as=book["printed_as"][table],
        source=f"{source.get('authors', '')}: {source.get('title', '')} ({source.get('code', '')})",
        hardware=book.get("hardware", {}).get(table, book.get("hardware", {}).get("default", "not printed")),
        rows=tuple(_with_ratios(rows, reference)),
        reference=reference,
    )


def _trial_of(
    study: StudyFiles, line: Printed, table: str, column: str, mode: str, book: Mapping[str, Any]
) -> tuple[dict[str, Any] | None, str]:
    """The trial that a row is set beside, and whose scores in it."""
    named = _named_trial(study, line, table, book)
    trial = named or _matching(study, line, column, mode)
    run = None if trial is None else study.runs.get(str(trial["trial"]))
    method = "scBIG" if named or line.settings else line.name
    if method not in ("scBIG", *(run.scores if run else ())):
        return None, method  # neither a trial nor a method of this study
    return trial, method


def _named_trial(study: StudyFiles, line: Printed, table: str, book: Mapping[str, Any]) -> dict[str, Any] | None:
    return _named(study, book.get("trials", {}).get(table, {}).get(line.name, "")) or _named(study, line.name)


def _absent(line: Printed, table: str, book: Mapping[str, Any]) -> str:
    special = book.get("screens", {}).get(table, {}).get("absent")
    return special or ("no finished trial with these settings" if line.settings else "no finished trial of this name")


def _repeats(study: StudyFiles, trial: Mapping[str, Any]) -> list[dict[str, Any]]:
    known = set(addresses())
    return alike(study.trials, [str(c) for c in study.trials.columns if c in known], dict(trial))


def _n_modules(line: Printed, trial: Mapping[str, Any] | None, study: StudyFiles) -> tuple[int, int] | None:
    ours = None if trial is None else setting_of(study, trial, "grc.n_modules")
    return None if ours is None or "n_modules" not in line.settings else (int(ours), int(line.settings["n_modules"]))


def _with_ratios(rows: list[Row], reference: str | None) -> list[Row]:
    """Times also as multiples of the reference row's."""
    base = {row.metric: row for row in rows if row.name == reference and row.metric in TIMES}
    return [
        replace(
            row,
            published_ratio=row.published / base[row.metric].published,
            ours_ratio=None if row.ours is None or not base[row.metric].ours else row.ours / base[row.metric].ours,  # type: ignore[operator]
        )
        if row.metric in base
        else row
        for row in rows
    ]


def setting_of(study: StudyFiles, trial: Mapping[str, Any], address: str) -> Any:
    """A trial's value at an address: its axis, else its run's config; None where neither says."""
    if address in trial and not is_missing(trial[address]):
        return trial[address]
    run = study.runs.get(str(trial["trial"]))
    return flatten(run.config).get(address) if run else None


def _named(study: StudyFiles, name: str) -> dict[str, Any] | None:
    """The finished trial that was named so beforehand."""
    return next((trial for trial in study.finished if name and trial.get("name") == name), None)


def _matching(study: StudyFiles, line: Printed, column: str, mode: str) -> dict[str, Any] | None:
    """The finished trial with the row's settings, the nearest where a λ was searched, the best among equals."""
    candidates = []
    for trial in study.finished:
        gaps = [
            _gap(name, value, setting_of(study, trial, line.address(name))) for name, value in line.settings.items()
        ]
        score = trial.get(column)
        if None not in gaps and not is_missing(score):
            rank = float(score) if mode == "min" else -float(score)  # type: ignore[arg-type]
            candidates.append((sum(g for g in gaps if g is not None), rank, str(trial["trial"]), trial))
    return min(candidates, key=lambda c: c[:3])[3] if candidates else None


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


def _ours(
    trial: Mapping[str, Any], repeats: list[dict[str, Any]], run: RunFiles | None, metric: str, method: str, table: str
) -> float | None:
    if metric in COSTS:
        return _cost(trial, run, metric)
    if metric in INTERVAL:
        found = (run.scores_meta.get("intervals") or {}).get(run.method, {}) if run else {}
        return found.get("pearson_delta", {}).get(metric)
    if method == "scBIG":
        found = spread(repeats, f"test_{metric}")
        if table == DEVIATIONS:
            return None if found is None else found.sd
        if found is not None:
            return found.mean
    value = run.scores.get(method, {}).get(metric) if run else None
    return None if is_missing(value) else float(value)  # type: ignore[arg-type]


def _cost(trial: Mapping[str, Any], run: RunFiles | None, metric: str) -> float | None:
    """What was timed alone; else the update that training logged, shared out over its micro-batches."""
    value = trial.get(metric)
    if is_missing(value) and metric == "stage2_ms" and run is not None and not is_missing(trial.get("step_ms")):
        config = flatten(run.config)
        workers = config.get("train.workers", 1)
        return (
            None if isinstance(workers, str) else float(trial["step_ms"]) * workers / config.get("flow.accumulate", 1)
        )
    return None if is_missing(value) else float(value)  # type: ignore[arg-type]


def _setting_text(line: Printed, trial: Mapping[str, Any] | None, study: StudyFiles, n: int) -> str:
    """The printed settings, and ours where they are not quite the same."""
    settings = ", ".join(f"{name} {setting(value)}" for name, value in line.settings.items() if "." not in name)
    batches = ", ".join(f"{address} {setting(value)}" for address, value in line.batches.items())
    told = ", ".join(each for each in (settings, batches) if each)
    text = f"{line.name}: {told}" if line.name and told else line.name or told
    if trial is None or not line.settings:
        return text
    near = [
        f"{line.address(name)} {setting(ours)}"
        for name, value in line.settings.items()
        if (ours := setting_of(study, trial, line.address(name))) != value and name in LOG_SCALED
    ]
    ours_is = f"mean of {n} seeds" if n > 1 else f"trial {trial['trial']}"
    return text + f" (ours: {ours_is}" + (", " + ", ".join(near) if near else "") + ")"
