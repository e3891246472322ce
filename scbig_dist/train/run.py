"""A training run: from a config to a directory with a trained model in it."""

from __future__ import annotations

import json
import shutil
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from scbig_dist import artifacts
from scbig_dist.artifacts import save_tensors, write_text
from scbig_dist.config import Config
from scbig_dist.errors import UserError
from scbig_dist.models.scbig import ModelInputs, ScBIG
from scbig_dist.screen.splits import read_split, write_split
from scbig_dist.settings import dump_config
from scbig_dist.train.audit import audit_modules
from scbig_dist.train.autoencoder_stage import AutoencoderStage
from scbig_dist.train.checkpoint import tensors_of
from scbig_dist.train.context import WorkerContext
from scbig_dist.train.experiment import Experiment, data_label, open_experiment
from scbig_dist.train.flow_stage import FlowStage
from scbig_dist.train.inputs import Prepared, data_key, prepare
from scbig_dist.train.log import RunLog, peak_memory_gb, reset_peak_memory
from scbig_dist.train.loop import run_stage
from scbig_dist.train.machine import hardware, versions
from scbig_dist.train.random import torch_seeded


def train_run(
    config: Config,
    run: Path,
    context: WorkerContext,
    *,
    resume: bool = False,
    artifact_root: Path | None = None,
    progress: bool = True,
) -> None:
    """Train both stages into `run`; every rank calls this with the same arguments.

    `artifact_root` is where finished stages are looked for and left (`RUN/artifacts` by
    default); runs that share it share their common beginnings. A run that is resumed ends
    with the same bits as one that was never stopped (CPU, same number of threads).
    """
    began = time.time()
    torch.set_num_threads(config.train.threads)
    experiment = open_experiment(config)
    config = experiment.config
    root = artifact_root or run / "artifacts"
    reset_peak_memory()
    stood, is_new = run.exists(), not (run / "config.yaml").exists()
    try:
        if context.rank == 0:
            _claim(run, config, experiment, resume)
        context.barrier()
        if (run / "run.json").is_file():
            return  # resumed after its end: nothing is left to do
        prepared = _prepare(experiment, root, context)
    except UserError:
        if is_new and context.rank == 0:  # a mistake found before the first step leaves no run behind
            shutil.rmtree(run, ignore_errors=True)
            if stood:
                run.mkdir(exist_ok=True)
        raise
    with torch_seeded(config.train.seed, "weights", 0, context.device):
        model = ScBIG(prepared.inputs, config).to(context.device)
    if context.rank == 0:
        prepared.notes.extend(audit_modules(prepared, experiment, run))
    facts = _facts(model, experiment, prepared, context)
    log = RunLog(run if context.rank == 0 else None, progress)
    if context.rank == 0:
        write_text(run / "setup.json", json.dumps(facts, indent=1))
    for note in prepared.notes:
        log.say(f"note: {note}")
    try:
        first = _train_autoencoder(model, experiment, prepared, root, run, context, log)
        flow = FlowStage(experiment, model, context)
        for note in flow.notes:
            log.say(f"note: {note}")
        second = run_stage(model, flow, config, context, run / "checkpoints" / "flow", log)
    finally:
        log.close()
    if context.rank == 0:
        _save_model(model, prepared.inputs, experiment, run / "model")
        summary: dict[str, Any] = facts | {
            "seconds_autoencoder": first["seconds"],
            "seconds_flow": second["seconds"],
            "seconds_to_first_step": None if log.first is None else log.first - began,
            "seconds_total": max(time.time() - began, second["seconds"] + first["seconds"] * (not first["reused"])),
            "step_ms": second["step_ms"],
            "cells_per_s": second["cells_per_s"],
            "data_wait": second["data_wait"],
            "autoencoder_step_ms": first["step_ms"],
            "autoencoder_cells_per_s": first["cells_per_s"],
            "autoencoder_data_wait": first["data_wait"],
            "autoencoder_reused": first["reused"],
            "peak_mem_gb": peak_memory_gb(),
        }
        if context.device.type == "cuda":
            summary["peak_gpu_gb"] = torch.cuda.max_memory_allocated(context.device) / 1e9
        write_text(run / "run.json", json.dumps(summary, indent=1, allow_nan=False))
    context.barrier()


def _facts(model: ScBIG, experiment: Experiment, prepared: Prepared, context: WorkerContext) -> dict[str, Any]:
    """What is known of a run before its first step."""
    return {
        "n_parameters": sum(parameter.numel() for parameter in model.parameters()),
        "hardware": hardware(context.device, experiment.config.train.threads, context.world_size),
        "versions": versions(),
        "n_genes": experiment.n_genes,
        "n_train_cells": len(experiment.train_cells()),
        "notes": prepared.notes,
        "data_label": data_label(experiment),
    }


