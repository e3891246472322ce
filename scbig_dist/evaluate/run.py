"""Scores of a trained run on its held-out conditions, beside baselines and noise ceiling."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.progress import track

from scbig_dist.artifacts import write_text
from scbig_dist.conditions import Condition
from scbig_dist.config import Config
from scbig_dist.errors import UserError
from scbig_dist.evaluate.ground import Ground, lay_ground
from scbig_dist.evaluate.references import References, score_references
from scbig_dist.evaluate.truth import Prediction, Scores, Truth, find_truth, from_cells, score, true_cells
from scbig_dist.metrics import de
from scbig_dist.metrics.distribution import WASSERSTEIN_EPSILON
from scbig_dist.metrics.profiles import LFC_PSEUDOCOUNT
from scbig_dist.metrics.summary import summarise, summarise_all
from scbig_dist.screen.splits import Split
from scbig_dist.store.reader import Store
from scbig_dist.train.predictor import load_predictor

MODEL = "scBIG"
SEED = 0  # the same draws of cells for every run on a split, so that runs compare in pairs
UNSCORED_PARTS = frozenset({"unused"})

Table = dict[str, dict[str, float | None]]
"""{method: {metric: macro mean, None where undefined}}"""


class Predicts(Protocol):
    """What evaluation asks of a trained model."""

    @property
    def store(self) -> Store: ...
    @property
    def split(self) -> Split: ...
    @property
    def config(self) -> Config: ...
    @property
    def n_genes(self) -> int: ...
    def predict(self, condition: Condition, n_cells: int, seed: int) -> NDArray[np.float32]: ...
    def reconstruct(self, cells: NDArray[np.float32]) -> NDArray[np.float32]: ...


@dataclass(frozen=True)
class Evaluation:
    """Per-condition scores of every method on one part, and of the latent alone (test only)."""

    truth: Truth
    methods: dict[str, Scores]
    references: References
    latent: Scores | None


def evaluate_run(
    run: Path, part: Literal["test", "val"] = "test", progress: bool = True, references: bool = True
) -> Table:
    """Score a finished run. `test` writes scores.json, scores_meta.json and conditions.parquet; `val` nothing.

    `references` false leaves baselines and noise ceiling out of `val`: a trial is compared with trials.
    """
    predictor = load_predictor(run)
    if part == "val":
        return macro_means(evaluate_predictor(predictor, "val", predictor.split.val, progress, references).methods)
    split = predictor.split
    main = evaluate_predictor(predictor, "test", split.test, progress)
    further = {
        name: evaluate_predictor(predictor, name, conditions, progress)
        for name, conditions in split.parts.items()
        if name not in UNSCORED_PARTS and not set(conditions) & {*split.train, *split.val, *split.test}
    }
    table = macro_means(main.methods)
    meta = describe(predictor, main, further)
    _write_parquet(_condition_table(split, main, further), run / "conditions.parquet")
    write_text(run / "scores_meta.json", json.dumps(meta, indent=1, allow_nan=False))
    write_text(run / "scores.json", json.dumps(table, indent=1, allow_nan=False))
    return table


def evaluate_predictor(
    predictor: Predicts,
    part: str,
    conditions: Sequence[Condition],
    progress: bool = False,
    with_references: bool = True,
) -> Evaluation:
    """Score a model's predictions of the conditions, with `evaluate.n_cells` predicted cells each."""
    if not conditions:
        raise UserError(f"the split has no {part} conditions to score; raise split.n_{part} and train again")
    config, store, n_genes = predictor.config, predictor.store, predictor.n_genes
    n_cells = config.evaluate.n_cells
    contexts = [condition.context for condition in conditions]
    ground = lay_ground(store, predictor.split, contexts, n_genes, n_cells, SEED)
    truth = find_truth(ground, conditions, progress)
    walk = track(truth.conditions, f"predicting {part}", disable=not progress, transient=True)
    predicted = from_cells(ground, [predictor.predict(condition, n_cells, SEED) for condition in walk])
    latent = _score_latent(predictor, ground, truth) if part == "test" else None
    references = score_references(ground, predictor.split, truth) if with_references else References({}, [])
    return Evaluation(truth, {MODEL: score(predicted, truth), **references.scores}, references, latent)


