"""What the parts of a training cost on this machine: a few steps of each in the training's own loop.

The cells are random and few, the stages, the loop and the thread that makes batches are those of a training:
what they do to each other is in the figures. The arithmetic of a step does not depend on the values of its
cells, only on their number: the model has the config's sizes, the cells the panel's width.
"""

from __future__ import annotations

import gc
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from scbig_dist.config import Config
from scbig_dist.models.scbig import ModelInputs, ScBIG
from scbig_dist.nn.pca import fit_pca
from scbig_dist.settings import with_values
from scbig_dist.store.kernel import scatter
from scbig_dist.train.autoencoder_stage import AutoencoderStage
from scbig_dist.train.checkpoint import save_checkpoint, tensors_of
from scbig_dist.train.context import LocalContext
from scbig_dist.train.experiment import BLOCK, Experiment
from scbig_dist.train.flow_stage import FlowStage
from scbig_dist.train.inputs import with_components
from scbig_dist.train.latent_space import fit_latent_space
from scbig_dist.train.log import reset_peak_memory
from scbig_dist.train.memory import AnonymousPeak, StagePeak, stage_peak
from scbig_dist.train.random import generator, torch_seeded
from scbig_dist.train.random_store import random_experiment
from scbig_dist.train.stopwatch import Timer, seconds_of_updates
from scbig_dist.train.threads import use_threads

N_PATHWAYS = 1000  # rows of what a model is built on; they hardly cost
READ_BYTES = 64_000_000  # more than a processor's cache holds


@dataclass(frozen=True)
class Rates:
    """Seconds of one worker for one of each, and its memory in GB."""

    update: float
    """Stage 1: an update of `autoencoder.batch` ÷ workers cells, its batches made beside it."""
    check_cell: float
    """Stage 1: a held-out cell of a check."""
    encode_cell: float
    """A cell's latent, for a frozen encoder."""
    space_cell: float
    """A cell of those that the flow's coordinates are fitted on; 0 where they are the latents."""
    micro_batch: float
    """Stage 2: a micro-batch without alignment, made beside the one before."""
    alignment: float
    """What alignment adds to the micro-batch that has it; 0 where it is off."""
    optimizer: float
    """Stage 2: clipping and Adam, once per update."""
    condition: float
    """A condition of a validation."""
    read_cell: float
    """A cell from warm memory to a dense row."""
    components: float
    """Principal components, whatever the number of cells."""
    component_cell: float
    """A cell of them, all passes and their reading together."""
    modules: float
    """The clustering of the genes."""
    checkpoints: dict[str, float]
    """Stage: a checkpoint on this machine's temporary disk."""
    parameters: dict[str, int]
    """Stage: parameters that learn."""
    host_gb: float
    """Peak anonymous memory of the measuring process."""
    device_gb: float
    """Peak memory of tensors on the GPU; 0 on CPU."""
    stage_gb: dict[str, float]
    """Stage: peak memory of its updates, of tensors on the GPU or, on CPU, of the process."""


def measure(config: Config, n_genes: int, entries_per_cell: float, workers: int, updates_alone: bool = False) -> Rates:
    """Time the parts of a training of one of `workers` equal workers. Takes seconds to a minute or so.

    `entries_per_cell`: non-zero counts of a cell in the panel. `updates_alone`: the rates of anything but updates
    are left at 0. UserError for a GPU that is not there.
    """
    context = LocalContext(config.train.gpus)
    use_threads(config.train.threads)
    rng, timer = generator(config.train.seed, "measure"), Timer(context.device)
    share = _share(config, workers)
    with tempfile.TemporaryDirectory(prefix="scbig-scale-") as name:
        n_cells = share.autoencoder.batch - round(share.autoencoder.metacells * share.autoencoder.batch)
        experiment = random_experiment(share, Path(name), n_genes, entries_per_cell, n_cells, rng)
        gc.collect()
        reset_peak_memory()
        with AnonymousPeak() as peak:
            components = component_cell = modules = space_cell = read_cell = 0.0
            if not updates_alone:
                components, component_cell = _time_components(experiment, rng)
                modules = _time_modules(share, n_genes, rng)
                read_cell = _time_reading(n_genes, entries_per_cell, rng)
            with torch_seeded(config.train.seed, "weights", 0, context.device):
                model = ScBIG(_inputs(experiment, rng), share).to(context.device)
            first = _first_stage(model, experiment, context, timer, Path(name), updates_alone)
            if not updates_alone:
                space_cell = _time_space(model, experiment, context)
            second = _second_stage(model, experiment, context, timer, Path(name), updates_alone)
    stage_gb = {"autoencoder": first.gb, "flow": second.gb}
    device = context.device
    device_gb = max(torch.cuda.max_memory_allocated(device) / 1e9, *stage_gb.values()) if device.type == "cuda" else 0.0
    return Rates(
        **first.rates,
        **second.rates,
        space_cell=space_cell,
        read_cell=read_cell,
        components=components,
        component_cell=component_cell,
        modules=modules,
        checkpoints={"autoencoder": first.checkpoint, "flow": second.checkpoint},
        parameters={"autoencoder": first.n_parameters, "flow": second.n_parameters},
        host_gb=peak.gb,
        device_gb=device_gb,
        stage_gb=stage_gb,
    )


