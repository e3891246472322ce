"""True and predicted cells as the program `cell-eval` (0.8) reads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from scbig_dist.conditions import CONTROL, Condition
from scbig_dist.errors import UserError
from scbig_dist.evaluate.prediction import write_cells
from scbig_dist.store.reader import Store

BLOCK = 1024  # cells that are dense in memory at a time


class CellEvalFiles:
    """Collects the predicted cells of conditions; `write` leaves DIR/real.h5ad and DIR/pred.h5ad.

    Both hold log-normalised expression as CSR (predictions clamped at 0: cell-eval refuses
    negative values) over the same genes in the same order, the test conditions and all control
    cells of their contexts. `obs["condition"]` is the perturbation (`A+B`, with `@dose` where the
    screen has doses) or `control`, `obs["context"]` the context.
    """

    def __init__(self, folder: Path) -> None:
        if folder.exists() and not folder.is_dir():
            raise UserError(f"--cell-eval {folder}: a file; name a folder")
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._predicted: dict[Condition, sparse.csr_matrix] = {}

    def add(self, condition: Condition, cells: NDArray[np.float32]) -> None:
        """Keep the predicted cells (cell, gene) of a condition; one that a model cannot predict is a UserError."""
        if np.isnan(cells).any():
            raise UserError(
                f"--cell-eval {self.folder}: the model has no prediction of {condition.name}, which cell-eval needs; "
                "leave the option out"
            )
        self._predicted[condition] = sparse.csr_matrix(np.maximum(cells, 0.0))

    def write(self, store: Store, n_genes: int, source: dict[str, Any]) -> None:
        conditions = list(self._predicted)
        controls = [store.control(context) for context in sorted({condition.context for condition in conditions})]
        control = {condition: _true_cells(store, condition, n_genes) for condition in controls}
        true = {condition: _true_cells(store, condition, n_genes) for condition in conditions}
        genes = store.genes[:n_genes]
        for name, parts, told in (
            ("real", true, source | {"source": "true cells"}),
            ("pred", self._predicted, source),
        ):
            blocks = control | parts
            x = sparse.vstack(list(blocks.values()), format="csr")
            write_cells(self.folder / f"{name}.h5ad", x, _labels(blocks, name), genes, told)

    def command(self) -> str:
        """How to run cell-eval on the files."""
        several = len({condition.context for condition in self._predicted}) > 1
        return (
            f"cell-eval run -ap {self.folder / 'pred.h5ad'} -ar {self.folder / 'real.h5ad'} --pert-col condition "
            f"--control-pert {CONTROL}{' --celltype-col context' * several} -o {self.folder / 'cell-eval'}"
        )


def _labels(blocks: dict[Condition, sparse.csr_matrix], name: str) -> pd.DataFrame:
    conditions, sizes = list(blocks), [block.shape[0] for block in blocks.values()]

    def repeated(values: Sequence[str]) -> pd.Categorical:
        return pd.Categorical(np.repeat(np.array(values, dtype=object), sizes))

    labels = [condition.name.removeprefix(f"{condition.context}/") for condition in conditions]
    return pd.DataFrame(
        {"condition": repeated(labels), "context": repeated([condition.context for condition in conditions])},
        index=[f"{name}_{row}" for row in range(sum(sizes))],
    )


def _true_cells(store: Store, condition: Condition, n_genes: int) -> sparse.csr_matrix:
    cells = store.cells(condition)
    blocks = [
        sparse.csr_matrix(store.dense(cells[start : start + BLOCK], n_genes)) for start in range(0, len(cells), BLOCK)
    ]
    return sparse.vstack(blocks, format="csr")
