"""What a campaign of faults strikes: a small study, and a Ray cluster on this machine whose nodes can be killed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ray.cluster_utils import Cluster

from scbig_dist.screen.simulate import simulate_screen
from scbig_dist.screen.simulate_truth import Recipe
from scbig_dist.settings import build_config
from scbig_dist.store.build import build_store

SETTINGS: dict[str, Any] = {
    "panel.n_hvg": 60, "split.n_test": 2, "split.n_val": 2, "grc.n_modules": 4, "gcae.n_inducing": 2, "gcae.width": 8,
    "gcae.n_blocks": 1, "gcae.n_heads": 2, "gcae.latent_dim": 4, "autoencoder.lr": 0.003, "autoencoder.batch": 64,
    "autoencoder.epochs": 60, "autoencoder.check_every": 20, "flow.batch": 32, "flow.accumulate": 2, "flow.steps": 6_000,
    "flow.width": 16, "flow.condition_dim": 8, "flow.n_heads": 2, "flow.pooling": "sum", "flow.target_embedding": "both",
    "flow.solver": "midpoint", "flow.solver_steps": 3, "flow.validate_every": 3_000, "align.every": 10, "align.n_cells": 8,
    "align.n_solver_steps": 2, "train.threads": 1, "train.checkpoint_every": 500, "evaluate.n_cells": 16,
    "evaluate.n_val_cells": 8,
}  # fmt: skip


def make_store(folder: Path) -> str:
    recipe = Recipe(n_cells=1500, n_genes=120, n_perturbations=8, n_contexts=1, n_modules=6)
    simulate_screen(folder / "screen.h5ad", recipe, progress=False)
    config = build_config({"qc.min_genes": 10, "qc.min_cells": 5, "panel.n_hvg": 80})
    build_store(folder / "screen.h5ad", folder / "store", config, progress=False)
    return str(folder / "store")


def write_study(path: Path, workers: int | str, rates: tuple[float, ...], **more: Any) -> Path:
    """A trial per learning rate of the flow, all of them behind one autoencoder."""
    fixed = SETTINGS | {"train.workers": workers, **more}
    path.write_text(f"axes = { ({'flow.lr': list(rates)})!r}\nfixed = {fixed!r}\n")
    return path


class Nodes:
    """A head that trains nothing and two nodes of two CPUs, all on this machine."""

    def __enter__(self) -> Nodes:
        for name, value in {
            "RAY_USAGE_STATS_ENABLED": "0", "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "30", "OMP_NUM_THREADS": "1",
            "RAY_worker_niceness": "0",  # else whatever else runs on this machine goes first
        }.items():  # fmt: skip
            os.environ.setdefault(name, value)
        head = {"num_cpus": 0, "object_store_memory": 80_000_000, "include_dashboard": False}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self._workers = [self._add(), self._add()]
        self.address = self._cluster.address
        return self

    def __exit__(self, *error: object) -> None:
        self._cluster.shutdown()

    def _add(self) -> Any:
        return self._cluster.add_node(num_cpus=2, object_store_memory=80_000_000)

    def kill(self, which: int) -> None:
        """Kill a node without a word to it; another joins."""
        self._cluster.remove_node(self._workers.pop(which % len(self._workers)), allow_graceful=False)
        self._workers.append(self._add())
