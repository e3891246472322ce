"""What training conditions did to the genes that they hit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from scbig_dist.models.means import control_profiles, mean_profiles
from scbig_dist.models.own_gene import OwnShifts
from scbig_dist.train.experiment import Experiment


def own_shifts(experiment: Experiment) -> OwnShifts | None:
    """Straight from the store; None where no training condition hits a gene of the panel, as in a drug screen."""
    store, train, n_genes = experiment.store, experiment.split.train, experiment.n_genes
    targets, column = experiment.targets, own_columns(experiment, experiment.targets)
    shifts = mean_profiles(store, train, n_genes) - control_profiles(store, train, n_genes)
    row = {target: index for index, target in enumerate(targets)}
    measured: dict[int, list[float]] = {}
    for condition, shift in zip(train, shifts, strict=True):
        for target in condition.targets:
            if column[row[target]] >= 0:
                measured.setdefault(row[target], []).append(float(shift[column[row[target]]]))
    if not measured:
        return None
    own = {target: float(np.mean(values)) for target, values in measured.items()}
    typical = float(np.mean(list(own.values())))
    control = np.full((len(experiment.contexts), n_genes), np.nan)
    for condition in experiment.controls:
        control[experiment.contexts.index(condition.context)] = mean_profiles(store, [condition], n_genes)[0]
    return OwnShifts(
        column=column,
        shift=torch.tensor([own.get(index, typical) for index in range(len(targets))]),
        typical=torch.tensor(typical),
        control_mean=torch.from_numpy(control).float(),
    )


def own_columns(experiment: Experiment, targets: Sequence[str]) -> Tensor:
    """Panel columns of targets, -1 outside the panel."""
    column = {gene: index for index, gene in enumerate(experiment.genes)}
    return torch.tensor([column.get(target, -1) for target in targets])
