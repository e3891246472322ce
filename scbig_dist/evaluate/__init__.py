"""Held-out conditions, predicted and scored."""

from scbig_dist.evaluate.cell_eval import CellEvalFiles
from scbig_dist.evaluate.kept import validation_scores
from scbig_dist.evaluate.prediction import write_prediction
from scbig_dist.evaluate.references import LATENT_CEILING
from scbig_dist.evaluate.request import find_request
from scbig_dist.evaluate.run import evaluate_run
from scbig_dist.evaluate.seeds import evaluate_seeds, most_undefined
from scbig_dist.evaluate.table import print_intervals, print_scores, print_spreads

__all__ = [
    "LATENT_CEILING",
    "CellEvalFiles",
    "evaluate_run",
    "evaluate_seeds",
    "find_request",
    "most_undefined",
    "print_intervals",
    "print_scores",
    "print_spreads",
    "validation_scores",
    "write_prediction",
]
