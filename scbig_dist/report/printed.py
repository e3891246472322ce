"""The paper's tables as rows: what was set and what came out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from scbig_dist.metrics.summary import METRICS

PUBLISHED = Path(__file__).resolve().parents[2] / "tune" / "published.yaml"

# Columns of the paper's tables that are settings, with our address.
SETTINGS = {
    "n_modules": "grc.n_modules",
    "n_inducing": "gcae.n_inducing",
    "latent_dim": "gcae.latent_dim",
    "n_genes": "panel.n_hvg",
    "lambda_corr": "align.lambda_corr",
    "lambda_path": "align.lambda_path",
}
BATCHES = {"stage1_batch": "autoencoder.batch", "stage2_batch": "flow.batch"}
TIMES = ("stage1_ms", "stage2_ms")
MEMORY = ("stage1_gb", "stage2_gb")
COSTS = (*TIMES, *MEMORY)
INTERVAL = ("low", "high")  # of the confidence table, beside its mean


@dataclass(frozen=True)
class Printed:
    """A row of a published table."""

    name: str
    settings: dict[str, Any]
    """By the table's own name of a setting, or by our address where the table only names its rows."""
    values: dict[str, float]
    batches: dict[str, int]
    """Batch sizes that times and memory were measured with, by address."""

    def address(self, name: str) -> str:
        return SETTINGS.get(name, name)


def read_published(path: Path = PUBLISHED) -> dict[str, Any]:
    """The paper's tables by name; empty where the file is not there (an installation without the repository)."""
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}


def tables_of(book: Mapping[str, Any]) -> list[str]:
    """The names that a study's `published` field can hold."""
    return list(book.get("printed_as", {}))


def printed_rows(table: str, book: Mapping[str, Any]) -> list[Printed]:
    if table == "sensitivity":  # a figure without values: its best setting is table 1's scBIG
        base = book["norman_additive"]
        values = dict(zip(base["columns"], base["rows"]["scBIG"], strict=True))
        return [Printed("best of figure 6", dict(book["sensitivity"]), _known(values), {})]
    columns, body = book[table]["columns"], book[table]["rows"]
    lines = body.items() if isinstance(body, Mapping) else [("", row) for row in body]
    by_name = book.get("settings", {}).get(table, {})
    printed = []
    for name, row in lines:
        cells = dict(zip(columns, row, strict=True))
        settings = {k: v for k, v in cells.items() if k in SETTINGS} | by_name.get(name, {})
        values = {k: v for k, v in cells.items() if k in METRICS or k in COSTS or k in INTERVAL}
        batches = {BATCHES[k]: v for k, v in cells.items() if k in BATCHES}
        printed.append(Printed(str(name), settings, _known(values), batches))
    return printed


def _known(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items() if value is not None}
