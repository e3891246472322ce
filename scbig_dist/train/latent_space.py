"""The coordinates in which the flow sees latents (`flow.latent_scale`)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from scbig_dist.models.scbig import ScBIG
from scbig_dist.train.context import WorkerContext
from scbig_dist.train.experiment import Experiment

MAX_CELLS = 8192  # more cells move second moments less than matters here
FLOOR = 1e-4  # of the largest stretch: directions that decoding hardly shows would be blown up on the way back


@torch.no_grad()
def fit_latent_space(model: ScBIG, experiment: Experiment, context: WorkerContext) -> None:
    """Set the model's map between latents and the flow's coordinates, from training cells.

    `expression`: decoded cells are regressed on latents, x̂ ≈ (z − mean) A, and z' = (z − mean)(AAᵀ)^½, so that
    to first order distances between z' are those between decoded cells.
    """
    model.autoencoder.eval()
    kind = experiment.config.flow.latent_scale
    if kind == "raw":
        return
    cells = experiment.train_cells()
    cells = cells[:: max(len(cells) // MAX_CELLS, 1)]
    z, decoded = _latents(model, experiment, context, cells)
    centred = z - z.mean(0)
    if kind == "unit":
        forward = torch.eye(z.shape[1], dtype=z.dtype, device=z.device) / centred.var(dim=0).mean().sqrt()
        model.to_flow.copy_(forward)
        model.from_flow.copy_(torch.linalg.inv(forward))
        return
    slope = torch.linalg.lstsq(centred, decoded - decoded.mean(0)).solution
    squares, directions = torch.linalg.eigh(slope @ slope.T)
    stretch = squares.clamp(min=0).sqrt()
    stretch = stretch.clamp(min=FLOOR * float(stretch.max()))
    model.latent_mean.copy_(z.mean(0))
    model.to_flow.copy_(directions * stretch @ directions.T)
    model.from_flow.copy_(directions / stretch @ directions.T)


def _latents(model: ScBIG, experiment: Experiment, context: WorkerContext, cells: np.ndarray) -> tuple[Tensor, Tensor]:
    """Latents and decoded cells, float64."""
    parts = []
    for x in experiment.blocks(cells)():
        z = model.autoencoder.encode(torch.from_numpy(x).to(context.device))
        parts.append((z.double(), model.autoencoder.decode(z).double()))
    return torch.cat([z for z, _ in parts]), torch.cat([x for _, x in parts])
