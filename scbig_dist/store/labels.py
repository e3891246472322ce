"""What was done to each cell, read from the annotation columns of the files."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from scbig_dist.conditions import CONTROL, Condition, parse_perturbation
from scbig_dist.config_data import SourceConfig
from scbig_dist.errors import UserError, suggest
from scbig_dist.store.schema import ONE_CONTEXT
from scbig_dist.store.table import Factor, Table

MISSING = frozenset({"", "nan", "none", "na", "<na>", "null"})  # NaN written as text, too


@dataclass(frozen=True)
class Labels:
    """One entry per cell of the files."""

    code: np.ndarray  # int32 into `conditions`; -1: unlabelled
    conditions: tuple[Condition, ...]  # sorted
    batch: np.ndarray  # int32 into `batches`; -1: none
    batches: tuple[str, ...]
    total: np.ndarray | None  # float64, where data.total_counts names a column


def read_labels(table: Table, data: SourceConfig, where: str, complete: bool = True) -> Labels:
    """Parse the columns that `data.*` names. UserError where one is missing or says nothing.

    `where`: the input in words. `complete`: the cells are a whole screen, with control and perturbed cells.
    """
    perturbation = _perturbations(table, data, where, complete)
    one = Factor(np.zeros(table.n_cells, dtype=np.int8), [ONE_CONTEXT])
    context = _column(table, data.context, "data.context") if data.context else one
    labelled = (perturbation.codes >= 0) & (context.codes >= 0)
    dose, doses = np.zeros(table.n_cells, dtype=np.int32), np.array([np.nan])
    if data.dose:
        values = _numbers(table, data.dose, "data.dose")
        is_control = np.array([*(label == CONTROL for label in perturbation.labels), False])[perturbation.codes]
        labelled &= is_control | np.isfinite(values)
        values[is_control] = np.nan  # an untreated cell has none
        dose, doses = pd.factorize(values, use_na_sentinel=False)
    missing = 1 - labelled.mean()
    if missing > 0.5:
        columns = ", ".join(f"'{name}'" for name in (data.condition, data.context, data.dose) if name)
        raise UserError(
            f"{where}: {missing:.0%} of {table.n_cells} cells have no label (column {columns});"
            " most cells need one: name another column with data.condition"
        )
    key = context.codes.astype(np.int64) * len(perturbation.labels) + perturbation.codes
    key = key * len(doses) + dose
    key[~labelled] = -1
    place, keys = pd.factorize(key)  # by hashing, where a sort of all cells would cost more
    found = {}
    for index, value in enumerate(keys.tolist()):
        if value >= 0:
            rest, d = divmod(value, len(doses))
            c, p = divmod(rest, len(perturbation.labels))
            number = None if np.isnan(doses[d]) else float(doses[d])
            found[Condition(context.labels[c], perturbation.labels[p], number)] = index
    conditions = tuple(sorted(found, key=_order))
    code_of = np.full(len(keys), -1, dtype=np.int32)
    code_of[[found[condition] for condition in conditions]] = np.arange(len(conditions))
    batch, batches = np.full(table.n_cells, -1, dtype=np.int32), []
    if data.batch:
        text = _column(table, data.batch, "data.batch")
        batches = sorted(text.labels)
        rank = {label: index for index, label in enumerate(batches)}
        batch = np.array([*(rank[label] for label in text.labels), -1], dtype=np.int32)[text.codes]
    total = _numbers(table, data.total_counts, "data.total_counts") if data.total_counts else None
    return Labels(code_of[place], conditions, batch, tuple(batches), total)


def _order(condition: Condition) -> tuple[str, str, float]:
    return condition.context, condition.perturbation, -np.inf if condition.dose is None else condition.dose


def _require(table: Table, name: str, setting: str) -> None:
    lack = table.lacks(name)
    if lack is not None:
        path, columns = lack
        near = suggest(name, columns)
        listed = "" if near.startswith("choices") else f" columns: {', '.join(map(str, columns))}"
        raise UserError(f"{setting}={name}: no such column in obs of {path}; {near}{listed}")


def _column(table: Table, name: str, setting: str) -> Factor:
    """The column as stripped text; missing where it says nothing."""
    _require(table, name, setting)
    codes, labels = table.factor(name)
    place: dict[str, int] = {}
    new = []
    for label in labels:
        text = label.strip()
        new.append(-1 if text.lower() in MISSING else place.setdefault(text, len(place)))
    return _used(np.array([*new, -1], dtype=np.int32)[codes], list(place))


def _used(codes: np.ndarray, labels: list[str]) -> Factor:
    """Without the labels that no cell has (categories may)."""
    used = np.bincount(codes + 1, minlength=len(labels) + 1)[1:] > 0
    place = np.append(np.where(used, np.cumsum(used) - 1, -1), -1).astype(np.int32)
    return Factor(place[codes], [label for label, is_used in zip(labels, used, strict=True) if is_used])


def _numbers(table: Table, name: str, setting: str) -> np.ndarray:
    """The column as float64; NaN where it is missing."""
    _require(table, name, setting)
    numbers = table.numbers(name)
    if numbers is not None:
        return numbers
    codes, labels = _column(table, name, setting)
    values = pd.to_numeric(pd.Series(labels, dtype=object), errors="coerce").to_numpy(np.float64, copy=True)
    wrong = np.flatnonzero(np.isnan(values))
    if len(wrong):
        cell = int(np.argmax(np.isin(codes, wrong)))
        raise UserError(
            f"{setting}={name}: '{labels[codes[cell]]}' (cell {table.names(cell, cell + 1)[0]}) is not a number;"
            " name a numeric column"
        )
    return np.append(values, np.nan)[codes]


def _perturbations(table: Table, data: SourceConfig, where: str, complete: bool) -> Factor:
    """Canonical labels of perturbations; a label of separators alone names nothing: missing, not control."""
    codes, labels = _column(table, data.condition, "data.condition")
    place: dict[str, int] = {}
    new = []
    for label in labels:
        named = label.replace(data.separator, "").strip() != "" or label == data.control
        parsed = parse_perturbation(label, data.separator, data.control) if named else None
        new.append(-1 if parsed is None else place.setdefault(parsed, len(place)))
    if complete and CONTROL not in place and place:
        sizes = np.bincount(codes[codes >= 0], minlength=len(labels))
        frequent = sorted(zip(-sizes, labels, strict=True))[:8]
        shown = ", ".join(f"'{label}' ({-size})" for size, label in frequent)
        raise UserError(
            f"data.control={data.control}: no such label in column '{data.condition}' of {where};"
            f" most frequent: {shown}; name the control label with data.control"
        )
    if complete and set(place) == {CONTROL}:
        raise UserError(
            f"{where}: only control cells in column '{data.condition}'; name the column of perturbations with data.condition"
        )
    return Factor(np.array([*new, -1], dtype=np.int32)[codes], list(place))
