"""The cells behind an interpretation: control, predicted and, where the screen has them, true ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scbig_dist.conditions import Condition
from scbig_dist.errors import UserError
from scbig_dist.train.predictor import Predictor
from scbig_dist.train.random import generator

Cells = NDArray[np.float32]


@dataclass(frozen=True)
class ConditionCells:
    """Log-normalised cells, each (cell, gene), of one condition and its context's control.

    `unmoved` are the control cells as a prediction that changes nothing would give them, to compare predicted cells with:
    encoded and decoded, for what the latent cannot carry is lost; as they are where a head says where means go
    (`shift.head`), whose cells keep it. True cells are compared with `control`.
    """

    condition: Condition
    part: str | None
    """`train`, `val`, `test` or another part of the split; None where the screen has no such cells."""
    control: Cells
    unmoved: Cells
    predicted: Cells
    true: Cells | None

    def groups(self) -> dict[str, tuple[Cells, Cells]]:
        """(cells, the control to compare them with), predicted and, if there are any, true."""
        groups = {"predicted": (self.predicted, self.unmoved)}
        return groups if self.true is None else groups | {"true": (self.true, self.control)}

    @property
    def compared(self) -> str:
        """What predicted cells are compared with, in a sentence."""
        if self.unmoved is self.control:
            return "Predicted cells keep the noise of the control cells that they were made from, and are compared with control."
        return (
            "Predicted cells have lost the noise that the latent cannot carry, so they are compared with control cells that "
            "went through the autoencoder; correlations in both are larger than in true cells."
        )


def gather_cells(predictor: Predictor, condition: Condition, n_cells: int, seed: int) -> ConditionCells:
    """`n_cells` predicted cells, at most as many true and control cells; independent draws.

    Raises UserError for a target that neither the screen nor the run's prior knows, and where there is one cell.
    """
    store, n_genes = predictor.store, predictor.n_genes
    predicted = predictor.predict(condition, n_cells, seed)
    control = _draw(predictor, store.control(condition.context), n_cells, seed)
    true, part = None, None
    if condition in store.conditions:
        true, part = _draw(predictor, condition, n_cells, seed), part_of(predictor, condition)
    for name, cells in (("control", control), ("its", true)):
        if cells is not None and len(cells) < 2:
            raise UserError(f"condition {condition.name}: {name} cells are {len(cells)}; comparing needs two")
    assert control.shape[1] == n_genes == predicted.shape[1]
    unmoved = predictor.reconstruct(control) if predictor.config.shift.head == "none" else control
    return ConditionCells(condition, part, control, unmoved, predicted, true)


def part_of(predictor: Predictor, condition: Condition) -> str:
    """The part of the run's split that a condition of the screen belongs to."""
    split = predictor.split
    parts = {"train": split.train, "val": split.val, "test": split.test, **split.parts}
    return next((name for name, members in parts.items() if condition in members), "unused")


def _draw(predictor: Predictor, condition: Condition, n_cells: int, seed: int) -> Cells:
    """At most `n_cells` cells of the store, without replacement."""
    cells = predictor.store.cells(condition)
    if len(cells) > n_cells:
        rng = generator(seed, f"interpret {condition.name}")
        cells = np.sort(rng.choice(cells, n_cells, replace=False))
    return predictor.store.dense(cells, predictor.n_genes)
