"""What modules attend to in the encoder, and how a perturbation shifts it (figure 4 of the paper)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from scbig_dist.interpret.bootstrap import Array, interval, resamples
from scbig_dist.train.predictor import Predictor

BLOCK = 64  # cells whose attention maps are in memory at a time


@dataclass(frozen=True)
class Attention:
    """`pairs` (module, module): what a module (row) takes from each, mean over cells; `received` (cell, module):
    what a module gives, mean over the modules that take. Rows of both add up to 1."""

    pairs: Array
    received: Array


@torch.no_grad()
def read_attention(predictor: Predictor, cells: NDArray[np.float32]) -> Attention | None:
    """Attention of the encoder over (cell, gene) expression; None for a model without attention among modules."""
    encoder = predictor._model.autoencoder
    if not hasattr(encoder, "attention"):
        return None
    device = next(encoder.parameters()).device
    total, received = 0.0, []
    for start in range(0, len(cells), BLOCK):
        x = torch.from_numpy(np.ascontiguousarray(cells[start : start + BLOCK])).to(device)
        maps = encoder.attention(x)
        total = total + maps.sum(0, dtype=torch.float64).cpu().numpy()
        received.append(maps.mean(1, dtype=torch.float64).cpu().numpy())
    return Attention(np.asarray(total) / len(cells), np.concatenate(received))


def attention_shift(perturbed: Attention, control: Attention, rng: np.random.Generator) -> pd.DataFrame:
    """Attention to each module: `attention`, in control cells `attention_control`, and `attention_change`.

    The change is relative to control (0.29 is 29 % more), with its bootstrap interval over both groups of cells.
    """
    ours, theirs = perturbed.received, control.received
    drawn = (resamples(len(ours), rng) @ ours) / (resamples(len(theirs), rng) @ theirs) - 1
    low, high = interval(drawn)
    return pd.DataFrame(
        {
            "attention": ours.mean(0),
            "attention_control": theirs.mean(0),
            "attention_change": ours.mean(0) / theirs.mean(0) - 1,
            "attention_change_low": low,
            "attention_change_high": high,
        }
    )
