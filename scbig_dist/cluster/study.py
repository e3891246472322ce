"""A study file: what is tried, by which measure, for how long. Data only: it is never run."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from scbig_dist.errors import UserError, suggest
from scbig_dist.metrics.summary import HIGHER_IS_BETTER, METRICS
from scbig_dist.train.flow_stage import FlowStage

Value = bool | int | float | str | None


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Range(Part):
    """An axis that is searched between two values, both included."""

    low: int | float
    high: int | float
    log: bool = False
    """True: equal factors are equally likely."""


class Asha(Part):
    """Asynchronous successive halving: a trial goes on past a rung if it is among the best there."""

    grace: int = Field(ge=1)
    """Micro-steps of stage 2 before any trial may be stopped: the first rung."""
    reduction: int = Field(default=3, ge=2)
    """One in so many goes on; each rung lies this factor behind the one before."""


class Study(Part):
    """The fields of a study file, one assignment each."""

    base: str | None = None
    """Preset, relative to the study file; null: the schema's defaults."""
    fixed: dict[str, Value] = {}
    """{address: value} on top of the base, the same in every trial."""
    axes: dict[str, list[Value] | Range] = {}
    """{address: values of a grid, or {"low": …, "high": …, "log": …}}."""
    points: dict[str, dict[str, Value]] = {}
    """{name: {address: value}}: trials named beforehand, run first. Each is scored on test. What a
    point leaves out and another names keeps the value of `base` and `fixed`; {} is that itself.
    `grc.n_modules` may be "genes": as many as the panel has."""
    sampler: Literal["grid", "tpe", "random"] = "grid"
    """How `axes` are searched: every combination, Optuna's TPE, or at random."""
    n_trials: int | None = Field(default=None, ge=1)
    """Trials in all, points included; null: every point and every combination."""
    metric: str = "val_pearson_delta"
    """What trials are ranked, searched and stopped by; a validation score, never a test one."""
    mode: Literal["max", "min"] = "max"
    """Whether a high or a low metric is good; by default as the metric has it."""
    seed: int = Field(default=0, ge=0)
    """Seed of the search (a trial's own is `train.seed`)."""
    asha: Asha | None = None
    """Early stopping; null: every trial runs to its end."""
    test: Literal["best", "all"] = "best"
    """What is scored on test, once, at the end: the best trial and the named points, or all that finished."""
    at_once: int | None = Field(default=None, ge=1)
    """Trials at the same time, at most; null: as many as fit. 1 where the times of trainings are to be compared."""
    timed: Literal["in_training", "alone", "only"] = "in_training"
    """Step times: as trainings log them, beside whatever ran beside them; `alone`: also of a few updates of each
    trial's model on random cells, one trial after the other once all have ended; `only`: nothing is trained."""
    published: str | list[str] | None = None
    """Table of tune/published.yaml that a report sets beside the study, or several; null: none."""
    scales: dict[str, dict[str, Any]] = {}
    """{name: fields that replace those above}, for `--scale name`."""

    @property
    def addresses(self) -> list[str]:
        """Every address that differs between trials, axes first."""
        return list(dict.fromkeys([*self.axes, *(address for point in self.points.values() for address in point)]))


def read_study(path: Path, scale: str | None = None, n_trials: int | None = None) -> Study:
    """The study of a file, at a scale of its own; a UserError says what is wrong with it."""
    fields = _assignments(path)
    if scale is not None:
        scales = fields.get("scales") or {}
        if not isinstance(scales, Mapping) or scale not in scales:
            known = suggest(scale, list(scales)) if scales else "it has none"
            raise UserError(f"study {path}: no scale '{scale}'; {known}")
        fields |= scales[scale]
    if n_trials is not None:
        fields["n_trials"] = n_trials
    better = HIGHER_IS_BETTER.get(str(fields.get("metric", "")).removeprefix("val_"), True)
    fields.setdefault("mode", "max" if better else "min")
    unknown = [name for name in fields if name not in Study.model_fields]
    if unknown:
        raise UserError(f"study {path}: unknown field '{unknown[0]}'; {suggest(unknown[0], Study.model_fields)}")
    try:
        study = Study.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"study {path}: {where}={first['input']!r}: {first['msg']}") from None
    _check(study, f"study {path}")
    return study


def _assignments(path: Path) -> dict[str, Any]:
    """`name = literal` lines of a Python file, read without running it."""
    if not path.is_file():
        raise UserError(f"study {path}: no such file; studies lie in tune/, e.g. tune/sensitivity.py")
    try:
        module = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError, ValueError) as error:
        raise UserError(f"study {path}: not Python (line {getattr(error, 'lineno', '?')})") from None
    fields: dict[str, Any] = {}
    for index, node in enumerate(module.body):
        if index == 0 and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue  # the docstring
        if not (isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name)):
            raise UserError(f"study {path} line {node.lineno}: a study holds data only; write 'name = value'")
        try:
            fields[node.targets[0].id] = ast.literal_eval(node.value)
        except ValueError:
            raise UserError(
                f"study {path} line {node.lineno}: a study holds data only; "
                "write numbers, text, lists and dictionaries, no calls or names"
            ) from None
    return fields


def _check(study: Study, where: str) -> None:
    """Rules between fields."""
    if not study.axes and not study.points:
        raise UserError(f"{where}: nothing to try; give 'axes' or 'points'")
    if study.metric.removeprefix("val_") not in METRICS or not study.metric.startswith("val_"):
        known = [f"val_{metric}" for metric in METRICS]
        raise UserError(
            f"{where}: metric={study.metric!r}: trials are chosen by validation; {suggest(study.metric, known)}"
        )
    if study.asha is not None and study.metric not in FlowStage.check_names:
        reported = " or ".join(name for name in FlowStage.check_names if name.startswith("val_"))
        raise UserError(
            f"{where}: asha with metric={study.metric!r}: stage 2 reports {reported}; name one, or leave asha out"
        )
    for address, axis in study.axes.items():
        if isinstance(axis, Range):
            if study.sampler == "grid":
                raise UserError(
                    f"{where}: axes.{address} is a range, which a grid cannot list; set sampler='tpe' or 'random'"
                )
            if not axis.low < axis.high or (axis.log and axis.low <= 0):
                raise UserError(
                    f"{where}: axes.{address}: low={axis.low} high={axis.high} log={axis.log}: expected {'0 < ' if axis.log else ''}low < high"
                )
        elif not axis:
            raise UserError(f"{where}: axes.{address} is an empty list; give its values")
    for name, point in study.points.items():
        if missing := sorted(set(study.axes) - set(point)):
            raise UserError(
                f"{where}: points['{name}'] does not name {', '.join(missing)}; every point names every axis"
            )
        for address, axis in study.axes.items():
            value = point[address]
            if isinstance(axis, Range) and not (isinstance(value, int | float) and axis.low <= value <= axis.high):
                raise UserError(f"{where}: points['{name}'] {address}={value} lies outside {axis.low} … {axis.high}")
    if study.sampler != "grid" and study.axes and study.n_trials is None:
        raise UserError(f"{where}: sampler='{study.sampler}' has no end of its own; give n_trials")
