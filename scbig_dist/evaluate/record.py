"""What an evaluation leaves on disk: means, how they were measured and how sure they are, scores by condition."""

from __future__ import annotations

import math
import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from scbig_dist.evaluate.references import References
from scbig_dist.evaluate.truth import Scores, Truth
from scbig_dist.metrics import de
from scbig_dist.metrics.distribution import WASSERSTEIN_EPSILON
from scbig_dist.metrics.profiles import LFC_PSEUDOCOUNT, MIN_SIGNIFICANT
from scbig_dist.metrics.statistics import LEVEL, N_RESAMPLES, estimates
from scbig_dist.metrics.summary import summarise
from scbig_dist.screen.splits import Split

Table = dict[str, dict[str, float | None]]
"""{method: {metric: macro mean, None where undefined}}"""


@dataclass(frozen=True)
class Evaluation:
    """Per-condition scores of every method on one part (`model` is the run's own), and of the latent alone (test only)."""

    model: str
    truth: Truth
    methods: dict[str, Scores]
    references: References
    latent: Scores | None


def macro_means(methods: Mapping[str, Scores], rows: Sequence[int] | None = None) -> Table:
    """The mean of each metric over the conditions (those of `rows`) where it is defined."""
    chosen = slice(None) if rows is None else list(rows)
    return {
        method: {name: summarise(values[chosen]).mean for name, values in scores.items()}
        for method, scores in methods.items()
    }


def undefined(methods: Mapping[str, Scores], rows: Sequence[int] | None = None) -> dict[str, dict[str, int]]:
    """{method: {metric: conditions without a value}}, of those of `rows`; metrics that have all their values left out."""
    chosen = slice(None) if rows is None else list(rows)
    return {
        method: {name: n for name, values in scores.items() if (n := summarise(values[chosen]).n_undefined)}
        for method, scores in methods.items()
    }


def intervals(methods: Mapping[str, Scores], seed: int) -> dict[str, dict[str, dict[str, float | int | None]]]:
    """{method: {metric: {se, low, high, n}}}, of the same resampled conditions for all; None where undefined."""
    flat = {(method, name): values for method, scores in methods.items() for name, values in scores.items()}
    found = estimates({str(place): values for place, values in enumerate(flat.values())}, np.random.default_rng(seed))
    table: dict[str, dict[str, dict[str, float | int | None]]] = {}
    for (method, name), each in zip(flat, found.values(), strict=True):
        row = {"se": each.se, "low": each.low, "high": each.high}
        finite = {key: None if math.isnan(value) else value for key, value in row.items()}
        table.setdefault(method, {})[name] = {**finite, "n": each.n}
    return table


def describe(predictor: Any, main: Evaluation, further: Mapping[str, Evaluation], seed: int) -> dict[str, Any]:
    """What scores.json leaves out: sizes, intervals, undefined values, parts, the latent's ceiling, how it was measured."""
    split, significant = predictor.split, main.truth.significant.sum(axis=1)
    parts: dict[str, tuple[dict[str, Scores], list[int] | None]]
    parts = {name: (main.methods, rows) for name, rows in rows_of_parts(split, main.truth).items()}
    parts |= {name: (evaluation.methods, None) for name, evaluation in further.items()}
    return {
        "model": main.model,
        "data_label": predictor.store.manifest.data_label or "real or unknown",
        "n_conditions": {"train": len(split.train), "val": len(split.val), "test": len(split.test)},
        "parts": {name: len(conditions) for name, conditions in split.parts.items()},
        "part_scores": {name: macro_means(methods, rows) for name, (methods, rows) in parts.items()},
        "part_undefined": {name: undefined(methods, rows) for name, (methods, rows) in parts.items()},
        "intervals": intervals(main.methods, seed),
        "interval_of": {"level": LEVEL, "method": "percentile bootstrap over conditions", "n_resamples": N_RESAMPLES},
        "latent_ceiling": macro_means({"latent": main.latent})["latent"] if main.latent is not None else None,
        "undefined": undefined(main.methods),
        "linear_absent_targets": main.references.absent_targets,
        "split": {"kind": split.kind, "seed": split.seed},
        "n_cells": predictor.config.evaluate.n_cells,
        "n_genes": predictor.n_genes,
        "seed": seed,
        "de": {
            "method": de.METHOD,
            "alpha": de.ALPHA,
            "median_significant_genes": float(np.median(significant)),
            "n_few": int((significant < MIN_SIGNIFICANT).sum()),
        },
        "log2_fold_change_pseudocount": LFC_PSEUDOCOUNT,
        "wasserstein_epsilon": WASSERSTEIN_EPSILON,
        "version": version("scbig-dist"),
    }


def rows_of_parts(split: Split, truth: Truth) -> dict[str, list[int]]:
    """Rows of the scored conditions in each of the split's named parts; empty ones left out."""
    found = {
        name: [row for row, condition in enumerate(truth.conditions) if condition in set(conditions)]
        for name, conditions in split.parts.items()
    }
    return {name: rows for name, rows in found.items() if rows}


def condition_table(split: Split, main: Evaluation, further: Mapping[str, Evaluation]) -> pd.DataFrame:
    """A row per method and condition. `part` is `test` or a part outside it, `subset` a part of test."""
    subset = {row: name for name, rows in rows_of_parts(split, main.truth).items() for row in rows}
    frames = []
    for part, evaluation in {"test": main, **further}.items():
        conditions = evaluation.truth.conditions
        names = {
            "part": part,
            "subset": [subset.get(row) if evaluation is main else part for row in range(len(conditions))],
            "condition": [condition.name for condition in conditions],
            "n_significant": evaluation.truth.significant.sum(axis=1),
        }
        frames += [pd.DataFrame({"method": method, **names, **scores}) for method, scores in evaluation.methods.items()]
    return pd.concat(frames, ignore_index=True)


def write_parquet(table: pd.DataFrame, path: Path) -> None:
    """The table in one step: a reader sees the old or the new one."""
    beside = path.with_name(f".{path.name}-{uuid.uuid4().hex[:8]}")
    try:
        table.to_parquet(beside, index=False)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
