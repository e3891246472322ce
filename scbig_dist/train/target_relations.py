"""How targets are related, for the mean head: by the pathways that they share, or by vectors from a file."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from scbig_dist.screen.pathway_vectors import SIZES
from scbig_dist.screen.pathways import read_pathways
from scbig_dist.train.experiment import STAND_INS, Experiment
from scbig_dist.train.target_vectors import target_source


def target_relations(experiment: Experiment, targets: Sequence[str]) -> Tensor:
    """(target, r) rows of length 1, whose products are cosines; a row of zeros where nothing is known.

    With `priors.pathways` membership in its sets, a large one weighing less (1 ÷ √size); else the
    vectors of a `priors.target_embedding` file; else no columns. Stand-ins are left out: on held-out
    targets they made predictions worse (benchmarks/quality.md).
    """
    priors = experiment.config.priors
    rows = np.zeros((len(targets), 0))
    if priors.pathways is not None:
        sets = [set(genes) for genes in read_pathways(priors.pathways).values()]
        sets = [genes for genes in sets if SIZES[0] <= len(genes) <= SIZES[1]]
        rows = np.array([[len(genes) ** -0.5 * (target in genes) for genes in sets] for target in targets])
        rows = rows.reshape(len(targets), len(sets))
    elif priors.target_embedding is not None and priors.target_embedding not in STAND_INS:
        source = target_source(experiment)
        if source is not None:
            look = source.lookup(targets)
            rows = look.vectors * look.found[:, None]
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return torch.from_numpy(rows / np.maximum(length, 1e-12)).double()
