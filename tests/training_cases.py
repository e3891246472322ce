"""A tiny simulated store, settings and study, for the tests of training and of the cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from scbig_dist.screen.simulate import simulate_screen
from scbig_dist.screen.simulate_truth import Recipe
from scbig_dist.settings import build_config
from scbig_dist.store.build import build_store
from scbig_dist.train.context import LocalContext

TINY: dict[str, Any] = {
    "panel.n_hvg": 60,
    "split.n_test": 2,
    "split.n_val": 2,
    "grc.n_modules": 4,
    "gcae.n_inducing": 2,
    "gcae.width": 8,
    "gcae.n_blocks": 1,
    "gcae.n_heads": 2,
    "gcae.latent_dim": 4,
    "gcae.dropout": 0.0,
    "autoencoder.lr": 0.003,
    "autoencoder.batch": 64,
    "autoencoder.epochs": 2,
    "autoencoder.check_every": 1,
    "flow.lr": 0.002,
    "flow.batch": 32,
    "flow.accumulate": 2,
    "flow.steps": 80,
    "flow.width": 16,
    "flow.condition_dim": 8,
    "flow.n_heads": 2,
    "flow.pooling": "sum",
    "flow.target_embedding": "both",
    "flow.dropout": 0.0,
    "flow.solver": "midpoint",
    "flow.solver_steps": 3,
    "flow.validate_every": 20,
    "align.every": 10,
    "align.n_cells": 8,
    "align.n_solver_steps": 2,
    "train.threads": 1,
    "train.checkpoint_every": 10,
    "evaluate.n_cells": 16,
    "evaluate.n_val_cells": 8,
}


def make_store(folder: Path) -> Path:
    """1,500 simulated cells of 80 genes, 21 conditions."""
    source, store = folder / "screen.h5ad", folder / "store"
    recipe = Recipe(n_cells=1500, n_genes=120, n_perturbations=8, n_contexts=1, n_modules=6)
    simulate_screen(source, recipe, progress=False)
    config = build_config({"qc.min_genes": 10, "qc.min_cells": 5, "panel.n_hvg": 80})
    build_store(source, store, config, progress=False)
    return store


def write_study(path: Path, **fields: Any) -> Path:
    """A study file with the tiny model beneath it; `fixed` adds to that."""
    fixed = TINY | fields.pop("fixed", {})
    axes = {**fields.get("axes", {}), **next(iter(fields.get("points", {}).values()), {})}
    fields["fixed"] = {address: value for address, value in fixed.items() if address not in axes}
    path.write_text("".join(f"{name} = {value!r}\n" for name, value in fields.items()))
    return path


class Interrupted(Exception):
    pass


class StopsAfter(LocalContext):
    """Ends the training as its n-th update begins, mostly between two checkpoints."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self._left = n

    def wrap(self, module: nn.Module, find_unused: bool = False) -> nn.Module:
        module.register_forward_pre_hook(lambda module, _: self._count(module))
        return module

    def _count(self, module: nn.Module) -> None:
        if all(parameter.grad is None for parameter in module.parameters()):  # its first micro-batch
            self._left -= 1
            if self._left == 0:
                raise Interrupted
