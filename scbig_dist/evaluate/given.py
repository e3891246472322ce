"""Cells that another tool has predicted, read from an AnnData file and held against what is to be predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from scbig_dist.conditions import CONTROL, Condition, parse_perturbation
from scbig_dist.errors import UserError, listed, no_file
from scbig_dist.store.matrix import unreadable

FORM = "a prediction has obs columns 'condition' and, in several contexts, 'context', as 'scbig predict' writes them"


@dataclass(frozen=True)
class GivenCells:
    """Log-normalised cells of a file, and the rows of each condition."""

    path: Path
    x: Any
    columns: NDArray[np.int64]
    """Where each panel gene stands in the file."""
    rows: dict[Condition, NDArray[np.int64]]

    def cells(self, condition: Condition) -> NDArray[np.float32]:
        """float32 (cell, gene) of a condition, in the order of the panel."""
        x = self.x[self.rows[condition]]
        x = x.toarray() if sparse.issparse(x) else np.asarray(x)
        return np.ascontiguousarray(x[:, self.columns], dtype=np.float32)


def read_given(path: Path, genes: Sequence[str], conditions: Sequence[Condition]) -> GivenCells:
    """Read a prediction of exactly these conditions over exactly these genes, in any order; control cells are ignored.

    UserError where the file names others or lacks some, has counts, or holds NaN.
    """
    import anndata as ad  # half a second to import

    if not path.is_file():
        raise UserError(f"--prediction {path}: {no_file(path, 'name an .h5ad of predicted cells')}")
    try:
        data = ad.read_h5ad(path)
    except PermissionError:
        raise UserError(f"--prediction {path}: permission denied; make the file readable") from None
    except Exception as error:  # anndata wraps what h5py raises in exceptions of many kinds
        raise UserError(f"--prediction {unreadable(path, error)}") from None
    columns = _columns(path, list(data.var_names), genes)
    rows = _rows(path, data.obs, conditions)
    x = data.X.tocsr() if sparse.issparse(data.X) else np.asarray(data.X)
    values: Any = x.data if sparse.issparse(x) else x
    _check_values(path, values)
    return GivenCells(path, x, columns, rows)


def _columns(path: Path, found: list[str], genes: Sequence[str]) -> NDArray[np.int64]:
    place = {gene: column for column, gene in enumerate(found)}
    if len(place) < len(found):
        twice = next(gene for column, gene in enumerate(found) if place[gene] != column)
        raise UserError(f"--prediction {path}: gene '{twice}' stands there twice; keep one")
    remedy = "give it the panel that 'scbig predict RUN' writes, in any order"
    _same(path, "gene", set(genes), set(found), f"the {len(genes):,} of the run's panel", remedy)
    return np.array([place[gene] for gene in genes], dtype=np.int64)


def _rows(path: Path, obs: pd.DataFrame, conditions: Sequence[Condition]) -> dict[Condition, NDArray[np.int64]]:
    contexts = sorted({condition.context for condition in conditions})
    needed = ["condition", *(["context"] if len(contexts) > 1 else [])]
    if missing := [name for name in needed if name not in obs]:
        there = ", ".join(map(str, obs.columns)) or "none"
        raise UserError(f"--prediction {path}: no obs column '{missing[0]}' (there: {there}); {FORM}")
    with_dose = any(condition.dose is not None for condition in conditions)
    if with_dose and "dose" not in obs:
        raise UserError(
            f"--prediction {path}: no obs column 'dose', and the test conditions have doses; add one, a number per cell"
        )
    keys = ["condition", *(["context"] if "context" in obs else []), *(["dose"] if with_dose else [])]
    rows: dict[Condition, list[NDArray[np.int64]]] = {}
    for key, group in obs[keys].astype({"condition": str}).groupby(keys, observed=True).indices.items():
        values = dict(zip(keys, key if isinstance(key, tuple) else (key,), strict=True))
        perturbation = parse_perturbation(str(values["condition"]))
        if perturbation != CONTROL:
            dose = float(values["dose"]) if with_dose else None
            condition = Condition(str(values.get("context", contexts[0])), perturbation, dose)
            rows.setdefault(condition, []).append(np.asarray(group, dtype=np.int64))
    names = {c.name for c in conditions}
    remedy = "predict what RUN/split.json lists under 'test', no more and no less"
    _same(path, "condition", names, {c.name for c in rows}, f"the run's {len(names):,} test conditions", remedy)
    return {condition: np.sort(np.concatenate(parts)) for condition, parts in rows.items()}


def _same(path: Path, kind: str, wanted: set[str], found: set[str], whose: str, remedy: str) -> None:
    """Both, where both differ: a file of another screen is known by its lack as much as by its surplus."""
    lacks, surplus = sorted(wanted - found), sorted(found - wanted)
    parts = [f"lacks {listed(lacks, 3)}"] * bool(lacks) + [f"has {listed(surplus, 3)} beyond them"] * bool(surplus)
    if parts:
        raise UserError(f"--prediction {path}: its {kind}s are not {whose}: it {' and '.join(parts)}; {remedy}")


def _check_values(path: Path, values: NDArray[Any]) -> None:
    if not np.isfinite(values).all():
        raise UserError(f"--prediction {path}: NaN or infinite values; give every gene of every cell a number")
    if values.size and values.max() > 1 and np.array_equal(values, np.rint(values)):
        raise UserError(f"--prediction {path}: whole numbers, so counts; log-normalise them as the run's store does")
