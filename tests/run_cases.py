"""Runs that were really trained, a little, on the additive screen of evaluate_cases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scbig_dist.settings import load_config
from scbig_dist.train.context import LocalContext
from scbig_dist.train.experiment import settle
from scbig_dist.train.run import train_run

SETTINGS: dict[str, Any] = {
    "panel.n_hvg": None,
    "split.n_test": 3,
    "split.n_val": 1,
    "priors.embedding_dim": 8,
    "grc.n_modules": 4,
    "gcae.encoder": "pca",
    "gcae.latent_dim": 10,
    "flow.target_embedding": "learned",
    "flow.batch": 32,
    "flow.steps": 4,
    "flow.accumulate": 1,
    "flow.validate_every": 4,
    "flow.width": 16,
    "flow.condition_dim": 16,
    "flow.n_heads": 2,
    "flow.solver": "euler",
    "align.lambda_corr": 0,
    "align.lambda_path": 0,
    "train.threads": 1,
    "evaluate.n_cells": 40,
    "evaluate.n_val_cells": 16,
}


def train_small(store: Path, run: Path, **settings: Any) -> Path:
    """A run of a few steps; `settings` are addresses with `__` for the dot."""
    named = {address.replace("__", "."): value for address, value in settings.items()}
    config = settle(load_config(None, {**SETTINGS, "store": str(store), **named}))
    train_run(config, run, LocalContext(0.0), progress=False)
    return run
