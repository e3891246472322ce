"""Which cells stay, and what is said about the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from scbig_dist.conditions import Condition
from scbig_dist.config_data import QCConfig
from scbig_dist.errors import UserError
from scbig_dist.store.labels import Labels


@dataclass(frozen=True)
class CellSelection:
    kept: np.ndarray  # bool per cell of the files
    order: np.ndarray  # kept cells, sorted by condition, stable
    conditions: tuple[Condition, ...]  # kept ones, sorted
    sizes: np.ndarray  # kept cells of each
    n_unlabelled: int
    n_below_min_genes: int
    n_in_small: int
    n_without_control: int
    small: dict[str, int]
    without_control: dict[str, int]


def select_cells(
    labels: Labels, n_detected: np.ndarray, qc: QCConfig, where: str, held: Mapping[Condition, int] | None = None
) -> CellSelection:
    """Apply `qc.min_genes`, then `qc.min_cells_per_condition`; contexts left without control go too.

    `held`: cells of each condition in the store that these are appended to. They count: a condition
    may be small here, and a context without control, where the store has the rest.
    """
    labelled = labels.code >= 0
    rich = n_detected >= qc.min_genes
    kept = labelled & rich
    if not kept.any():
        raise UserError(
            f"{where}: no cell has qc.min_genes={qc.min_genes} detected genes (median {np.median(n_detected):g},"
            f" most {n_detected.max()}); lower qc.min_genes (a file cut to a gene panel needs 0 or little more)"
        )
    sizes = np.bincount(labels.code[kept], minlength=len(labels.conditions))
    before = np.array([(held or {}).get(condition, 0) for condition in labels.conditions])
    enough = sizes + before >= qc.min_cells_per_condition
    perturbed = np.array([not condition.is_control for condition in labels.conditions])
    if held is None:
        _require_conditions(labels, sizes, enough, perturbed, qc, where)

    controlled = {c.context for c, ok in zip(labels.conditions, enough, strict=True) if ok and c.is_control}
    controlled |= {condition.context for condition in held or {} if condition.is_control}
    in_controlled = np.array([condition.context in controlled for condition in labels.conditions])
    stays = enough & in_controlled
    if held is not None and not sizes[stays].any():
        raise UserError(
            f"{where}: no cell passes: every condition has fewer than qc.min_cells_per_condition="
            f"{qc.min_cells_per_condition} cells, the store's included, or a context without control"
        )
    if held is None and not (stays & perturbed).any():
        raise UserError(
            f"{where}: no context has both qc.min_cells_per_condition={qc.min_cells_per_condition} control cells and a"
            " condition of that size; lower it, or leave data.context out to pool the contexts"
        )
    counts = {condition: int(size) for condition, size in zip(labels.conditions, sizes, strict=True)}
    small = {c.name: counts[c] for c, ok in zip(labels.conditions, enough, strict=True) if not ok}
    lost = [c for c, ok, has in zip(labels.conditions, enough, in_controlled, strict=True) if ok and not has]
    without_control: dict[str, int] = {}
    for condition in lost:
        without_control[condition.context] = without_control.get(condition.context, 0) + counts[condition]

    kept &= stays[labels.code]  # code -1 reads the last entry, but such a cell is not kept anyway
    cells = np.flatnonzero(kept)
    return CellSelection(
        kept=kept,
        order=cells[np.argsort(labels.code[cells], kind="stable")],
        conditions=tuple(c for c, ok, n in zip(labels.conditions, stays, sizes, strict=True) if ok and n),
        sizes=sizes[stays & (sizes > 0)],
        n_unlabelled=int((~labelled).sum()),
        n_below_min_genes=int((labelled & ~rich).sum()),
        n_in_small=int(sizes[~enough].sum()),
        n_without_control=sum(without_control.values()),
        small=small,
        without_control=without_control,
    )


def _require_conditions(
    labels: Labels, sizes: np.ndarray, enough: np.ndarray, perturbed: np.ndarray, qc: QCConfig, where: str
) -> None:
    threshold = f"qc.min_cells_per_condition={qc.min_cells_per_condition}"
    after = f" after qc.min_genes={qc.min_genes}" if qc.min_genes else ""
    if not (enough & perturbed).any():
        largest = int(np.argmax(np.where(perturbed, sizes, -1)))
        raise UserError(
            f"{where}: no condition has {threshold} cells{after} (largest: {labels.conditions[largest].name},"
            f" {sizes[largest]}); lower qc.min_cells_per_condition or qc.min_genes"
        )
    if not (enough & ~perturbed).any():
        n_control = int(sizes[~perturbed].max())
        raise UserError(
            f"{where}: the control has {n_control} cells{after}, fewer than {threshold};"
            " lower qc.min_cells_per_condition or qc.min_genes"
        )
