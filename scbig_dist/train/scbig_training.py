"""How scBIG is trained: gene modules, the autoencoder (an artefact that runs share), the mean head where there is one, the flow."""

from __future__ import annotations

import json
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from scbig_dist import artifacts
from scbig_dist.artifacts import save_tensors, write_text
from scbig_dist.config import Config
from scbig_dist.models.scbig import ScBIG
from scbig_dist.train.audit import audit_modules
from scbig_dist.train.autoencoder_stage import AutoencoderStage
from scbig_dist.train.checkpoint import tensors_of
from scbig_dist.train.context import WorkerContext
from scbig_dist.train.experiment import Experiment
from scbig_dist.train.flow_stage import FlowStage
from scbig_dist.train.inputs import Prepared, data_key, prepare
from scbig_dist.train.latent_space import fit_latent_space
from scbig_dist.train.log import RunLog
from scbig_dist.train.loop import run_stage
from scbig_dist.train.shift_stage import ShiftStage


class ScBIGTraining:
    """What `train_run` walks through for `model.name=scbig`."""

    def __init__(self, experiment: Experiment, root: Path, context: WorkerContext) -> None:
        self._experiment, self._root, self._context = experiment, root, context
        self._prepared = _prepare(experiment, root, context)
        self.inputs, self.notes = self._prepared.inputs, self._prepared.notes

    def build(self) -> ScBIG:
        return ScBIG(self._prepared.inputs, self._experiment.config)

    def audit(self, run: Path) -> None:
        """Files in the run that say what the modules hold."""
        self.notes.extend(audit_modules(self._prepared, self._experiment, run))

    def train(self, model: ScBIG, run: Path, log: RunLog) -> dict[str, Any]:
        """Every stage; what they cost."""
        experiment, context = self._experiment, self._context
        first = _train_autoencoder(model, experiment, self._prepared, self._root, context, log)
        shift: dict[str, Any] = {}
        if "shift" in model.stages:
            shift = run_stage(
                model,
                ShiftStage(experiment, model, context),
                experiment.config,
                context,
                run / "checkpoints" / "shift",
                log,
            )
        flow = FlowStage(experiment, model, context)
        for note in flow.notes:
            log.say(f"note: {note}")
        second = run_stage(model, flow, experiment.config, context, run / "checkpoints" / "flow", log)
        return {
            "seconds_autoencoder": first["seconds"],
            "seconds_flow": second["seconds"],
            **({"seconds_shift": shift["seconds"]} if shift else {}),
            "seconds_stages": second["seconds"] + first["seconds"] * (not first["reused"]) + shift.get("seconds", 0.0),
            "step_ms": second["step_ms"],
            "cells_per_s": second["cells_per_s"],
            "data_wait": second["data_wait"],
            "autoencoder_step_ms": first["step_ms"],
            "autoencoder_cells_per_s": first["cells_per_s"],
            "autoencoder_data_wait": first["data_wait"],
            "autoencoder_reused": first["reused"],
        }


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
        "train": {"seed": config.train.seed, "precision": config.train.precision},
    }
    key = artifacts.content_key("autoencoder", inputs)
    unfinished = root / "unfinished" / f"autoencoder-{key}"
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
                # Beside the artefact, not in the run: whoever takes over from an owner that died goes on from there.
                cost = run_stage(model, stage, config, context, unfinished, log)
            if context.rank == 0:

                def write(beside: Path) -> None:
                    save_tensors(tensors_of(model.autoencoder), beside / "autoencoder.safetensors")
                    write_text(beside / "cost.json", json.dumps(cost))

                artifacts.make(root, "autoencoder", key, inputs, write)
                shutil.rmtree(unfinished, ignore_errors=True)
            context.barrier()
            path = artifacts.find(root, "autoencoder", key)
            assert path is not None
    model.autoencoder.load_state_dict(load_file(path / "autoencoder.safetensors"))
    fit_latent_space(model, experiment, context)
    return {**json.loads((path / "cost.json").read_text()), "reused": reused}


def _shuffle(config: Config) -> dict[str, Any]:
    """What of `data.*` changes the order of cells."""
    data = config.data
    pools = {"block_cells": data.block_cells, "pool_cells": data.pool_cells}
    return {"shuffle": data.shuffle} | (pools if data.shuffle == "pools" else {})
