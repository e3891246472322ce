"""What the parts of a training cost on this machine: a few steps of each on random cells, without a store.

The arithmetic of a step does not depend on the values of its cells, only on their number: the model has the
config's sizes, the cells the panel's width.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from scbig_dist.config import Config
from scbig_dist.models.protocol import AlignBatch, CellBatch, ConditionInput, FlowBatch
from scbig_dist.models.scbig import ModelInputs, ScBIG
from scbig_dist.nn.pca import fit_pca
from scbig_dist.store.kernel import scatter
from scbig_dist.train.autoencoder_stage import n_parts
from scbig_dist.train.checkpoint import save_checkpoint
from scbig_dist.train.context import pick_device
from scbig_dist.train.experiment import BLOCK
from scbig_dist.train.inputs import with_components
from scbig_dist.train.log import reset_peak_memory
from scbig_dist.train.loop import _StageLoss
from scbig_dist.train.memory import AnonymousPeak, StagePeak, stage_peak
from scbig_dist.train.random import generator, torch_seeded

N_TARGETS, N_PATHWAYS = 200, 1000  # rows of what a model is built on; they hardly cost
READ_BYTES = 64_000_000  # more than a processor's cache holds
LEAST, MOST, SECONDS, LONGEST = (
    5,
    60,
    2.0,
    6.0,
)  # calls that are timed: at least and at most; fewer where they take longest


@dataclass(frozen=True)
class Rates:
    """Seconds of one worker for one of each (medians), and its memory in GB."""

    update: float
    """Stage 1: an update of `autoencoder.batch` ÷ workers cells."""
    check_cell: float
    """Stage 1: a held-out cell of a check."""
    encode_cell: float
    """A cell's latent, for a frozen encoder."""
    micro_batch: float
    """Stage 2: a micro-batch without alignment."""
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
    """A cell of them, all passes together."""
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
    device = pick_device(config.train.gpus)
    torch.set_num_threads(config.train.threads)
    rng, timer = generator(config.train.seed, "measure"), _Timer(device)
    reset_peak_memory()
    with AnonymousPeak() as peak:
        components = component_cell = modules = read_cell = check = encode = condition = 0.0
        if not updates_alone:
            components, component_cell = _time_components(config, n_genes, rng)
            modules = _time_modules(config, n_genes, rng)
            read_cell = _time_reading(n_genes, entries_per_cell, rng)
        with torch_seeded(config.train.seed, "measure", 0, device):
            model = ScBIG(_inputs(config, n_genes, rng), config).to(device)
            update, first = 0.0, StagePeak()
            parameters, checkpoints = {"autoencoder": 0}, {"autoencoder": 0.0}
            cells = -(-config.autoencoder.batch // workers)
            if list(model.autoencoder.parameters()):
                stage = _Stage(model, "autoencoder", config, device)
                parts = [
                    CellBatch(_cells(len(part), n_genes, rng, device), float(len(part)))
                    for part in np.array_split(np.arange(cells), n_parts(config, workers, device))
                ]
                with stage_peak(device) as first:
                    update = timer(lambda: stage.update(parts))
                parameters["autoencoder"], checkpoints["autoencoder"] = stage.n_parameters, stage.time_checkpoint()
                del stage, parts
            model.eval()
            if not updates_alone:
                check, encode, condition = _time_passes(model, config, n_genes, rng, timer, device)
            stage = _Stage(model, "flow", config, device)
            width = n_genes if config.flow.train_autoencoder else config.gcae.latent_dim
            plain = _flow_batch(config, width, rng, device, None)
            aligned = _flow_batch(config, width, rng, device, _align_batch(config, width, rng, device))
            with stage_peak(device) as second:
                stage.update([aligned])
                micro = timer(lambda: stage.gradients([plain]))
                alignment = 0.0 if aligned.align is None else timer(lambda: stage.gradients([aligned])) - micro
                optimizer = timer(stage.descend)
            parameters["flow"], checkpoints["flow"] = stage.n_parameters, stage.time_checkpoint()
    stage_gb = {"autoencoder": first.gb, "flow": second.gb}
    device_gb = max(torch.cuda.max_memory_allocated(device) / 1e9, *stage_gb.values()) if device.type == "cuda" else 0.0
    return Rates(
        update=update,
        check_cell=check,
        encode_cell=encode,
        micro_batch=micro,
        alignment=max(alignment, 0.0),
        optimizer=optimizer,
        condition=condition,
        read_cell=read_cell,
        components=components,
        component_cell=component_cell,
        modules=modules,
        checkpoints=checkpoints,
        parameters=parameters,
        host_gb=peak.gb,
        device_gb=device_gb,
        stage_gb=stage_gb,
    )


@torch.no_grad()
def _time_passes(
    model: ScBIG, config: Config, n_genes: int, rng: np.random.Generator, timer: _Timer, device: torch.device
) -> tuple[float, float, float]:
    """Seconds of a held-out cell of a check, of a cell's latent (0 where none is kept), of a condition of a validation."""
    x = _cells(config.autoencoder.batch, n_genes, rng, device)
    check, encode = timer(lambda: model.autoencoder(x)) / len(x), 0.0
    if not config.flow.train_autoencoder:
        block = _cells(BLOCK, n_genes, rng, device)
        encode = timer(lambda: model.encode(block)) / len(block)
    controls = _cells(config.evaluate.n_val_cells, n_genes, rng, device)
    return check, encode, timer(lambda: model.predict(controls, _condition(1, device), fast=True).double().mean(0))


class _Timer:
    """Median seconds of a call, the GPU's queue emptied around it."""

    def __init__(self, device: torch.device) -> None:
        self._wait: Callable[[], object] = torch.cuda.synchronize if device.type == "cuda" else lambda: None

    def __call__(self, call: Callable[[], object]) -> float:
        seconds: list[float] = []
        began = time.perf_counter()
        for repetition in range(1 + MOST):
            self._wait()
            tick = time.perf_counter()
            call()
            self._wait()
            if repetition:  # the first touches fresh memory
                seconds.append(time.perf_counter() - tick)
            passed = time.perf_counter() - began
            if (len(seconds) >= LEAST and passed > SECONDS) or (seconds and passed > LONGEST):
                break
        return float(np.median(seconds))


class _Stage:
    """The update of `run_stage`, without its feed, log and checks."""

    def __init__(self, model: ScBIG, stage: str, config: Config, device: torch.device) -> None:
        self._model, self._stage, self._config, self._device = model.train(), stage, config, device
        model.requires_grad_(False)
        self._learning = [p for module in model.stage_modules(stage) for p in module.parameters()]
        for parameter in self._learning:
            parameter.requires_grad_(True)
        lr = config.autoencoder.lr if stage == "autoencoder" else config.flow.lr
        self._optimizer = torch.optim.Adam(self._learning, lr=lr, fused=True)
        loss: Any = _StageLoss(model, stage)
        self._loss = torch.compile(loss) if config.train.compile else loss

    @property
    def n_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self._learning)

    def gradients(self, batches: list[Any]) -> None:
        reduced = self._config.train.precision == "bfloat16"
        for index, batch in enumerate(batches):
            with (
                torch_seeded(self._config.train.seed, self._stage, index, self._device),
                torch.autocast(self._device.type, torch.bfloat16) if reduced else nullcontext(),
            ):
                loss, _ = self._loss(batch)
                (loss / len(batches)).backward()

    def descend(self) -> None:
        if self._stage == "flow":
            nn.utils.clip_grad_norm_(self._learning, self._config.flow.clip)
        self._optimizer.step()

    def update(self, batches: list[Any]) -> None:
        self.gradients(batches)
        self.descend()
        self._optimizer.zero_grad(set_to_none=True)

    def time_checkpoint(self) -> float:
        with tempfile.TemporaryDirectory(prefix="scbig-scale-") as folder:
            tick = time.perf_counter()
            save_checkpoint(Path(folder), 1, self._model, self._optimizer, {}, None)
            return time.perf_counter() - tick


