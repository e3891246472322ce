"""From what a few steps cost to what a training of any size costs: arithmetic alone, nothing is timed here."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from scbig_dist.config import Config
from scbig_dist.errors import UserError
from scbig_dist.store.schema import MAX_GENES
from scbig_dist.store.shards import SHARD_CELLS
from scbig_dist.train.autoencoder_stage import HELD_OUT_CELLS, METACELLS
from scbig_dist.train.experiment import open_experiment
from scbig_dist.train.inputs import PCA_CELLS
from scbig_dist.train.latent_space import MAX_CELLS
from scbig_dist.train.measure import Rates
from scbig_dist.train.random import generator

ENTRY_BYTES = 4  # gene and count, uint16 each
CELL_BYTES = (
    16 + 4 + 4 + 8 + 8 + 16
)  # two row pointers, condition, batch, library size, pointer and letters of the name
FILE_BYTES = 1_700  # Arrow's own record of a shard
POSITION_BYTES = 8 * 3  # int64: training cells, an epoch's order, and the copy that sorting makes


@dataclass(frozen=True)
class Screen:
    """What a training is to be done on."""

    n_cells: int
    n_genes: int
    """The panel's."""
    entries_per_cell: float
    """Non-zero counts of a cell in the panel."""
    n_train_cells: int
    """Control cells and cells of training conditions."""
    n_val: int
    """Validation conditions."""
    n_val_cells: int

    @property
    def store_bytes(self) -> float:
        shards = math.ceil(self.n_cells / SHARD_CELLS)
        return self.n_cells * (self.entries_per_cell * ENTRY_BYTES + CELL_BYTES) + shards * FILE_BYTES


def screen_of(config: Config, n_cells: int, n_genes: int, density: float, n_conditions: int) -> Screen:
    """A screen of equally large conditions, the control one of them; `n_conditions` perturbed ones."""
    held_out = config.split.n_val + config.split.n_test
    if n_conditions <= held_out:
        raise UserError(
            f"--conditions {n_conditions}: split.n_val + split.n_test hold out {held_out} of them; name more, or lower those"
        )
    each = n_cells / (n_conditions + 1)
    n_train = round(each * (n_conditions - held_out + 1))
    return Screen(n_cells, n_genes, density * n_genes, n_train, config.split.n_val, round(each * config.split.n_val))


def screen_of_store(config: Config, n_cells: int | None) -> Screen:
    """The screen of `config.store` with the config's split; with `n_cells`, one of that many cells of its kind."""
    experiment = open_experiment(config)
    store, split = experiment.store, experiment.split
    rng = generator(config.train.seed, "density")
    sample = store.dense(
        np.sort(rng.choice(store.n_cells, min(store.n_cells, 1024), replace=False)), experiment.n_genes
    )
    larger = 1.0 if n_cells is None else n_cells / store.n_cells
    return Screen(
        n_cells=round(store.n_cells * larger),
        n_genes=experiment.n_genes,
        entries_per_cell=float((sample > 0).sum(axis=1).mean()),
        n_train_cells=round(len(experiment.train_cells()) * larger),
        n_val=len(split.val),
        n_val_cells=round(len(experiment.cells_of(split.val)) * larger),
    )


def check_sizes(config: Config, screen: Screen) -> None:
    """A UserError where a training of this size could not begin."""
    if config.grc.n_modules > screen.n_genes:
        raise UserError(f"grc.n_modules={config.grc.n_modules} is above the panel's {screen.n_genes} genes; lower it")
    if config.gcae.encoder == "pca" and config.gcae.latent_dim > screen.n_genes:
        raise UserError(
            f"gcae.latent_dim={config.gcae.latent_dim} is above the panel's {screen.n_genes} genes; lower it"
        )
    if screen.n_genes > MAX_GENES:
        raise UserError(f"{screen.n_genes} genes: a store holds at most {MAX_GENES}; lower --genes")
    if screen.n_train_cells < config.autoencoder.batch:
        raise UserError(
            f"{screen.n_train_cells} training cells are fewer than autoencoder.batch={config.autoencoder.batch}: "
            "raise --cells or lower the batch"
        )


def time_text(hours: float) -> str:
    """Three digits in the unit that suits: `420 ms`, `4.32 s`, `47.1 min`, `2.4 h`."""
    for unit, name in ((1.0, "h"), (1 / 60, "min"), (1 / 3600, "s")):
        if hours >= unit:
            return f"{hours / unit:,.0f} {name}" if hours >= 100 * unit else f"{hours / unit:.3g} {name}"
    return f"{hours * 3_600_000:.3g} ms"


@dataclass(frozen=True)
class Stage:
    name: str
    update_ms: float
    n_updates: int
    cells_per_s: float
    hours: float


@dataclass(frozen=True)
class Forecast:
    screen: Screen
    workers: int
    stages: list[Stage]
    parts: dict[str, float]
    """Hours by what they are spent on; together the training."""
    host_gb: float
    """Peak anonymous memory of a worker."""
    device_gb: float
    """Peak memory of tensors on a worker's GPU."""
    latents_gb: float
    """Latents of training cells, in either."""
    cpu_hours: float
    gpu_hours: float

    @property
    def hours(self) -> float:
        return sum(self.parts.values())

    @property
    def dominant(self) -> str:
        return max(self.parts, key=lambda part: self.parts[part])

    def as_json(self) -> dict[str, Any]:
        more = {"hours": self.hours, "dominates": self.dominant, "store_gb": self.screen.store_bytes / 1e9}
        return asdict(self) | more


