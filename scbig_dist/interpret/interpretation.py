"""One condition as a trained run sees it: modules, their pairs, and the cells in a plane."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scbig_dist.conditions import Condition
from scbig_dist.interpret.activity import activity_shift, coactivation, module_activity
from scbig_dist.interpret.attention import attention_shift, read_attention
from scbig_dist.interpret.bootstrap import Array
from scbig_dist.interpret.condition import ConditionCells, gather_cells
from scbig_dist.interpret.module_audit import enrich, read_sets
from scbig_dist.interpret.partition import read_modules
from scbig_dist.interpret.plane import Plane, project
from scbig_dist.settings import with_values
from scbig_dist.train.experiment import Experiment
from scbig_dist.train.predictor import Predictor
from scbig_dist.train.random import generator


@dataclass(frozen=True)
class Interpretation:
    """Tables in long form: the column `cells` says whether a row is of predicted or of true cells.

    `modules`: a row per module with its shift and, where the encoder attends among modules, its attention.
    `pairs`: a row per pair of modules, largest change of coactivation first. `attention`: by kind of cells, the
    (module, module) shift against control; None where the encoder has none.
    """

    cells: ConditionCells
    modules: pd.DataFrame
    pairs: pd.DataFrame
    attention: dict[str, Array] | None
    plane: Plane
    notes: list[str]

    def attention_table(self) -> pd.DataFrame:
        """`attention` with a row per pair: cells, attending, attended, shift."""
        labels = self.modules["module"].unique()
        attending, attended = (each.ravel() for each in np.meshgrid(labels, labels, indexing="ij"))
        named = {"attending": attending, "attended": attended}
        return pd.concat(
            [
                pd.DataFrame({"cells": kind, **named, "shift": shift.ravel()})
                for kind, shift in (self.attention or {}).items()
            ]
        )


def interpret_condition(
    predictor: Predictor, run: Path, condition: Condition, n_cells: int, seed: int, gmt: Path | None, umap: bool
) -> Interpretation:
    """Everything that is asked of one condition; `gmt` names the modules (else the run's own `priors.pathways`)."""
    experiment = predictor.experiment
    if gmt is not None:
        experiment = replace(experiment, config=with_values(experiment.config, {"priors.pathways": str(gmt)}))
    labels = read_modules(run, experiment)
    terms, notes = _terms(experiment, labels, seed)
    cells = gather_cells(predictor, condition, n_cells, seed)
    if cells.true is None:
        notes.append(f"{condition.name} is not in the screen: there are no true cells to set beside the prediction")
    modules, pairs, shifts = [], [], dict[str, Array]()
    for kind, (group, other) in cells.groups().items():
        rng = generator(seed, f"bootstrap {kind}")
        active, still = module_activity(group, labels), module_activity(other, labels)
        frame = pd.DataFrame(
            {"cells": kind, "module": terms.index, "size": terms["size"], "top_term": terms["top_term"]}
        )
        columns = [frame.reset_index(drop=True), activity_shift(active, still, rng)]
        ours, theirs = read_attention(predictor, group), read_attention(predictor, other)
        if ours is not None and theirs is not None:
            columns.append(attention_shift(ours, theirs, rng))
            shifts[kind] = ours.pairs - theirs.pairs
        modules.append(pd.concat(columns, axis=1))
        pairs.append(_pairs(coactivation(active, still, rng), kind, terms))
    if not shifts:
        notes.append(f"gcae.encoder={experiment.config.gcae.encoder} has no attention among modules: none is shown")
    undefined = int(pairs[0]["coactivation"].isna().sum())
    if undefined:
        notes.append(f"{undefined} of {len(pairs[0])} pairs have a module that does not vary in predicted cells")
    return Interpretation(
        cells, pd.concat(modules), pd.concat(pairs), shifts or None, project(experiment, cells, seed, umap), notes
    )


def _terms(experiment: Experiment, labels: NDArray[np.int64], seed: int) -> tuple[pd.DataFrame, list[str]]:
    """By module: size and its most significant gene set, '' where none is significant."""
    sizes = pd.Series(labels).value_counts().sort_index()
    frame = pd.DataFrame({"size": sizes, "top_term": ""})
    sets = read_sets(experiment)
    if sets is None:
        return frame, ["no gene sets (priors.pathways is null): modules go by their numbers; --gmt FILE names them"]
    significant = enrich(labels, sets, generator(seed, "random enrichment")).significant
    best = significant.drop_duplicates("module").set_index("module")["pathway"]
    frame["top_term"] = best.reindex(frame.index).fillna("")
    return frame, []


def _pairs(table: pd.DataFrame, kind: str, terms: pd.DataFrame) -> pd.DataFrame:
    """Pairs by module label and name, largest change first."""
    labels, names = terms.index.to_numpy(), terms["top_term"].to_numpy()
    places = table["a"].to_numpy(), table["b"].to_numpy()
    named = {"cells": kind, "module_a": labels[places[0]], "module_b": labels[places[1]]}
    named |= {"top_term_a": names[places[0]], "top_term_b": names[places[1]]}
    frame = pd.concat([pd.DataFrame(named), table.drop(columns=["a", "b"])], axis=1)
    return frame.loc[frame["change"].abs().sort_values(ascending=False, kind="stable").index]