@dataclass(frozen=True)
class _Found:
    rates: dict[str, float]
    checkpoint: float
    n_parameters: int
    gb: float


def _first_stage(
    model: ScBIG, experiment: Experiment, context: LocalContext, timer: Timer, folder: Path, updates_alone: bool
) -> _Found:
    stage = AutoencoderStage(experiment, context)
    learning = [parameter for parameter in model.autoencoder.parameters()]
    update = checkpoint = check = 0.0
    peak = StagePeak()
    if learning:
        with stage_peak(context.device) as peak:
            (update,) = seconds_of_updates(model, stage, experiment, context, 1)
        optimizer = _stepped(learning)
        checkpoint = _time_checkpoint(folder, model, optimizer, tensors_of(model))
    model.eval()
    if not updates_alone:
        check = timer(lambda: stage.check(model)) / len(experiment.cells_of(experiment.split.val))
    return _Found({"update": update, "check_cell": check}, checkpoint, sum(p.numel() for p in learning), peak.gb)


def _second_stage(
    model: ScBIG, experiment: Experiment, context: LocalContext, timer: Timer, folder: Path, updates_alone: bool
) -> _Found:
    config = experiment.config
    stage = FlowStage(experiment, model, context)
    for step in range(4 * len(stage.conditions)):  # targets of a condition are computed once
        for _ in stage.micro_batches(step):
            pass
    # `align.every` is 2 here (see _share): both kinds of update meet the same moments of the machine.
    with stage_peak(context.device) as peak:
        aligned, plain = seconds_of_updates(model, stage, experiment, context, 2)
    learning = [p for module in model.stage_modules("flow") for p in module.parameters()]
    optimizer = _stepped(learning)

    def descend() -> None:
        nn.utils.clip_grad_norm_(learning, config.flow.clip)
        optimizer.step()

    descent = timer(descend)
    checkpoint = _time_checkpoint(folder, model, optimizer, None)
    model.eval()
    validation = encode = 0.0
    if not updates_alone:
        validation = timer(lambda: stage.check(model)) / len(experiment.split.val)
    if not (updates_alone or config.flow.train_autoencoder):
        x = torch.from_numpy(experiment.store.dense(experiment.train_cells()[:BLOCK], experiment.n_genes))
        with torch.no_grad():
            encode = timer(lambda: model.encode(x.to(context.device))) / len(x)
    rates = {
        "micro_batch": max(plain - descent, 0.0),
        "alignment": max(aligned - plain, 0.0) * _is_aligned(config),
        "optimizer": descent,
        "condition": validation,
        "encode_cell": encode,
    }
    return _Found(rates, checkpoint, sum(p.numel() for p in learning), peak.gb)


