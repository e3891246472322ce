"""How scBIG is trained: a walk along its arrows, each an artefact that runs share."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from scbig_dist.artifacts import Shelf, save_tensors, write_text
from scbig_dist.models.scbig import ScBIG
from scbig_dist.train.arrows import autoencoder_arrow, flow_arrow, shift_arrow
from scbig_dist.train.audit import audit_modules
from scbig_dist.train.autoencoder_stage import AutoencoderStage
from scbig_dist.train.checkpoint import tensors_of
from scbig_dist.train.context import WorkerContext
from scbig_dist.train.experiment import Experiment
from scbig_dist.train.flow_stage import FlowStage
from scbig_dist.train.inputs import Prepared, prepare
from scbig_dist.train.latent_space import fit_latent_space
from scbig_dist.train.latents import shared_latents
from scbig_dist.train.log import RunLog
from scbig_dist.train.loop import run_stage
from scbig_dist.train.sharing import Work, share
from scbig_dist.train.shift_stage import ShiftStage

Cost = dict[str, Any]
NOTHING: Cost = {"seconds": 0.0, "step_ms": 0.0, "cells_per_s": 0.0, "data_wait": 0.0}
WEIGHTS, COST, RECORDS = "weights.safetensors", "cost.json", "records.jsonl"


class ScBIGTraining:
    """What `train_run` walks through for `model.name=scbig`.

    `whole`: trained models too are looked for and left on the shelf, because other runs see it.
    """

    def __init__(self, experiment: Experiment, shelf: Shelf, context: WorkerContext, whole: bool) -> None:
        self._experiment, self._shelf, self._context, self._whole = experiment, shelf, context, whole
        self._prepared = _prepare(experiment, shelf, context)
        self.inputs, self.notes = self._prepared.inputs, self._prepared.notes

    def build(self) -> ScBIG:
        return ScBIG(self._prepared.inputs, self._experiment.config)

    def audit(self, run: Path) -> None:
        """Files in the run that say what the modules hold."""
        self.notes.extend(audit_modules(self._prepared, self._experiment, run))

    def train(self, model: ScBIG, run: Path, log: RunLog) -> Cost:
        """Every stage; what they cost."""
        first, autoencoder_key = self._train_autoencoder(model, run, log)
        second: Cost = {}
        if self._whole:
            arrow = flow_arrow(self._experiment, autoencoder_key)

            def make() -> Work:
                second.update(self._train_rest(model, autoencoder_key, run, log))

                def write(beside: Path) -> None:
                    save_tensors(tensors_of(model), beside / WEIGHTS)
                    write_text(beside / COST, json.dumps(second))
                    write_text(beside / RECORDS, log.records("flow"))

                return Work(write, second["seconds"])

            found = share(self._shelf, self._context, arrow, make)
            if not second:
                model.load_state_dict(load_file(found.path / WEIGHTS))
                log.replay("flow", (found.path / RECORDS).read_text())
                second = json.loads((found.path / COST).read_text()) | {"reused": True}
        else:
            second = self._train_rest(model, autoencoder_key, run, log)
        model.eval()
        flow_reused, shift = second.get("reused", False), second["seconds_shift"]
        spent = [
            0.0 if first["reused"] else first["seconds"],
            0.0 if flow_reused else second["seconds"] + (shift or 0.0),
        ]
        return {
            "seconds_autoencoder": first["seconds"],
            "seconds_flow": second["seconds"],
            **({} if shift is None else {"seconds_shift": shift}),
            "seconds_stages": sum(spent),
            "step_ms": second["step_ms"],
            "cells_per_s": second["cells_per_s"],
            "data_wait": second["data_wait"],
            "autoencoder_step_ms": first["step_ms"],
            "autoencoder_cells_per_s": first["cells_per_s"],
            "autoencoder_data_wait": first["data_wait"],
            "autoencoder_reused": first["reused"],
            "flow_reused": flow_reused,
        }

    def _train_autoencoder(self, model: ScBIG, run: Path, log: RunLog) -> tuple[Cost, str]:
        """Stage 1, or the artefact of a run with the same beginning. What it cost, when it was made; its key."""
        experiment, context = self._experiment, self._context
        arrow = autoencoder_arrow(experiment, self._prepared.key, self._prepared.embedding_key)
        # Beside the artefact, not in the run: whoever takes over from an owner that died goes on from there.
        unfinished = self._shelf.unfinished(arrow.kind, arrow.key) or run / "checkpoints" / "autoencoder"

        def make() -> Work:
            cost = NOTHING
            stage = AutoencoderStage(experiment, context)
            for note in stage.notes:
                log.say(f"note: {note}")
            if list(model.autoencoder.parameters()):
                cost = run_stage(model, stage, experiment.config, context, unfinished, log)

            def write(beside: Path) -> None:
                save_tensors(tensors_of(model.autoencoder), beside / "autoencoder.safetensors")
                write_text(beside / COST, json.dumps(cost))

            return Work(write, cost["seconds"])

        found = share(self._shelf, context, arrow, make)
        if context.rank == 0 and not found.reused:
            shutil.rmtree(unfinished, ignore_errors=True)
        model.autoencoder.load_state_dict(load_file(found.path / "autoencoder.safetensors"))
        return {**json.loads((found.path / COST).read_text()), "reused": found.reused}, arrow.key

    def _train_rest(self, model: ScBIG, autoencoder_key: str, run: Path, log: RunLog) -> Cost:
        """Latents, the mean head, the flow; what the flow cost, and the head beside it."""
        experiment, context, latents = self._experiment, self._context, None
        if experiment.config.flow.train_autoencoder:
            fit_latent_space(model, experiment, context)
        else:
            latents, _ = shared_latents(model, experiment, context, self._shelf, autoencoder_key)
        shift = self._train_shift(model, run, log) if "shift" in model.stages else None
        stage = FlowStage(experiment, model, context, latents)
        for note in stage.notes:
            log.say(f"note: {note}")
        cost = run_stage(model, stage, experiment.config, context, run / "checkpoints" / "flow", log)
        return {**cost, "seconds_shift": shift}

    def _train_shift(self, model: ScBIG, run: Path, log: RunLog) -> float:
        """The mean head's network, or the artefact of a run with the same; the seconds of this run."""
        assert model.shift is not None
        head, seconds = model.shift, 0.0

        def make() -> Work:
            nonlocal seconds
            stage = ShiftStage(self._experiment, model, self._context)
            folder = run / "checkpoints" / "shift"
            seconds = run_stage(model, stage, self._experiment.config, self._context, folder, log)["seconds"] or 0.0
            return Work(lambda beside: save_tensors(tensors_of(head), beside / WEIGHTS), seconds)

        arrow = shift_arrow(self._experiment, self._prepared.key)
        head.load_state_dict(load_file(share(self._shelf, self._context, arrow, make).path / WEIGHTS))
        return seconds


def _prepare(experiment: Experiment, shelf: Shelf, context: WorkerContext) -> Prepared:
    """Rank 0 makes what is missing, the others then find it."""
    if context.rank == 0:
        prepared = prepare(experiment, shelf)
        context.barrier()
        return prepared
    context.barrier()
    return prepare(experiment, shelf)
