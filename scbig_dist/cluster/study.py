"""A study file: what is tried, by which measure, for how long. Data only: it is never run."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError
from pydantic_core import ErrorDetails

from scbig_dist.cluster.axes import FROZEN, Range, Value
from scbig_dist.cluster.objectives import Objective, usual_mode
from scbig_dist.cluster.study_rules import check_study
from scbig_dist.errors import UserError, suggest

Mode = Literal["max", "min"]


class Asha(BaseModel):
    """Asynchronous successive halving: a trial goes on past a rung if it is among the best that have come there."""

    model_config = FROZEN
    rule: Literal["asha"]
    grace: int = Field(ge=1)
    """Micro-steps of stage 2 before any trial may be stopped: the first rung."""
    reduction: int = Field(default=3, ge=2)
    """One in so many goes on; each rung lies this factor behind the one before."""


class Median(BaseModel):
    """A trial ends where its best score so far is below the median of the others' at the same micro-step."""

    model_config = FROZEN
    rule: Literal["median"]
    grace: int = Field(ge=1)
    """Micro-steps of stage 2 before any trial may be stopped."""
    others: int = Field(default=3, ge=1)
    """Trials that must have come as far before one is measured by them."""


class Study(BaseModel):
    """The fields of a study file, one assignment each."""

    model_config = FROZEN
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
    when: dict[str, dict[str, list[Value]]] = {}
    """{axis: {other axis: values}}: the axis exists only in trials where the other has one of these values."""
    sampler: Literal["grid", "tpe", "nsga2", "random"] = "grid"
    """How `axes` are searched: every combination, Optuna's TPE or (two metrics) NSGA-II, or at random."""
    n_trials: int | None = Field(default=None, ge=1)
    """Trials in all, points included; null: every point and every combination."""
    metric: str | list[str] = "val_pearson_delta"
    """What trials are ranked, searched and stopped by; a validation score, never a test one. Two names, the second
    a score or a cost such as step_ms or peak_mem_gb: what is found is the front of trials that none beats in both."""
    mode: Mode | list[Mode] = "max"
    """Whether a high or a low metric is good, for each; by default as the metric has it."""
    seed: int = Field(default=0, ge=0)
    """Seed of the search (a trial's own is `train.seed`)."""
    seeds: int = Field(default=1, ge=1)
    """Trainings per trial, alike but for `train.seed`: its own and those after it. A trial's scores are their means."""
    stopping: Annotated[Asha | Median, Field(discriminator="rule")] | None = None
    """Early stopping, e.g. {"rule": "asha", "grace": 1000}; null: every trial runs to its end. Of several seeds the
    first is watched, and a trial that it does not end trains the others to theirs."""
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

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """One, or two: score first."""
        names = [self.metric] if isinstance(self.metric, str) else self.metric
        modes = [self.mode] if isinstance(self.mode, str) else self.mode
        return tuple(Objective(name, mode) for name, mode in zip(names, modes, strict=True))


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
    metric = fields.get("metric", Study.model_fields["metric"].default)
    several = isinstance(metric, list | tuple)
    fields.setdefault("mode", [usual_mode(str(each)) for each in metric] if several else usual_mode(str(metric)))
    if isinstance(fields.get("when"), Mapping):
        fields["when"] = {axis: _as_lists(others) for axis, others in fields["when"].items()}
    unknown = [name for name in fields if name not in Study.model_fields]
    if unknown:
        raise UserError(f"study {path}: unknown field '{unknown[0]}'; {suggest(unknown[0], Study.model_fields)}")
    try:
        study = Study.model_validate(fields)
    except ValidationError as error:
        # Of the forms that an axis may have, the one that was meant has the deepest mistake.
        found = max(error.errors(), key=lambda each: len(each["loc"]))
        raise UserError(f"study {path}: {_wrong(found)}") from None
    check_study(study, f"study {path}")
    return study


FORMS = {
    "int": "a whole number", "float": "a number", "bool": "True or False", "string": "text", "list": "a list",
    "dict": "a dictionary, {name: value}",
}  # fmt: skip


def _wrong(error: ErrorDetails) -> str:
    """A field, its value and what it should be, not in pydantic's words."""
    names = [str(part) for part in error["loc"]]  # forms among them, where there are several
    where = ".".join(name for name in names if name not in ("Range", "int", "float") and "[" not in name)
    context, form = error.get("ctx", {}), "float" if "float" in names or "int" in names else error["type"].split("_")[0]
    if form == "missing":
        return f"{where} is missing"
    says = f"should be {FORMS[form]}" if form in FORMS else error["msg"]
    if names[0] == "axes" and form == "list":
        says = 'should be a list of values, or {"low": …, "high": …}'
    elif "expected_tags" in context:
        says = suggest(str(context["tag"]), re.findall(r"'(.*?)'", context["expected_tags"]))
    elif form == "literal":
        says = suggest(str(error["input"]), re.findall(r"'(.*?)'", context["expected"]))
    elif "ge" in context:
        says = f"should be {context['ge']} or more"
    return f"{where}={error['input']!r}: {says}"


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
        except (ValueError, TypeError, MemoryError, RecursionError):
            raise UserError(
                f"study {path} line {node.lineno}: a study holds data only; "
                "write numbers, text, lists and dictionaries, no calls or names"
            ) from None
    return fields


def _as_lists(others: Any) -> Any:
    """{"gcae.encoder": "gcae"} as {"gcae.encoder": ["gcae"]}."""
    if not isinstance(others, Mapping):
        return others
    return {other: values if isinstance(values, list) else [values] for other, values in others.items()}