def _share(config: Config, workers: int) -> Config:
    """The config of one of `workers`, as one process: its share of stage 1's cells, updates of one micro-batch in stage 2."""
    values: dict[str, Any] = {
        "autoencoder.batch": -(-config.autoencoder.batch // workers),
        "flow.accumulate": 1,
        "align.every": 2,
        "panel.n_hvg": None,
        "train.workers": 1,
        "train.checkpoint_every": 10**9,
    }
    return with_values(config, values)


def _is_aligned(config: Config) -> bool:
    return config.align.lambda_corr > 0 or _with_pathways(config)


def _with_pathways(config: Config) -> bool:
    return config.priors.pathways is not None and config.align.lambda_path > 0


def _stepped(learning: list[nn.Parameter]) -> torch.optim.Optimizer:
    """The loop's optimiser with its moments, and gradients to go on with."""
    optimizer = torch.optim.AdamW(learning, lr=1e-8, weight_decay=0.0, fused=True)
    for parameter in learning:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    return optimizer


def _time_checkpoint(
    folder: Path, model: ScBIG, optimizer: torch.optim.Optimizer, best: dict[str, Tensor] | None
) -> float:
    tick = time.perf_counter()
    save_checkpoint(folder / "checkpoints", 1, model, optimizer, {}, best)
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = None
    return time.perf_counter() - tick


def _time_space(model: ScBIG, experiment: Experiment, context: LocalContext) -> float:
    """Seconds per cell that the coordinates are fitted on."""
    if experiment.config.flow.latent_scale == "raw":
        return 0.0
    began = time.perf_counter()
    fit_latent_space(model, experiment, context)
    return (time.perf_counter() - began) / len(experiment.train_cells())


def _inputs(experiment: Experiment, rng: np.random.Generator) -> ModelInputs:
    config, n_genes, n_targets = experiment.config, experiment.n_genes, len(experiment.targets)
    e = config.priors.embedding_dim

    def normal(*shape: int) -> Tensor:
        return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))

    return ModelInputs(
        module_of_gene=torch.arange(n_genes) * config.grc.n_modules // n_genes,
        gene_mean=torch.rand(n_genes),
        gene_embedding=None if config.priors.gene_embedding is None else normal(n_genes, e),
        components=normal(config.gcae.latent_dim, n_genes) if with_components(config) else None,
        target_vectors=None if config.flow.target_embedding == "learned" else normal(n_targets, e),
        target_known=torch.ones(n_targets, dtype=torch.bool),
        pathways=(torch.rand(N_PATHWAYS, n_genes) < 0.02).float() / n_genes if _with_pathways(config) else None,
        n_contexts=1,
        with_dose=False,
    )


def _time_reading(n_genes: int, entries_per_cell: float, rng: np.random.Generator) -> float:
    """The store's own kernel on one shard that lies in memory."""
    length = max(round(entries_per_cell), 1)
    n_cells = min(max(READ_BYTES // (4 * length), 64), 200_000) // 64 * 64
    pointer = np.arange(n_cells + 1, dtype=np.int64) * length
    genes = np.concatenate([np.sort(rng.choice(n_genes, length, replace=False)) for _ in range(64)]).astype(np.uint16)
    genes = np.tile(genes, n_cells // 64)
    counts = (1 + rng.geometric(0.5, len(genes))).astype(np.uint16)
    total = np.full(n_cells, 1e4)
    addresses = np.array([[array.ctypes.data for array in (pointer, genes, counts, total)]], dtype=np.int64)
    first, out = np.array([0, n_cells], dtype=np.int64), np.empty((256, n_genes), dtype=np.float32)

    def read() -> None:
        scatter(rng.integers(n_cells, size=256), first, addresses, n_genes, True, True, 1e4, out)

    return Timer(torch.device("cpu"))(read) / len(out)


def _time_components(experiment: Experiment, rng: np.random.Generator) -> tuple[float, float]:
    """Seconds whatever the number of cells, and per cell."""
    config, cells = experiment.config, experiment.train_cells()
    n = max(
        config.gcae.latent_dim if with_components(config) else 1,
        config.priors.embedding_dim if config.priors.gene_embedding == "pca" else 1,
    )
    sizes, seconds = (len(cells) // 4, len(cells)), []
    n = min(n, experiment.n_genes, sizes[0] - 1)
    # Cells here are noise, and with tens of components asked for all passes are taken, as on real ones.
    for size in sizes:
        tick = time.perf_counter()
        fit_pca(experiment.blocks(cells[:size]), experiment.n_genes, n, rng)
        seconds.append(time.perf_counter() - tick)
    per_cell = max((seconds[1] - seconds[0]) / (sizes[1] - sizes[0]), 0.0)
    return max(seconds[1] - sizes[1] * per_cell, 0.0), per_cell


def _time_modules(config: Config, n_genes: int, rng: np.random.Generator) -> float:
    from scbig_dist.grc import cluster_genes  # POT and scikit-learn, as a run that clusters imports them

    vectors = rng.standard_normal((n_genes, config.priors.embedding_dim), dtype=np.float32)
    tick = time.perf_counter()
    cluster_genes(n_genes, vectors, np.ones(n_genes, dtype=bool), None, config.grc, rng)
    return time.perf_counter() - tick
