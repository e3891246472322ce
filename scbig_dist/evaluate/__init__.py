"""Held-out conditions, predicted and scored."""

from scbig_dist.evaluate.prediction import write_prediction
from scbig_dist.evaluate.run import evaluate_run
from scbig_dist.evaluate.table import print_scores

__all__ = ["evaluate_run", "print_scores", "write_prediction"]
