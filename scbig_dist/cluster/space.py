"""A study's axes in Optuna's words, and a trial's place among them."""

from __future__ import annotations

from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import Trial

from scbig_dist.cluster.axes import Conditions, Range, exists, parents_first
from scbig_dist.cluster.study import Study
from scbig_dist.config import Config


def distributions(study: Study) -> dict[str, BaseDistribution]:
    """Each address that trials differ in; what is only ever named in points is a list of those values."""
    space: dict[str, BaseDistribution] = {}
    for address in study.addresses:
        axis = study.axes.get(address)
        named = [point[address] for point in study.points.values() if address in point]
        if not isinstance(axis, Range):
            space[address] = CategoricalDistribution(list(dict.fromkeys([*(axis or []), *named])))
        elif _is_integer(address):
            space[address] = IntDistribution(int(axis.low), int(axis.high), log=axis.log)
        else:
            space[address] = FloatDistribution(float(axis.low), float(axis.high), log=axis.log)
    return space


def _is_integer(address: str) -> bool:
    value = Config().get(address)
    return isinstance(value, int) and not isinstance(value, bool)


def suggest_values(trial: Trial, space: dict[str, BaseDistribution], when: Conditions) -> dict[str, Any]:
    """{address: value} of every axis that the trial has, parents before what hangs on them.

    A trial that was interrupted between two of them keeps the first. TPE learns together what every
    trial has, and an axis that some lack by itself, from those that have it.
    """
    values: dict[str, Any] = {}
    for address in parents_first(list(space), when) or ():
        if exists(address, values, when):
            values[address] = _suggest(trial, address, space[address])
    return {address: values[address] for address in space if address in values}


def _suggest(trial: Trial, address: str, of: BaseDistribution) -> Any:
    if isinstance(of, CategoricalDistribution):
        return trial.suggest_categorical(address, of.choices)
    if isinstance(of, IntDistribution):
        return trial.suggest_int(address, of.low, of.high, log=of.log)
    assert isinstance(of, FloatDistribution)
    return trial.suggest_float(address, of.low, of.high, log=of.log)