def _inputs(config: Config, n_genes: int, rng: np.random.Generator) -> ModelInputs:
    e = config.priors.embedding_dim

    def normal(*shape: int) -> Tensor:
        return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))

    return ModelInputs(
        module_of_gene=torch.arange(n_genes) * config.grc.n_modules // n_genes,
        gene_mean=torch.rand(n_genes),
        gene_embedding=None if config.priors.gene_embedding is None else normal(n_genes, e),
        components=normal(config.gcae.latent_dim, n_genes) if with_components(config) else None,
        target_vectors=None if config.flow.target_embedding == "learned" else normal(N_TARGETS, e),
        target_known=torch.ones(N_TARGETS, dtype=torch.bool),
        pathways=(torch.rand(N_PATHWAYS, n_genes) < 0.02).float() / n_genes if _with_pathways(config) else None,
        n_contexts=1,
        with_dose=False,
    )


def _cells(n_cells: int, n_genes: int, rng: np.random.Generator, device: torch.device) -> Tensor:
    return torch.from_numpy(rng.random((n_cells, n_genes), dtype=np.float32)).to(device)


def _condition(n: int, device: torch.device) -> ConditionInput:
    return ConditionInput(torch.tensor([[3, 7]] * n), torch.zeros(n, dtype=torch.long), torch.zeros(n)).to(device)


