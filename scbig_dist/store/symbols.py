"""The names of the genes, in the words that condition labels use."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from scbig_dist.conditions import Condition
from scbig_dist.errors import UserError, suggest

# Columns that public files keep symbols in where the index holds Ensembl identifiers.
SYMBOL_COLUMNS = ("gene_name", "gene_names", "gene_symbol", "gene_symbols", "feature_name", "symbol")


def gene_symbols(
    var: pd.DataFrame, conditions: Iterable[Condition], column: str | None, path: Path
) -> tuple[pd.Index, str | None, list[str]]:
    """(names, the column they came from or None for the index, notes).

    Without a column named, the index serves; where it holds none of the targets and a
    well-known symbol column does, that column is taken, and a note says so.
    """
    if column is not None:
        if column not in var.columns:
            choices = suggest(column, var.columns) if len(var.columns) else "it has none; leave data.gene_names out"
            raise UserError(f"data.gene_names={column}: no such column in var of {path}; {choices}")
        return _names(var, column), column, []
    targets = {target for condition in conditions for target in condition.targets}
    if targets.isdisjoint(var.index.astype(str)):
        for name in SYMBOL_COLUMNS:
            if name in var.columns:
                n_hit = len(targets.intersection(var[name].astype(str)))
                if n_hit:
                    note = f"var index holds none of the targets, column '{name}' {n_hit}: taken as gene names"
                    return _names(var, name), name, [note]
    return var.index.astype(str), None, []


def _names(var: pd.DataFrame, column: str) -> pd.Index:
    """The column as text; a gene without a symbol keeps its index."""
    missing = var[column].isna().to_numpy() | (var[column].astype(str) == "").to_numpy()
    return pd.Index(var[column].astype(object).where(~missing, var.index.to_series().to_numpy()).astype(str))
