"""Rules between the fields of a study file; what is broken is a UserError before anything else is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scbig_dist.cluster.axes import Range, existing, exists, parents_first
from scbig_dist.cluster.objectives import BUDGETS, CHECKPOINTS, COSTS
from scbig_dist.errors import UserError, suggest
from scbig_dist.metrics.summary import METRICS

if TYPE_CHECKING:
    from scbig_dist.cluster.study import Study


def check_study(study: Study, where: str) -> None:
    if not study.axes and not study.points:
        raise UserError(f"{where}: nothing to try; give 'axes' or 'points'")
    _check_metrics(study, where)
    for address, axis in study.axes.items():
        _check_axis(study, address, axis, where)
    _check_conditions(study, where)
    for name in study.points:
        _check_point(study, name, where)
    if study.sampler != "grid" and study.axes and study.n_trials is None:
        raise UserError(f"{where}: sampler='{study.sampler}' has no end of its own; give n_trials")
    if study.seeds > 1 and "train.seed" in study.addresses:
        raise UserError(f"{where}: seeds={study.seeds} and an axis train.seed: both say which seeds; leave one out")
    if study.seeds > 1 and study.timed == "only":
        raise UserError(f"{where}: seeds={study.seeds} with timed='only': nothing is trained; leave seeds out")
    _check_budgets(study, where)


def _check_metrics(study: Study, where: str) -> None:
    names = [study.metric] if isinstance(study.metric, str) else study.metric
    modes = [study.mode] if isinstance(study.mode, str) else study.mode
    if not 1 <= len(names) <= 2 or len(set(names)) < len(names):
        raise UserError(
            f"{where}: metric={names}: give one name, or two that differ: a validation score and a cost or score"
        )
    if len(modes) != len(names):
        raise UserError(f"{where}: mode={modes}: expected one of 'max' and 'min' for each of {', '.join(names)}")
    scores = [f"val_{metric}" for metric in METRICS]
    for i, name in enumerate(names):
        known = scores if i == 0 else [*scores, *COSTS]
        if name not in known:
            rule = "trials are chosen by validation scores" if i == 0 else "the second is a validation score or a cost"
            raise UserError(f"{where}: metric={name!r}: {rule}; {suggest(name, known)}")
    if study.sampler == "nsga2" and len(names) == 1:
        raise UserError(f"{where}: sampler='nsga2' searches a front of two metrics; give two, or set sampler='tpe'")
    if study.stopping is None:
        return
    if len(names) > 1:
        raise UserError(
            f"{where}: stopping with two metrics: which of two trials is behind is not defined; name one metric, or leave stopping out"
        )
    from scbig_dist.train.flow_stage import FlowStage  # brings torch and its compiler, seconds that no other rule needs

    if names[0] not in FlowStage.check_names:
        reported = " or ".join(name for name in FlowStage.check_names if name.startswith("val_"))
        raise UserError(
            f"{where}: stopping with metric={names[0]!r}: stage 2 reports {reported}; name one, or leave stopping out"
        )


def _check_axis(study: Study, address: str, axis: Any, where: str) -> None:
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
    else:
        for twice in (value for n, value in enumerate(axis) if value in axis[:n]):
            raise UserError(f"{where}: axis '{address}' lists {twice!r} twice; name each value once")


def _check_conditions(study: Study, where: str) -> None:
    """Every condition can hold, and none goes in a circle."""
    for address, others in study.when.items():
        if address not in study.axes:
            raise UserError(f"{where}: when['{address}'] is no axis; {suggest(address, list(study.axes))}")
        if address in BUDGETS:
            raise UserError(f"{where}: when['{address}']: a trial's budget cannot hang on another axis; leave it out")
        for other, allowed in others.items():
            axis = study.axes.get(other)
            if axis is None:
                raise UserError(
                    f"{where}: when['{address}'] asks for {other}, no axis; {suggest(other, list(study.axes))}"
                )
            if isinstance(axis, Range):
                raise UserError(f"{where}: when['{address}'] asks for {other}, a range; an axis hangs on listed values")
            if strange := [value for value in allowed if value not in axis]:
                raise UserError(
                    f"{where}: when['{address}']: {other}={strange[0]!r} is never tried; its values: {axis}"
                )
    if parents_first(list(study.axes), study.when) is None:
        raise UserError(
            f"{where}: when: {', '.join(study.when)} hang on each other in a circle; let one of them exist always"
        )
    if study.when and study.sampler == "nsga2":
        raise UserError(
            f"{where}: sampler='nsga2' learns nothing of an axis that some trials lack ({', '.join(study.when)}); set sampler='tpe'"
        )


def _check_point(study: Study, name: str, where: str) -> None:
    point = study.points[name]
    if missing := sorted(a for a in set(study.axes) - set(point) if exists(a, existing(point, study.when), study.when)):
        raise UserError(f"{where}: points['{name}'] does not name {', '.join(missing)}; every point names every axis")
    if beside := [a for a in study.axes if a in point and a not in existing(point, study.when)]:
        others = "; ".join(f"{other} in {allowed}" for other, allowed in study.when[beside[0]].items())
        raise UserError(f"{where}: points['{name}'] names {beside[0]}, which exists only where {others}; leave it out")
    for address, axis in study.axes.items():
        value = point.get(address)
        outside = isinstance(axis, Range) and not (isinstance(value, int | float) and axis.low <= value <= axis.high)
        if isinstance(axis, Range) and address in point and outside:
            raise UserError(f"{where}: points['{name}'] {address}={value} lies outside {axis.low} … {axis.high}")


def _check_budgets(study: Study, where: str) -> None:
    """Only trials of equal budget are compared: by a search that learns from them, by a rule that stops them."""
    fixed: tuple[str, ...]
    if study.stopping is not None:
        fixed, what = CHECKPOINTS, f"stopping by {study.stopping.rule} compares trials at equal micro-steps"
    elif study.sampler in ("tpe", "nsga2") and not any(each.name == "seconds_total" for each in study.objectives):
        fixed, what = (
            BUDGETS,
            f"sampler='{study.sampler}' learns from trials of equal budget (or add seconds_total as second metric)",
        )
    else:
        return
    if varied := [address for address in study.addresses if address in fixed]:
        raise UserError(
            f"{where}: {varied[0]} differs between trials, but {what}; give it one value, in 'fixed' or the base"
        )
