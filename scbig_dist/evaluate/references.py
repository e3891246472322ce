"""The rows that stand beside a model in every table: the baselines and the noise ceiling."""

from __future__ import annotations

from dataclasses import dataclass

from scbig_dist.evaluate.ground import Ground
from scbig_dist.evaluate.truth import Scores, Truth, from_shifts, score, split_halves
from scbig_dist.models.baselines import absent_targets, predict_shifts, training_shifts
from scbig_dist.screen.splits import Split

CEILING = "noise ceiling"
LATENT_CEILING = "latent ceiling"


@dataclass(frozen=True)
class References:
    """Scores by method, and the targets that have no row in Linear."""

    scores: dict[str, Scores]
    absent_targets: list[str]


def score_references(ground: Ground, split: Split, truth: Truth) -> References:
    """Score every baseline, fitted on the training conditions, and the split halves of the true cells."""
    shifts = training_shifts(ground.store, split.train, ground.n_genes)
    scores = {
        name: score(from_shifts(ground, truth, predicted), truth, ground.threads)
        for name, predicted in predict_shifts(shifts, truth.conditions).items()
    }
    scores[CEILING] = score(*split_halves(ground, truth), ground.threads)
    return References(scores, absent_targets(shifts, truth.conditions))