def _claim(run: Path, config: Config, experiment: Experiment, resume: bool) -> None:
    """Make the run's directory, or find it as it was left."""
    kept = run / "config.yaml"
    text = dump_config(config)
    if kept.is_file():
        if not resume:
            raise UserError(
                f"{run}: already holds a run; add --resume to go on with it, or name another directory with -o"
            )
        if kept.read_text() != text:
            changed = _difference(kept.read_text(), text)
            raise UserError(f"{run}: the config has changed since the run began ({changed}); start a new run with -o")
        if read_split(run / "split.json", experiment.store.conditions) != experiment.split:
            raise UserError(f"{run}: split.json is not the split of this config any more; start a new run with -o")
        if json.loads((run / "store.json").read_text())["key"] != experiment.store.key:
            raise UserError(
                f"{run}: the store {config.store} has been rebuilt since the run began; start a new run with -o"
            )
        return
    if run.exists() and (not run.is_dir() or any(run.iterdir())) and not resume:
        raise UserError(f"{run}: exists and is not a run; name another directory with -o")
    run.mkdir(parents=True, exist_ok=True)
    write_split(experiment.split, run / "split.json")
    write_text(run / "store.json", json.dumps({"key": experiment.store.key}))
    write_text(kept, text)


def _difference(old: str, new: str) -> str:
    before, after = old.splitlines(), new.splitlines()
    for one, other in zip(before, after, strict=False):
        if one != other:
            return f"'{one.strip()}' is now '{other.strip()}'"
    return "its length differs"


def _prepare(experiment: Experiment, root: Path, context: WorkerContext) -> Prepared:
    """Rank 0 makes what is missing, the others then find it."""
    if context.rank == 0:
        root.mkdir(parents=True, exist_ok=True)
        prepared = prepare(experiment, root)
        context.barrier()
        return prepared
    context.barrier()
    return prepare(experiment, root)


def _train_autoencoder(
    model: ScBIG,
    experiment: Experiment,
    prepared: Prepared,
    root: Path,
    run: Path,
    context: WorkerContext,
    log: RunLog,
) -> dict[str, Any]:
    """Stage 1, or the artefact of a run with the same beginning. What it cost, when it was made."""
    config = experiment.config
    inputs = {
        **data_key(experiment),
        "val": sorted(condition.name for condition in experiment.split.val),
        "modules": prepared.key,
        "gene_embedding": prepared.embedding_key,
        "gcae": config.gcae.model_dump(),
        "autoencoder": config.autoencoder.model_dump(),
        "shuffle": _shuffle(config),
        "latent_scale": config.flow.latent_scale,
        "train": {"seed": config.train.seed, "precision": config.train.precision},
    }
    key = artifacts.content_key("autoencoder", inputs)
    with artifacts.claim(root, "autoencoder", key) if context.rank == 0 else nullcontext():
        context.barrier()  # the ranks wait for the first to hold the claim
        path = artifacts.find(root, "autoencoder", key)
        reused = path is not None
        context.barrier()  # every rank has looked before one of them writes
        if path is None:
            cost: dict[str, float | None] = {"seconds": 0.0, "step_ms": 0.0, "cells_per_s": 0.0, "data_wait": 0.0}
            stage = AutoencoderStage(experiment, context)
            for note in stage.notes:
                log.say(f"note: {note}")
            if list(model.autoencoder.parameters()):
                cost = run_stage(model, stage, config, context, run / "checkpoints" / "autoencoder", log)
            if context.rank == 0:
                if config.flow.latent_scale == "unit":
                    model.latent_scale.fill_(_latent_sd(model, experiment, context))

                def write(beside: Path) -> None:
                    tensors = tensors_of(model.autoencoder) | {"latent_scale": model.latent_scale.cpu()}
                    save_tensors(tensors, beside / "autoencoder.safetensors")
                    write_text(beside / "cost.json", json.dumps(cost))

                artifacts.make(root, "autoencoder", key, inputs, write)
            context.barrier()
            path = artifacts.find(root, "autoencoder", key)
            assert path is not None
    tensors = load_file(path / "autoencoder.safetensors")
    model.latent_scale.copy_(tensors.pop("latent_scale"))
    model.autoencoder.load_state_dict(tensors)
    return {**json.loads((path / "cost.json").read_text()), "reused": reused}


def _shuffle(config: Config) -> dict[str, Any]:
    """What of `data.*` changes the order of cells."""
    data = config.data
    pools = {"block_cells": data.block_cells, "pool_cells": data.pool_cells}
    return {"shuffle": data.shuffle} | (pools if data.shuffle == "pools" else {})


@torch.no_grad()
def _latent_sd(model: ScBIG, experiment: Experiment, context: WorkerContext) -> float:
    """Standard deviation of training latents, over cells, averaged over dimensions (root mean square)."""
    cells = experiment.train_cells()
    cells = cells[:: max(len(cells) // 8192, 1)]
    z = [model.autoencoder.encode(torch.from_numpy(x).to(context.device)) for x in experiment.blocks(cells)()]
    return float(torch.cat(z).var(dim=0).mean().sqrt())


def _save_model(model: ScBIG, inputs: ModelInputs, experiment: Experiment, path: Path) -> None:
    """Weights, what they were built on, and the names behind their rows."""
    path.mkdir(exist_ok=True)
    fixed = {
        name: value for name, value in vars(inputs).items() if isinstance(value, torch.Tensor) and name != "pathways"
    }
    save_tensors({name: value.contiguous() for name, value in fixed.items()}, path / "inputs.safetensors")
    save_tensors(tensors_of(model), path / "weights.safetensors")
    names = {
        "targets": experiment.targets,
        "contexts": experiment.contexts,
        "genes": experiment.genes,
        "with_dose": inputs.with_dose,
    }
    write_text(path / "names.json", json.dumps(names))