def _flow_batch(
    config: Config, width: int, rng: np.random.Generator, device: torch.device, align: AlignBatch | None
) -> FlowBatch:
    flow = config.flow
    n = flow.batch
    return FlowBatch(
        x0=_cells(n, width, rng, device),
        x1=_cells(n, width, rng, device),
        conditions=_condition(flow.conditions_per_step, device),
        t=_cells(n, 1, rng, device)[:, 0],
        noise=_cells(n, config.gcae.latent_dim, rng, device),
        uniforms=_cells(n, 1, rng, device)[:, 0],
        keep=torch.ones(flow.conditions_per_step, device=device),
        align=align,
    )


def _align_batch(config: Config, width: int, rng: np.random.Generator, device: torch.device) -> AlignBatch | None:
    align = config.align
    corr = torch.eye(config.grc.n_modules, device=device) if align.lambda_corr > 0 else None
    path = _cells(align.n_cells, N_PATHWAYS, rng, device) if _with_pathways(config) else None
    if corr is None and path is None:
        return None
    return AlignBatch(_cells(align.n_cells, width, rng, device), 0, corr, path)


def _with_pathways(config: Config) -> bool:
    return config.priors.pathways is not None and config.align.lambda_path > 0


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

    return _Timer(torch.device("cpu"))(read) / len(out)


def _time_components(config: Config, n_genes: int, rng: np.random.Generator) -> tuple[float, float]:
    """Seconds whatever the number of cells, and per cell."""
    n = max(
        config.gcae.latent_dim if with_components(config) else 1,
        config.priors.embedding_dim if config.priors.gene_embedding == "pca" else 1,
    )
    # Behind their first few directions cells are noise, and with tens of components asked for all passes are taken.
    block = rng.random((BLOCK, n_genes), dtype=np.float32)
    seconds = []
    for n_blocks in (1, 3):
        tick = time.perf_counter()
        fit_pca(lambda n_blocks=n_blocks: iter([block] * n_blocks), n_genes, min(n, n_genes), rng)  # type: ignore[misc]
        seconds.append(time.perf_counter() - tick)
    per_cell = max((seconds[1] - seconds[0]) / (2 * BLOCK), 0.0)
    return max(seconds[0] - BLOCK * per_cell, 0.0), per_cell


def _time_modules(config: Config, n_genes: int, rng: np.random.Generator) -> float:
    from scbig_dist.grc import cluster_genes  # POT and scikit-learn, as a run that clusters imports them

    vectors = rng.standard_normal((n_genes, config.priors.embedding_dim), dtype=np.float32)
    tick = time.perf_counter()
    cluster_genes(n_genes, vectors, np.ones(n_genes, dtype=bool), None, config.grc, rng)
    return time.perf_counter() - tick
