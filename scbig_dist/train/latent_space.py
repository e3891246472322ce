"""The coordinates in which the flow sees latents (`flow.latent_scale`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from scbig_dist.models.scbig import ScBIG
from scbig_dist.train.context import WorkerContext
from scbig_dist.train.experiment import Experiment

MAX_CELLS = 8192  # more cells move second moments less than matters here
RANK = 1e-12  # of the largest variance: directions below it are rounding
FLOOR = 0.1  # of the mean stretch: along what decoding hardly shows, small errors of the flow would be blown up on the way back


@torch.no_grad()
def fit_latent_space(model: ScBIG, experiment: Experiment, context: WorkerContext) -> None:
    """Set the model's map between latents and the flow's coordinates, from training cells.

    `expression`: decoded cells are regressed on latents, x̂ ≈ (z − mean) A, and z' = (z − mean)(AAᵀ)^½, so that
    to first order distances between z' are those between decoded cells; along directions that decoding hardly shows
    they are longer.
    """
    model.autoencoder.eval()
    kind = experiment.config.flow.latent_scale
    if kind == "raw":
        return
    cells = experiment.train_cells()
    moments = _moments(model, experiment, context, cells[:: max(len(cells) // MAX_CELLS, 1)])
    if kind == "unit":
        forward = torch.eye(len(moments.mean)).to(moments.mean) / moments.covariance.diagonal().mean().sqrt()
        model.to_flow.copy_(forward)
        model.from_flow.copy_(torch.linalg.inv(forward))
        return
    slope = torch.linalg.pinv(moments.covariance, rtol=RANK, hermitian=True) @ moments.with_decoded
    squares, directions = torch.linalg.eigh(slope @ slope.T)
    stretch = squares.clamp(min=0).sqrt()
    # Not of the largest: where latents hardly vary, a stretch may be any size.
    shown = (slope * (moments.covariance @ slope)).sum() / moments.covariance.diagonal().sum()
    stretch = stretch.clamp(min=FLOOR * float(shown.clamp(min=0).sqrt()))
    model.latent_mean.copy_(moments.mean)
    model.to_flow.copy_(directions * stretch @ directions.T)
    model.from_flow.copy_(directions / stretch @ directions.T)


@dataclass(frozen=True)
class _Moments:
    """Of cells, float64."""

    mean: Float[Tensor, " latent"]
    covariance: Float[Tensor, "latent latent"]
    with_decoded: Float[Tensor, "latent gene"]


def _moments(model: ScBIG, experiment: Experiment, context: WorkerContext, cells: np.ndarray) -> _Moments:
    """Block by block: at 10,000 genes the decoded cells together would take gigabytes."""
    n, first = 0, None
    sums: list[Tensor] = []
    for x in experiment.blocks(cells)():
        z = model.autoencoder.encode(torch.from_numpy(x).to(context.device))
        decoded = model.autoencoder.decode(z).double()
        first = z.double().mean(0) if first is None else first  # sums around a near mean lose no digits
        z = z.double() - first
        n += len(z)
        new = [z.sum(0), z.T @ z, z.T @ decoded, decoded.sum(0)]
        sums = [one + more for one, more in zip(sums, new, strict=True)] if sums else new
    assert first is not None, "no cells"
    total, squares, products, decoded_sum = sums
    mean = total / n
    covariance = (squares - n * torch.outer(mean, mean)) / (n - 1)
    return _Moments(first + mean, covariance, (products - torch.outer(mean, decoded_sum)) / (n - 1))
