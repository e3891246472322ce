"""How much each axis decides a score: Optuna's fANOVA over trials that have ended. Needs no Ray and no database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

SEED = 0


def importance(settings: Sequence[Mapping[str, Any]], scores: Sequence[float]) -> dict[str, float]:
    """{axis: share of the scores' variance}; axes that do not vary are left out, nothing for too few or equal scores.

    Every mapping names the same axes. Words are categories; numbers a range, logarithmic where
    they are positive and span a factor of ten.
    """
    axes = [a for a in (settings[0] if settings else ()) if len({repr(s[a]) for s in settings}) > 1]
    if len(settings) < 4 or not axes or len(set(scores)) < 2:
        return {}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = {axis: _distribution([s[axis] for s in settings]) for axis in axes}
    study = optuna.create_study()
    for values, score in zip(settings, scores, strict=True):
        params = {a: float(values[a]) if isinstance(space[a], FloatDistribution) else str(values[a]) for a in axes}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=space, value=score))
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=SEED)
    return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))


def _distribution(values: Sequence[Any]) -> BaseDistribution:
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        low, high = float(min(values)), float(max(values))
        return FloatDistribution(low, high, log=low > 0 and high / low >= 10)
    return CategoricalDistribution(sorted({str(v) for v in values}))
