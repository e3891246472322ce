"""What was done to each cell, read from the annotation columns of the file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from scbig_dist.conditions import CONTROL, Condition, parse_perturbation
from scbig_dist.config import SourceConfig
from scbig_dist.errors import UserError, suggest
from scbig_dist.store.schema import ONE_CONTEXT

MISSING = frozenset({"", "nan", "none", "na", "<na>", "null"})  # NaN written as text, too


@dataclass(frozen=True)
class Labels:
    """One entry per cell of the file."""

    code: np.ndarray  # int64 into `conditions`; -1: unlabelled
    conditions: tuple[Condition, ...]  # sorted
    batch: np.ndarray  # int32 into `batches`; -1: none
    batches: tuple[str, ...]
    total: np.ndarray | None  # float64, where data.total_counts names a column


def read_labels(obs: pd.DataFrame, data: SourceConfig, path: Path) -> Labels:
    """Parse the columns that `data.*` names. UserError where one is missing or says nothing."""
    perturbation = _perturbations(obs, data, path)
    context = _text(obs, data.context, "data.context", path) if data.context else np.full(len(obs), ONE_CONTEXT, object)
    labelled = (perturbation != "") & (context != "")
    dose = np.full(len(obs), np.nan)
    if data.dose:
        dose = _numbers(obs, data.dose, "data.dose", path)
        labelled &= (perturbation == CONTROL) | np.isfinite(dose)
        dose[perturbation == CONTROL] = np.nan  # an untreated cell has none
    missing = 1 - labelled.mean()
    if missing > 0.5:
        columns = ", ".join(f"'{name}'" for name in (data.condition, data.context, data.dose) if name)
        raise UserError(
            f"{path}: {missing:.0%} of {len(obs)} cells have no label (column {columns});"
            " most cells need one: name another column with data.condition"
        )
    frame = pd.DataFrame({"context": context, "perturbation": perturbation, "dose": np.nan_to_num(dose, nan=-np.inf)})
    groups = frame[labelled].groupby(["context", "perturbation", "dose"], sort=True)
    keys = groups.size().index
    conditions = tuple(Condition(c, p, None if d == -np.inf else float(d)) for c, p, d in keys)
    code = np.full(len(obs), -1, dtype=np.int64)
    code[labelled] = groups.ngroup().to_numpy()
    assert list(conditions) == sorted(conditions)

    batch, batches = np.full(len(obs), -1, dtype=np.int32), np.array([], dtype=object)
    if data.batch:
        text = _text(obs, data.batch, "data.batch", path)
        batches, inverse = np.unique(text[text != ""].astype(str), return_inverse=True)
        batch[text != ""] = inverse
    total = _numbers(obs, data.total_counts, "data.total_counts", path) if data.total_counts else None
    return Labels(code, conditions, batch, tuple(map(str, batches)), total)


def _column(obs: pd.DataFrame, name: str, setting: str, path: Path) -> pd.Series:
    if name not in obs.columns:
        near = suggest(name, obs.columns)
        listed = "" if near.startswith("choices") else f" columns: {', '.join(map(str, obs.columns))}"
        raise UserError(f"{setting}={name}: no such column in obs of {path}; {near}{listed}")
    return obs[name]


def _text(obs: pd.DataFrame, name: str, setting: str, path: Path) -> np.ndarray:
    """The column as stripped text; '' where it is missing."""
    codes, labels = pd.factorize(_column(obs, name, setting, path))  # -1 where NaN
    texts = [str(label).strip() for label in labels]
    texts = ["" if text.lower() in MISSING else text for text in texts]
    return np.array([*texts, ""], dtype=object)[codes]


def _numbers(obs: pd.DataFrame, name: str, setting: str, path: Path) -> np.ndarray:
    """The column as float64; NaN where it is missing."""
    column = _column(obs, name, setting, path)
    if pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(np.float64, na_value=np.nan)
    text = _text(obs, name, setting, path)
    numbers = pd.to_numeric(pd.Series(text), errors="coerce").to_numpy(np.float64, copy=True)
    wrong = np.flatnonzero(np.isnan(numbers) & (text != ""))
    if len(wrong):
        raise UserError(
            f"{setting}={name}: '{text[wrong[0]]}' (cell {obs.index[wrong[0]]}) is not a number; name a numeric column"
        )
    return numbers


def _perturbations(obs: pd.DataFrame, data: SourceConfig, path: Path) -> np.ndarray:
    text = _text(obs, data.condition, "data.condition", path)
    labels, inverse, sizes = np.unique(text.astype(str), return_inverse=True, return_counts=True)
    # a label of separators alone names nothing: missing, not control
    named = [label.replace(data.separator, "").strip() != "" or label == data.control for label in labels]
    parsed = [
        parse_perturbation(label, data.separator, data.control) if name else ""
        for label, name in zip(labels.tolist(), named, strict=True)
    ]
    present = {label for label, size in zip(parsed, sizes, strict=True) if size and label}
    if CONTROL not in present and present:
        frequent = sorted(zip(-sizes, labels.tolist(), strict=True))[:8]
        shown = ", ".join(f"'{label}' ({-size})" for size, label in frequent if label)
        raise UserError(
            f"data.control={data.control}: no such label in column '{data.condition}' of {path};"
            f" most frequent: {shown}; name the control label with data.control"
        )
    if present == {CONTROL}:
        raise UserError(
            f"{path}: only control cells in column '{data.condition}'; name the column of perturbations with data.condition"
        )
    return np.array(parsed, dtype=object)[inverse]
