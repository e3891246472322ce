"""Scores of a trained run on its held-out conditions, beside baselines and noise ceiling."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from scbig_dist.artifacts import write_text
from scbig_dist.conditions import Condition
from scbig_dist.config import Config
from scbig_dist.errors import UserError
from scbig_dist.evaluate.cell_eval import CellEvalFiles
from scbig_dist.evaluate.given import GivenCells, read_given
from scbig_dist.evaluate.ground import Ground, lay_ground
from scbig_dist.evaluate.prediction import provenance
from scbig_dist.evaluate.record import Evaluation, Table, condition_table, describe, macro_means, write_parquet
from scbig_dist.evaluate.references import CEILING, LATENT_CEILING, References, score_references
from scbig_dist.evaluate.truth import Prediction, Scores, Truth, find_truth, from_cells, score, true_cells
from scbig_dist.models.baselines import BASELINES
from scbig_dist.models.names import method_name
from scbig_dist.screen.splits import Split
from scbig_dist.store.reader import Store
from scbig_dist.store.verified import cache_folder
from scbig_dist.train.predictor import load_predictor

SEED = 0  # the same draws of cells for every run on a split, so that runs compare in pairs
UNSCORED_PARTS = frozenset({"unused"})

Watch = Callable[[Condition, NDArray[np.float32]], None]


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
    def predict(self, condition: Condition, n_cells: int, seed: int) -> NDArray[np.float32]:
        """float32 (n_cells, gene); NaN where the model has no prediction of the condition."""
        ...

    @property
    def has_latent(self) -> bool: ...
    def reconstruct(self, cells: NDArray[np.float32]) -> NDArray[np.float32]:
        """The cells encoded and decoded, by a model that has a latent."""
        ...


def evaluate_run(
    run: Path,
    part: Literal["test", "val"] = "test",
    progress: bool = True,
    references: bool = True,
    given: Mapping[str, Path] | None = None,
    cell_eval: CellEvalFiles | None = None,
) -> Table:
    """Score a finished run. `test` writes scores.json, scores_meta.json and conditions.parquet; `val` nothing.

    `val` ranks: a method that leaves a condition unpredicted has no mean there at all, or it would be
    chosen for the conditions that it leaves out. `references` false leaves baselines and noise ceiling out of `val`: a trial is compared with
    trials. `test` alone: `given` are files of cells that other tools predicted, by the names of
    their rows; `cell_eval` takes the model's cells and writes them beside the true ones.
    """
    predictor = load_predictor(run)
    if part == "val":
        found = evaluate_predictor(predictor, "val", predictor.split.val, progress, references).methods
        return macro_means({method: whole_or_nothing(scores) for method, scores in found.items()})
    split = predictor.split
    others = _read_given(predictor, given or {})
    watch = None if cell_eval is None else cell_eval.add
    main = evaluate_predictor(predictor, "test", split.test, progress, given=others, watch=watch)
    if cell_eval is not None:
        cell_eval.write(predictor.store, predictor.n_genes, provenance(predictor.config, run, SEED))
    further = {
        name: evaluate_predictor(predictor, name, conditions, progress)
        for name, conditions in split.parts.items()
        if name not in UNSCORED_PARTS and not set(conditions) & {*split.train, *split.val, *split.test}
    }
    table = macro_means(main.methods)
    meta = describe(predictor, main, further, SEED)
    write_parquet(condition_table(split, main, further), run / "conditions.parquet")
    write_text(run / "scores_meta.json", json.dumps(meta, indent=1, allow_nan=False))
    write_text(run / "scores.json", json.dumps(table, indent=1, allow_nan=False))
    return table


def evaluate_predictor(
    predictor: Predicts,
    part: str,
    conditions: Sequence[Condition],
    progress: bool = False,
    with_references: bool = True,
    given: Mapping[str, GivenCells] | None = None,
    watch: Watch | None = None,
) -> Evaluation:
    """Score a model's predictions of the conditions, with `evaluate.n_cells` predicted cells each.

    The model's row comes first; where it is one of the baselines, its own row stands for theirs.
    `watch` is shown the predicted cells of every condition.
    """
    if not conditions:
        raise UserError(f"the split has no {part} conditions to score; raise split.n_{part} and train again")
    config, model = predictor.config, method_name(predictor.config)
    contexts = [condition.context for condition in conditions]
    ground = lay_ground(
        predictor.store,
        predictor.split,
        contexts,
        predictor.n_genes,
        config.evaluate.n_cells,
        SEED,
        config.train.threads,
        cache_folder(config.data.cache),
    )
    truth = find_truth(ground, conditions, progress)

    watched = progress and sys.stderr.isatty()

    def predicted() -> Iterator[NDArray[np.float32]]:
        for condition in track(
            truth.conditions, f"predicting {part}", disable=not watched, transient=True, console=Console(stderr=True)
        ):
            cells = predictor.predict(condition, config.evaluate.n_cells, SEED)
            if watch is not None:
                watch(condition, cells)
            yield cells

    methods = {model: score(from_cells(ground, predicted()), truth, ground.threads)}
    latent = _score_latent(predictor, ground, truth) if part == "test" and predictor.has_latent else None
    references = score_references(ground, predictor.split, truth) if with_references else References({}, [])
    for name, cells in (given or {}).items():
        drawn = (_draw(ground, cells.cells(condition), f"{name} {condition.name}") for condition in truth.conditions)
        methods[name] = score(from_cells(ground, drawn), truth, ground.threads)
    methods |= {name: scores for name, scores in references.scores.items() if name != model}
    return Evaluation(model, truth, methods, references, latent)


def whole_or_nothing(scores: Scores) -> Scores:
    """The scores, all NaN where some condition has no prediction (no squared error, which every prediction has)."""
    if not np.isnan(scores["mse"]).any():
        return scores
    return {name: np.full_like(values, np.nan) for name, values in scores.items()}


def _read_given(predictor: Predicts, given: Mapping[str, Path]) -> dict[str, GivenCells]:
    taken = {method_name(predictor.config), *BASELINES, CEILING, LATENT_CEILING}
    for name in given:
        if name in taken:
            raise UserError(f"--name {name}: the table has a row of that name; call the prediction something else")
    genes = predictor.store.genes[: predictor.n_genes]
    return {name: read_given(path, genes, predictor.split.test) for name, path in given.items()}


def _draw(ground: Ground, cells: NDArray[np.float32], purpose: str) -> NDArray[np.float32]:
    """All cells, in an order in which the first `n_cells` are a fair draw: a file may be sorted."""
    return cells[ground.rng(purpose).permutation(len(cells))]


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
    return score(Prediction(np.array(decoded), clouds), replace(truth, clouds=tuple(others)), ground.threads)
