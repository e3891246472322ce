"""Latents of all training cells under a frozen encoder: computed once per autoencoder, mapped once per node."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from safetensors.torch import load_file
from torch import Tensor

from scbig_dist.artifacts import Artifact, Shelf, save_tensors
from scbig_dist.models.scbig import ScBIG
from scbig_dist.train.arrows import latents_arrow
from scbig_dist.train.context import WorkerContext
from scbig_dist.train.experiment import BLOCK, Experiment
from scbig_dist.train.latent_space import fit_latent_space
from scbig_dist.train.residence import passing_source
from scbig_dist.train.sharing import Work, share

CELLS, SPACE = "latents.npy", "space.safetensors"
COORDINATES = ("latent_mean", "to_flow", "from_flow")


def shared_latents(
    model: ScBIG, experiment: Experiment, context: WorkerContext, shelf: Shelf, autoencoder_key: str
) -> tuple[Tensor, Artifact]:
    """Latents by position in the store, zero for cells that do not train; sets the model's coordinates.

    On a CPU they are the pages of the artefact's file, which all processes of a node share.
    """

    def make() -> Work:
        began = time.perf_counter()
        fit_latent_space(model, experiment, context)

        def write(beside: Path) -> None:
            shape = (experiment.store.n_cells, experiment.config.gcae.latent_dim)
            mapped = open_memmap(beside / CELLS, mode="w+", dtype=np.float32, shape=shape)
            write_latents(model, experiment, context, torch.from_numpy(mapped))
            mapped.flush()
            save_tensors({name: getattr(model, name) for name in COORDINATES}, beside / SPACE)

        return Work(write, time.perf_counter() - began)

    arrow = latents_arrow(experiment, autoencoder_key)
    found = share(shelf, context, arrow, make)
    for name, value in load_file(found.path / SPACE).items():
        getattr(model, name).copy_(value)
    mapped = np.load(found.path / CELLS, mmap_mode="c")  # private pages: nobody writes, and torch wants to be able to
    return torch.from_numpy(mapped).to(context.device), found


def write_latents(model: ScBIG, experiment: Experiment, context: WorkerContext, latents: Tensor) -> None:
    """Fill the rows of training cells, a block in memory at a time; with a mean head moved as it wants them."""
    source = passing_source(experiment.store, experiment.n_genes, context.device)
    experiment.store.expect_random(False)
    cells = experiment.train_cells()
    model.eval()
    with torch.no_grad():
        for start in range(0, len(cells), BLOCK):
            rows = cells[start : start + BLOCK]
            latents[torch.from_numpy(rows)] = model.encode(source(rows)).cpu()
    if model.shift is not None:
        _centre(experiment, latents)


def _centre(experiment: Experiment, latents: Tensor) -> None:
    """Move every condition's latents to the mean of its controls: the head carries the mean, the flow the rest."""
    store = experiment.store
    for condition in experiment.split.train:
        own, control = (torch.from_numpy(store.cells(each)) for each in (condition, store.control(condition.context)))
        latents[own] += latents[control].mean(0) - latents[own].mean(0)
