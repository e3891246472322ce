"""Held-out conditions, predicted and scored."""

from scbig_dist.evaluate.prediction import write_prediction
from scbig_dist.evaluate.references import LATENT_CEILING
from scbig_dist.evaluate.request import find_request
from scbig_dist.evaluate.run import evaluate_run
from scbig_dist.evaluate.table import print_scores

__all__ = ["LATENT_CEILING", "evaluate_run", "find_request", "print_scores", "write_prediction"]
