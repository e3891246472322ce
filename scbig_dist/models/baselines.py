"""Baselines that need no training loop (SPEC: section 6): each predicts a mean shift.

All see one table of training shifts, every shift taken from the control mean of its own
context. A condition in context c is predicted from the shifts of c; a perturbation that
was trained in other contexts alone enters with its mean shift over those (`seen_from`).
Cells of a baseline are control cells of the context plus the shift, not clamped.
Predictions are (condition, gene); a row that a baseline cannot give is NaN, never 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scbig_dist.conditions import Condition
from scbig_dist.models.means import control_profiles, mean_profiles
from scbig_dist.store.reader import Store

Array = NDArray[np.float64]

RIDGE_LAMBDA = 1.0
LINEAR_RIDGE = 0.1
LINEAR_COMPONENTS = 10


@dataclass(frozen=True)
class Shifts:
    """Mean shifts of conditions from their contexts' controls, (condition, gene), and the genes' names."""

    conditions: tuple[Condition, ...]
    values: Array
    genes: tuple[str, ...]


def training_shifts(store: Store, train: Sequence[Condition], n_genes: int) -> Shifts:
    """The shifts of the training conditions."""
    train = tuple(condition for condition in train if not condition.is_control)
    values = mean_profiles(store, train, n_genes) - control_profiles(store, train, n_genes)
    return Shifts(train, values, tuple(store.genes[:n_genes]))


def seen_from(shifts: Shifts, context: str) -> Shifts:
    """One shift per perturbation and dose: that of the context, else the mean over the others."""
    rows: dict[tuple[str, float | None], list[int]] = {}
    for row, condition in enumerate(shifts.conditions):
        rows.setdefault((condition.perturbation, condition.dose), []).append(row)
    conditions, values = [], []
    for (perturbation, dose), group in rows.items():
        own = [row for row in group if shifts.conditions[row].context == context]
        conditions.append(Condition(context, perturbation, dose))
        values.append(shifts.values[own or group].mean(axis=0))
    return Shifts(tuple(conditions), np.array(values).reshape(len(values), len(shifts.genes)), shifts.genes)


def predict_control(shifts: Shifts, conditions: Sequence[Condition]) -> Array:
    """Nothing happens: every shift is zero."""
    return np.zeros((len(conditions), len(shifts.genes)))


def predict_mean_shift(shifts: Shifts, conditions: Sequence[Condition]) -> Array:
    """The mean over all training shifts, for every condition."""
    if not shifts.conditions:
        return _undefined(shifts, conditions)
    return np.tile(shifts.values.mean(axis=0), (len(conditions), 1))


def predict_additive(shifts: Shifts, conditions: Sequence[Condition]) -> Array:
    """The sum of the singles' training shifts (at the same dose), for combinations.

    Undefined for a single, and where a single of the combination is not in training.
    """
    single = {(c.targets[0], c.dose): row for row, c in enumerate(shifts.conditions) if len(c.targets) == 1}
    predicted = _undefined(shifts, conditions)
    for row, condition in enumerate(conditions):
        keys = [(target, condition.dose) for target in condition.targets]
        if len(keys) > 1 and all(key in single for key in keys):
            predicted[row] = shifts.values[[single[key] for key in keys]].sum(axis=0)
    return predicted


def predict_ridge_additive(shifts: Shifts, conditions: Sequence[Condition], ridge: float = RIDGE_LAMBDA) -> Array:
    """Ridge regression of training shifts (singles and combinations) on target indicators.

    No intercept: with no target nothing shifts. Undefined where a target is in no
    training condition; its coefficient would be a zero that nobody measured.
    """
    targets = sorted({target for condition in shifts.conditions for target in condition.targets})
    predicted = _undefined(shifts, conditions)
    if not targets:
        return predicted
    indicators = _indicators(shifts.conditions, targets)
    gram = indicators.T @ indicators + ridge * np.eye(len(targets))
    effects = np.linalg.solve(gram, indicators.T @ shifts.values)
    known = np.array([set(condition.targets) <= set(targets) for condition in conditions], dtype=bool)
    predicted[known] = _indicators(conditions, targets)[known] @ effects
    return predicted


def predict_linear(
    shifts: Shifts,
    conditions: Sequence[Condition],
    ridge: float = LINEAR_RIDGE,
    loadings: Array | None = None,
    target_rows: Mapping[str, Array] | None = None,
) -> Array:
    """`Y ≈ G W Pᵀ + b` (Ahlmann-Eltze, Huber and Anders 2025) on mean shifts.

    Y is (gene, training condition), b its mean over conditions, G (gene, 10) the first left
    singular vectors of Y − b, P (condition, 10) the rows of G at a condition's targets,
    summed; W by least squares with the ridge on both sides. A target outside the panel is
    a zero row (`absent_targets` counts them), so a condition of such targets gets b.
    Linear-ext gives G from outside: `loadings` (gene, e), and `target_rows` for targets that
    the same source knows, in the panel or not.
    """
    if not shifts.conditions:
        return _undefined(shifts, conditions)
    intercept = shifts.values.mean(axis=0)
    centred = (shifts.values - intercept).T
    if loadings is None:
        loadings = np.linalg.svd(centred, full_matrices=False)[0][:, :LINEAR_COMPONENTS]
    rows = target_rows if target_rows is not None else dict(zip(shifts.genes, loadings, strict=True))
    p = _summed(rows, loadings.shape[1], shifts.conditions)
    penalty = ridge * np.eye(loadings.shape[1])
    # W = (GᵀG + λI)⁻¹ Gᵀ (Y − b) P (PᵀP + λI)⁻¹; both brackets are symmetric.
    weights = np.linalg.solve(loadings.T @ loadings + penalty, loadings.T @ centred @ p)
    weights = np.linalg.solve(p.T @ p + penalty, weights.T).T
    return _summed(rows, loadings.shape[1], conditions) @ weights.T @ loadings.T + intercept


def predict_knn(shifts: Shifts, conditions: Sequence[Condition], vectors: Mapping[str, Array], n: int) -> Array:
    """The mean shift of the n training conditions whose target vectors point most nearly the same way.

    A condition's vector is the sum of its targets' unit vectors; nearness is the cosine.
    Undefined for a condition none of whose targets has a vector.
    """
    predicted = _undefined(shifts, conditions)
    units = {target: vector / max(float(np.linalg.norm(vector)), 1e-12) for target, vector in vectors.items()}
    width = len(next(iter(vectors.values()), ()))
    trained, wanted = (_rows_of_unit_length(_summed(units, width, some)) for some in (shifts.conditions, conditions))
    able = np.flatnonzero(trained.any(axis=1))
    if not len(able):
        return predicted
    for row in np.flatnonzero(wanted.any(axis=1)):
        nearest = able[np.argsort(-(trained[able] @ wanted[row]), kind="stable")[:n]]
        predicted[row] = shifts.values[nearest].mean(axis=0)
    return predicted


BASELINES: dict[str, Callable[[Shifts, Sequence[Condition]], Array]] = {
    "Control": predict_control,
    "Mean-shift": predict_mean_shift,
    "Additive": predict_additive,
    "Ridge-additive": predict_ridge_additive,
    "Linear": predict_linear,
}
"""Baselines by the names of the tables, in their order."""


def predict_shifts(shifts: Shifts, conditions: Sequence[Condition]) -> dict[str, Array]:
    """Every baseline's predicted shifts of the conditions, which may lie in several contexts."""
    predicted = {name: _undefined(shifts, conditions) for name in BASELINES}
    for context in sorted({condition.context for condition in conditions}):
        rows = [row for row, condition in enumerate(conditions) if condition.context == context]
        seen = seen_from(shifts, context)
        for name, predict in BASELINES.items():
            predicted[name][rows] = predict(seen, [conditions[row] for row in rows])
    return predicted


def absent_targets(shifts: Shifts, conditions: Sequence[Condition]) -> list[str]:
    """Targets of the training conditions and of these that are not in the panel, sorted."""
    targets = {target for condition in (*shifts.conditions, *conditions) for target in condition.targets}
    return sorted(targets - set(shifts.genes))


def _undefined(shifts: Shifts, conditions: Sequence[Condition]) -> Array:
    return np.full((len(conditions), len(shifts.genes)), np.nan)


def _indicators(conditions: Sequence[Condition], targets: list[str]) -> Array:
    column = {target: index for index, target in enumerate(targets)}
    indicators = np.zeros((len(conditions), len(targets)))
    for row, condition in enumerate(conditions):
        for target in condition.targets:
            if target in column:
                indicators[row, column[target]] = 1.0
    return indicators


def _summed(rows: Mapping[str, Array], width: int, conditions: Sequence[Condition]) -> Array:
    """(condition, width): the vectors of each condition's targets, summed; nothing for a target without one."""
    total = np.zeros((len(conditions), width))
    for index, condition in enumerate(conditions):
        for target in condition.targets:
            if target in rows:
                total[index] += rows[target]
    return total


def _rows_of_unit_length(rows: Array) -> Array:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
