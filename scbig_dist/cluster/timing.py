"""A trial's step times with nothing beside it: a few updates of its model on random cells, as `scbig scale` times them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ray

from scbig_dist.artifacts import write_text
from scbig_dist.cluster.resources import needs_of
from scbig_dist.config import Config
from scbig_dist.settings import dump_config
from scbig_dist.train.context import pick_device
from scbig_dist.train.experiment import data_label, open_experiment
from scbig_dist.train.forecast import screen_of_store
from scbig_dist.train.machine import hardware, versions
from scbig_dist.train.measure import Rates, measure
from scbig_dist.train.threads import use_threads

TIMING_FILE = "timing.json"  # in RUN: what was timed, and on what


def time_steps(config: Config, run: Path) -> dict[str, float]:
    """Time the steps of a trial in this process; RUN gets a record, the caller the columns of the trial's row.

    `stage1_ms`: an update of the autoencoder; `stage2_ms`: a micro-batch of the flow with its share of
    alignment and optimiser. `stage1_gb`, `stage2_gb`: the most memory meanwhile, of tensors on a GPU or
    of the process. Of one worker, where the trial has several: what it sends is not in it.
    """
    screen = screen_of_store(config, None)
    rates = measure(config, screen.n_genes, screen.entries_per_cell, config.train.most_workers, updates_alone=True)
    found = columns(config, rates)
    experiment = open_experiment(config)
    facts: dict[str, Any] = {
        "hardware": hardware(pick_device(config.train.gpus), config.train.threads, 1),
        "versions": versions(),
        "n_genes": screen.n_genes,
        "n_train_cells": screen.n_train_cells,
        "data_label": data_label(experiment),
    }
    run.mkdir(parents=True, exist_ok=True)
    if not (run / "config.yaml").exists():  # nothing was trained
        write_text(run / "config.yaml", dump_config(experiment.config))
    write_text(run / TIMING_FILE, json.dumps(facts | found, indent=1))
    return found


def columns(config: Config, rates: Rates) -> dict[str, float]:
    share = rates.alignment / config.align.every + rates.optimizer / config.flow.accumulate
    return {
        "stage1_ms": 1e3 * rates.update,
        "stage2_ms": 1e3 * (rates.micro_batch + share),
        "stage1_gb": rates.stage_gb["autoencoder"],
        "stage2_gb": rates.stage_gb["flow"],
    }


def timing_task(config: Config) -> Any:
    """`time_steps` as a Ray task in a process of its own, with the resources of one worker: (config, run) -> columns."""
    bundle = needs_of(config).bundle()
    return ray.remote(
        num_cpus=bundle["CPU"],
        num_gpus=bundle.get("GPU", 0),
        memory=bundle.get("memory", 0),
        max_calls=1,  # memory that an earlier trial has left would count for this one
        max_retries=0,
    )(_time_steps)


def _time_steps(config: str, run: str) -> dict[str, float]:
    settled = Config.model_validate_json(config)
    use_threads(settled.train.threads)
    return time_steps(settled, Path(run))
