"""Gene modules to look at: those of a run, or those that a config's GRC makes of a whole store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scbig_dist.errors import UserError
from scbig_dist.screen.splits import Split
from scbig_dist.settings import load_config, with_values
from scbig_dist.store.files import is_uri
from scbig_dist.train.experiment import Experiment, open_config_store, open_experiment, settle
from scbig_dist.train.inputs import prepare

# What of a finished run's settings only says how its modules are judged.
JUDGING = ("priors.ppi", "priors.ppi_threshold", "priors.pathways", "priors.min_genes")
# What clustering does not read, and would be slow to prepare or refused for other reasons.
ASIDE = {
    "priors.pathways": None,
    "align.lambda_path": 0.0,
    "flow.target_embedding": "learned",
    "gcae.encoder": "gcae",
    "shift.head": "none",
    "model.name": "scbig",
}


@dataclass(frozen=True)
class Partition:
    """The genes of a panel in modules, and cells to judge them by; `cells_name` says which those are."""

    name: str
    experiment: Experiment
    module_of_gene: NDArray[np.int64]
    cells: NDArray[np.int64]
    cells_name: str
    notes: list[str] = field(default_factory=list)

    @property
    def genes(self) -> list[str]:
        return self.experiment.genes


def is_run(place: str) -> bool:
    """Whether a place is a run's directory; a UserError where it is neither that nor can be a store."""
    if is_uri(place):
        return False
    path = Path(place)
    if (path / "config.yaml").is_file():
        return True
    if not (path / "manifest.json").is_file():
        raise UserError(
            f"{place}: neither a run (no config.yaml) nor a store (no manifest.json); "
            "'scbig train' makes the one, 'scbig store build' the other"
        )
    return False


def run_partition(run: Path, overrides: Mapping[str, Any]) -> Partition:
    """The modules that a run was built on, with cells that they were not made from, where there are any.

    `overrides` may only change how the modules are judged (`JUDGING`).
    """
    if fixed := [address for address in overrides if address not in JUDGING]:
        raise UserError(
            f"--set {fixed[0]}: the modules of run {run} are made; only {', '.join(JUDGING)} can be set here. "
            "Name the store instead to cluster anew"
        )
    config = load_config(run / "config.yaml")
    experiment = open_experiment(with_values(config, overrides), run / "split.json")
    held_out = experiment.cells_of(experiment.split.val)
    cells, name = (held_out, "validation") if len(held_out) else (experiment.train_cells(), "training")
    return Partition(f"run {run}", experiment, read_modules(run, experiment), cells, f"{name} cells")


def read_modules(run: Path, experiment: Experiment) -> NDArray[np.int64]:
    """The module of every panel gene as `RUN/modules.tsv` keeps it; a UserError where the run has none."""
    path = run / "modules.tsv"
    if not path.is_file():
        name = experiment.config.model.name
        why = "training has not come to them" if name == "scbig" else f"model.name={name} has none"
        raise UserError(f"{run}: no gene modules (no modules.tsv): {why}")
    table = pd.read_csv(path, sep="\t", dtype={"gene": str}, keep_default_na=False)
    if table["gene"].tolist() != experiment.genes:
        raise UserError(
            f"{path}: its genes are not those of store {experiment.store.name}; restore the store that the run was trained on"
        )
    return table["module"].to_numpy(np.int64)


def cluster_store(store: str, config_file: Path | None, overrides: Mapping[str, Any]) -> Partition:
    """The modules that a config makes of a store, from all its cells: a run leaves out what it holds out."""
    config = settle(load_config(config_file, {**overrides, "store": store}), overrides)
    opened = open_config_store(config)
    everything = tuple(condition for condition in opened.conditions if not condition.is_control)
    split = Split("hand-written", None, train=everything, val=(), test=())
    n_genes = opened.n_genes(config.panel.n_hvg)
    clustered = Experiment(with_values(config, ASIDE), opened, split, n_genes)
    with TemporaryDirectory() as scratch:
        prepared = prepare(clustered, Path(scratch))
    experiment = Experiment(config, opened, split, n_genes)
    modules = prepared.inputs.module_of_gene.numpy()
    return Partition(f"store {store}", experiment, modules, clustered.train_cells(), "all cells", prepared.notes)
