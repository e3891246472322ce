"""Which genes stay, and in which order: perturbed genes by name, then by HVG rank."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scbig_dist.config import Config
from scbig_dist.errors import UserError
from scbig_dist.store.inputs import targets_of
from scbig_dist.store.moments import Pass
from scbig_dist.store.qc import CellSelection
from scbig_dist.store.ranking import METHODS, rank_genes
from scbig_dist.store.schema import MAX_GENES


@dataclass(frozen=True)
class Panel:
    columns: np.ndarray  # places among the genes in use, store order
    n_targets: int
    ranks: list[int | None]  # HVG rank of each, store order
    n_ranked: int
    n_hvg: int
    method: str
    absent: dict[str, int]  # target: conditions that name it
    below_min_cells: list[str]
    n_below_min_cells: int
    notes: list[str]


def choose_panel(
    cells: CellSelection, spooled: Pass, totals: np.ndarray, genes: np.ndarray, config: Config, where: str
) -> Panel:
    """Rank the genes over the kept cells and lay out the store's columns.

    `totals`: library size of every cell of the files. Reads the spool once, or twice for `seurat_v3`.
    """
    named = targets_of(cells.conditions)
    place = {gene: column for column, gene in reversed(list(enumerate(genes.tolist())))}
    targets = sorted(target for target in named if target in place)

    order, n_detected = rank_genes(spooled, totals, config, where)
    asked = config.panel.n_hvg
    n_hvg = len(order) if asked is None else min(asked, len(order))
    notes = []
    if asked is not None and asked > len(order):
        notes.append(f"panel.n_hvg={asked} is above the {len(order)} genes that pass qc.min_cells: capped")
    target_columns = [place[target] for target in targets]
    is_target = np.zeros(len(genes), dtype=bool)
    is_target[target_columns] = True
    rest = order[:n_hvg][~is_target[order[:n_hvg]]]
    columns = np.concatenate([np.array(target_columns, dtype=np.int64), rest])
    if len(columns) > MAX_GENES:
        raise UserError(
            f"{where}: a panel of {len(columns)} genes, at most {MAX_GENES} fit a store; set panel.n_hvg={MAX_GENES - len(targets)} or less"
        )
    rank_of = np.full(len(genes), -1, dtype=np.int64)
    rank_of[order] = np.arange(len(order))
    below = [target for target in targets if rank_of[place[target]] < 0]
    return Panel(
        columns=columns,
        n_targets=len(targets),
        ranks=[int(r) if r >= 0 else None for r in rank_of[columns]],
        n_ranked=len(order),
        n_hvg=n_hvg,
        method=METHODS[config.panel.hvg_flavor],
        absent={target: named[target] for target in sorted(named) if target not in place},
        below_min_cells=below,
        n_below_min_cells=int((n_detected < config.qc.min_cells).sum()) - len(below),
        notes=notes,
    )
