"""A training run: from a config to a directory with a trained model in it."""

from __future__ import annotations

import json
import shutil
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import nn

from scbig_dist.artifacts import Shelf, write_text
from scbig_dist.config import Config
from scbig_dist.errors import UserError
from scbig_dist.screen.splits import read_split, write_split
from scbig_dist.settings import dump_config
from scbig_dist.train.baseline_inputs import names_of
from scbig_dist.train.baseline_training import BaselineTraining
from scbig_dist.train.context import WorkerContext
from scbig_dist.train.experiment import Experiment, data_label, open_experiment
from scbig_dist.train.log import RunLog, peak_memory_gb, reset_peak_memory
from scbig_dist.train.machine import hardware, versions
from scbig_dist.train.model_files import save_model
from scbig_dist.train.random import torch_seeded
from scbig_dist.train.scbig_training import ScBIGTraining
from scbig_dist.train.threads import use_threads
from scbig_dist.train.writer import sole_writer

STORE = "store.json"  # in RUN: the store's key, and where artefacts lie


def train_run(
    config: Config,
    run: Path,
    context: WorkerContext,
    *,
    resume: bool = False,
    artifact_root: Path | str | None = None,
    progress: bool = True,
) -> None:
    """Train every stage of the model into `run`; every rank calls this with the same arguments.

    `artifact_root`, a path or a URI, is where finished stages are looked for and left (`RUN/artifacts` by
    default); runs that share it share their common beginnings. A run that is resumed ends
    with the same bits as one that was never stopped (CPU, same number of threads).
    """
    began = time.time()
    use_threads(config.train.threads)
    experiment = open_experiment(config)
    reset_peak_memory()
    is_new, stood = not (run / "config.yaml").exists(), {*run.iterdir()} if run.is_dir() else None
    with ExitStack() as held:
        if context.rank == 0:
            _claim(run, experiment.config, experiment, resume, artifact_root)
            held.enter_context(sole_writer(run))
        context.barrier()
        context.begin()
        if (run / "run.json").is_file():
            return  # resumed after its end: nothing is left to do
        try:
            root = artifact_root or json.loads((run / STORE).read_text()).get("artifacts")
            shelf = held.enter_context(_open_shelf(experiment.config, run, root, context))
            training = _training(experiment, shelf, root is not None, context)
        except UserError:
            if is_new and context.rank == 0:  # a mistake found before the first step leaves no run behind
                _undo(run, stood)
            raise
        _train(training, experiment, shelf, run, context, progress, began)


def _train(
    training: ScBIGTraining | BaselineTraining,
    experiment: Experiment,
    shelf: Shelf,
    run: Path,
    context: WorkerContext,
    progress: bool,
    began: float,
) -> None:
    """From first weights to `run.json`."""
    config = experiment.config
    with torch_seeded(config.train.seed, "weights", 0, context.device):
        model = training.build().to(context.device)
    if context.rank == 0:
        training.audit(run)
    facts = _facts(model, experiment, training.notes, context)
    log = RunLog(run if context.rank == 0 else None, progress)
    log.say(f"run: {run}")  # not before: a mistake found until here is the one line said
    if context.rank == 0:
        write_text(run / "setup.json", json.dumps(facts, indent=1))
    for note in training.notes:
        log.say(f"note: {note}")
    try:
        costs = training.train(model, run, log)
    finally:
        for note in shelf.notes:
            log.warn(note)
        log.close()
    if context.rank == 0:
        save_model(model, training.inputs, names_of(experiment), run / "model")
        seconds = costs.pop("seconds_stages")  # a stage counts its time over interruptions, this process does not
        summary: dict[str, Any] = facts | {
            **costs,
            "seconds_to_first_step": None if log.first is None else log.first - began,
            "seconds_total": max(time.time() - began, seconds),
            "peak_mem_gb": peak_memory_gb(),
            "artifacts": [each.record() for each in shelf.used],
        }
        if context.device.type == "cuda":
            summary["peak_gpu_gb"] = torch.cuda.max_memory_allocated(context.device) / 1e9
        write_text(run / "run.json", json.dumps(summary, indent=1, allow_nan=False))
    context.barrier()


def _open_shelf(config: Config, run: Path, root: Path | str | None, context: WorkerContext) -> Shelf:
    """Where artefacts lie; rank 0 says there that this run uses them."""
    name = str(run.resolve()) if context.rank == 0 else ""
    return Shelf(run / "artifacts" if root is None else root, config.data.cache, name)


def _training(
    experiment: Experiment, shelf: Shelf, shared: bool, context: WorkerContext
) -> ScBIGTraining | BaselineTraining:
    if experiment.config.model.name == "scbig":
        return ScBIGTraining(experiment, shelf, context, shared)
    return BaselineTraining(experiment, context)


def _facts(model: nn.Module, experiment: Experiment, notes: list[str], context: WorkerContext) -> dict[str, Any]:
    """What is known of a run before its first step."""
    return {
        "n_parameters": sum(parameter.numel() for parameter in model.parameters()),
        "hardware": hardware(context.device, experiment.config.train.threads, context.world_size),
        "n_nodes": int(context.sum(torch.tensor(float(context.local_rank == 0), device=context.device)).item()),
        "versions": versions(),
        "n_genes": experiment.n_genes,
        "n_train_cells": len(experiment.train_cells()),
        "notes": notes,
        "data_label": data_label(experiment),
    }


def _claim(run: Path, config: Config, experiment: Experiment, resume: bool, root: Path | str | None) -> None:
    """Make the run's directory, or find it as it was left."""
    kept = run / "config.yaml"
    text = dump_config(config)
    check_free(run, resume)
    if kept.is_file():
        if kept.read_text() != text:
            changed = _difference(kept.read_text(), text)
            raise UserError(f"{run}: the config has changed since the run began ({changed}); start a new run with -o")
        if read_split(run / "split.json", experiment.store.conditions) != experiment.split:
            raise UserError(f"{run}: split.json is not the split of this config any more; start a new run with -o")
        if json.loads((run / STORE).read_text())["key"] != experiment.store.key:
            raise UserError(
                f"{run}: the store {config.store} has been rebuilt since the run began; start a new run with -o"
            )
        return
    run.mkdir(parents=True, exist_ok=True)
    write_split(experiment.split, run / "split.json")
    kept_root = {} if root is None else {"artifacts": str(root)}  # for one who resumes it without naming them
    write_text(run / STORE, json.dumps({"key": experiment.store.key} | kept_root))
    write_text(kept, text)


def check_free(run: Path, resume: bool) -> None:
    """A UserError where a run may not be put, or may only be resumed."""
    if resume and (run.is_dir() or not run.exists()):
        return
    if (run / "config.yaml").is_file():
        raise UserError(f"{run}: already holds a run; add --resume to go on with it, or name another directory with -o")
    if run.exists() and (not run.is_dir() or any(run.iterdir())):
        raise UserError(f"{run}: exists and is not a run; name another directory with -o")


def _undo(run: Path, stood: set[Path] | None) -> None:
    """Remove what was put into a directory since it held `stood`, and a directory that was not there."""
    for path in [run] if stood is None else [each for each in run.iterdir() if each not in stood]:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _difference(old: str, new: str) -> str:
    before, after = old.splitlines(), new.splitlines()
    for one, other in zip(before, after, strict=False):
        if one != other:
            return f"'{one.strip()}' is now '{other.strip()}'"
    return "its length differs"