def _score_latent(predictor: Predicts, ground: Ground, truth: Truth) -> Scores:
    """True cells encoded and decoded, scored like a prediction: what the latent can carry at best.

    Distances between clouds are of every other cell's reconstruction to the cells between:
    a cell beside its own reconstruction would be no independent draw.
    """
    decoded, clouds, others = [], [], []
    for condition in truth.conditions:
        cells = ground.store.dense(true_cells(ground, condition), ground.n_genes)
        rebuilt = predictor.reconstruct(cells)
        decoded.append(rebuilt.mean(axis=0, dtype=np.float64))
        clouds.append(ground.project(rebuilt[::2]))
        others.append(ground.project(cells[1::2]))
    return score(Prediction(np.array(decoded), clouds), replace(truth, clouds=tuple(others)))


def macro_means(methods: Mapping[str, Scores], rows: Sequence[int] | None = None) -> Table:
    """The mean of each metric over the conditions (those of `rows`) where it is defined."""
    chosen = slice(None) if rows is None else list(rows)
    return {
        method: {name: summarise(values[chosen]).mean for name, values in scores.items()}
        for method, scores in methods.items()
    }


def describe(predictor: Predicts, main: Evaluation, further: Mapping[str, Evaluation]) -> dict[str, Any]:
    """What scores.json leaves out: sizes, undefined values, parts, the latent's ceiling, how it was measured."""
    split, significant = predictor.split, main.truth.significant.sum(axis=1)
    tables = {name: macro_means(main.methods, rows) for name, rows in _rows_of_parts(split, main.truth).items()}
    tables |= {name: macro_means(evaluation.methods) for name, evaluation in further.items()}
    return {
        "data_label": predictor.store.manifest.data_label or "real or unknown",
        "n_conditions": {"train": len(split.train), "val": len(split.val), "test": len(split.test)},
        "parts": {name: len(conditions) for name, conditions in split.parts.items()},
        "part_scores": tables,
        "latent_ceiling": macro_means({"latent": main.latent})["latent"] if main.latent is not None else None,
        "undefined": {
            method: {name: result.n_undefined for name, result in summarise_all(scores).items() if result.n_undefined}
            for method, scores in main.methods.items()
        },
        "linear_absent_targets": main.references.absent_targets,
        "split": {"kind": split.kind, "seed": split.seed},
        "n_cells": predictor.config.evaluate.n_cells,
        "n_genes": predictor.n_genes,
        "seed": SEED,
        "de": {"method": de.METHOD, "alpha": de.ALPHA, "median_significant_genes": float(np.median(significant))},
        "log2_fold_change_pseudocount": LFC_PSEUDOCOUNT,
        "wasserstein_epsilon": WASSERSTEIN_EPSILON,
        "version": version("scbig-dist"),
    }


def _rows_of_parts(split: Split, truth: Truth) -> dict[str, list[int]]:
    """Rows of the scored conditions in each of the split's named parts; empty ones left out."""
    found = {
        name: [row for row, condition in enumerate(truth.conditions) if condition in set(conditions)]
        for name, conditions in split.parts.items()
    }
    return {name: rows for name, rows in found.items() if rows}


def _condition_table(split: Split, main: Evaluation, further: Mapping[str, Evaluation]) -> pd.DataFrame:
    """A row per method and condition. `part` is `test` or a part outside it, `subset` a part of test."""
    subset = {row: name for name, rows in _rows_of_parts(split, main.truth).items() for row in rows}
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


def _write_parquet(table: pd.DataFrame, path: Path) -> None:
    beside = path.with_name(f".{path.name}-{uuid.uuid4().hex[:8]}")
    try:
        table.to_parquet(beside, index=False)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