def forecast(config: Config, screen: Screen, rates: Rates, workers: int, bandwidth: float) -> Forecast:
    """What a training by `workers` equal workers costs that the `rates` were measured for.

    `bandwidth`: bytes per second between two workers, for the sum of gradients, which is
    taken to wait for the whole backward pass (DDP hides a part of it). Stage 1 is counted
    with all its epochs; its patience may end it earlier.
    """
    flow, first = config.flow, config.autoencoder
    reduce = {stage: _all_reduce(n, workers, bandwidth) for stage, n in rates.parameters.items()}
    n_meta = round(first.metacells * first.batch)
    per_epoch = math.ceil(screen.n_train_cells / (first.batch - n_meta))
    n_first = first.epochs * per_epoch if rates.parameters["autoencoder"] else 0
    n_micro = math.ceil(flow.accumulate / workers)
    n_second = flow.steps // flow.accumulate
    align_share = 1 / config.align.every if rates.alignment else 0.0

    # A thread reads ahead: what counts is by how much reading is slower than computing.
    read = {
        "autoencoder": rates.read_cell * (first.batch - n_meta) / workers,
        "flow": rates.read_cell * 2 * flow.batch * n_micro * flow.train_autoencoder,
    }
    plain = n_micro * rates.micro_batch + rates.optimizer
    aligned = n_micro * align_share * rates.alignment
    compute = {"autoencoder": rates.update, "flow": plain + aligned}
    wait = {stage: max(read[stage] - compute[stage], 0.0) for stage in compute}
    n_checks = math.ceil(first.epochs / first.check_every) * bool(screen.n_val and n_first)
    n_validations = math.ceil(n_second / max(flow.validate_every // flow.accumulate, 1)) * bool(screen.n_val)
    seconds = {
        "stage 1: updates": n_first * rates.update,
        "stage 1: checks": n_checks * min(screen.n_val_cells, HELD_OUT_CELLS) * rates.check_cell,
        "latents": 0.0 if flow.train_autoencoder else screen.n_train_cells * (rates.encode_cell + rates.read_cell),
        "the flow's coordinates": _every(screen.n_train_cells, MAX_CELLS) * rates.space_cell,
        "stage 2: updates": n_second * plain,
        "stage 2: alignment": n_second * aligned,
        "stage 2: validation": n_validations * screen.n_val * rates.condition,
        "reading": n_first * wait["autoencoder"] + n_second * wait["flow"],
        "sum of gradients": n_first * reduce["autoencoder"] + n_second * reduce["flow"],
        "stage 1: checkpoints": math.ceil(n_first / config.train.checkpoint_every) * rates.checkpoints["autoencoder"],
        "stage 2: checkpoints": math.ceil(n_second / config.train.checkpoint_every) * rates.checkpoints["flow"],
        "components and modules": rates.components
        + rates.modules
        + min(screen.n_train_cells, PCA_CELLS) * rates.component_cell,
    }
    stages = [
        _stage("autoencoder", compute, wait, reduce, n_first, first.batch, seconds, "stage 1"),
        _stage("flow", compute, wait, reduce, n_second, flow.batch * flow.accumulate, seconds, "stage 2"),
    ]
    latents = 0.0 if flow.train_autoencoder else screen.n_cells * config.gcae.latent_dim * 4
    n_metacells = min(METACELLS, screen.n_train_cells // first.metacell_size) if n_meta else 0
    on_gpu = config.train.gpus > 0
    host = screen.n_train_cells * POSITION_BYTES + n_metacells * screen.n_genes * 4 + (0 if on_gpu else latents)
    hours = sum(seconds.values()) / 3600
    return Forecast(
        screen=screen,
        workers=workers,
        stages=stages,
        parts={part: value / 3600 for part, value in seconds.items()},
        host_gb=rates.host_gb + host / 1e9,
        device_gb=rates.device_gb + latents / 1e9 if on_gpu else 0.0,
        latents_gb=latents / 1e9,
        cpu_hours=hours * workers * config.train.threads,
        gpu_hours=hours * workers * config.train.gpus,
    )


def _every(n: int, most: int) -> int:
    """Members of every so-manieth of n, as `fit_latent_space` takes them."""
    return -(-n // max(n // most, 1))


def _all_reduce(n_parameters: int, workers: int, bandwidth: float) -> float:
    """Seconds for float32 gradients around a ring: every worker sends and receives 2 (W−1)/W of them."""
    return 2 * (workers - 1) / workers * n_parameters * 4 / bandwidth


def _stage(
    name: str,
    compute: dict[str, float],
    wait: dict[str, float],
    reduce: dict[str, float],
    n_updates: int,
    n_cells: int,
    seconds: dict[str, float],
    prefix: str,
) -> Stage:
    update = compute[name] + wait[name] + reduce[name]
    checks = sum(
        value
        for part, value in seconds.items()
        if part.startswith(prefix) and not part.endswith(("updates", "alignment"))
    )
    return Stage(
        name=name,
        update_ms=1e3 * update,
        n_updates=n_updates,
        cells_per_s=n_cells / update if update else 0.0,
        hours=(n_updates * update + checks) / 3600,
    )
