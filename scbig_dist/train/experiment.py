"""A store, a split and a panel together: what a run trains on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scbig_dist.conditions import Condition
from scbig_dist.config import Config
from scbig_dist.errors import UserError
from scbig_dist.models.protocol import ConditionInput
from scbig_dist.screen.splits import Split, make_split, read_split
from scbig_dist.settings import build_config, flatten, with_values
from scbig_dist.store.files import is_uri
from scbig_dist.store.reader import Store, open_store
from scbig_dist.store.schema import Manifest

STAND_INS = ("pca", "spectral", "random", "pathways", "relations")
BLOCK = 2048  # cells that are dense in memory at a time


@dataclass(frozen=True)
class Experiment:
    """Everything about the data that the model and its training are told."""

    config: Config
    store: Store
    split: Split
    n_genes: int

    @property
    def genes(self) -> list[str]:
        return self.store.genes[: self.n_genes]

    @property
    def targets(self) -> list[str]:
        """The target vocabulary: every target of the store, sorted."""
        return sorted({target for condition in self.store.conditions for target in condition.targets})

    @property
    def contexts(self) -> list[str]:
        return sorted({condition.context for condition in self.store.conditions})

    @property
    def controls(self) -> list[Condition]:
        return [condition for condition in self.store.conditions if condition.is_control]

    def train_cells(self) -> np.ndarray:
        """Positions of control cells and of cells of training conditions, ascending. The same array every time: copy it to change it."""
        return self._train_cells

    @cached_property
    def _train_cells(self) -> np.ndarray:
        return self.cells_of([*self.controls, *self.split.train])

    def cells_of(self, conditions: Sequence[Condition]) -> np.ndarray:
        """Positions of all cells of the conditions, ascending."""
        parts = [self.store.cells(condition) for condition in conditions]
        # Ranges in a row: merging them takes a pass, sorting them anew a second per 10 million cells.
        return np.sort(np.concatenate(parts), kind="stable") if parts else np.zeros(0, dtype=np.int64)

    def blocks(self, cells: np.ndarray, size: int = BLOCK) -> Callable[[], Iterator[np.ndarray]]:
        """A function that walks over the cells in dense log-normalised blocks, again and again."""

        def walk() -> Iterator[np.ndarray]:
            for start in range(0, len(cells), size):
                yield self.store.dense(cells[start : start + size], self.n_genes)

        return walk

    def condition_input(self, conditions: Sequence[Condition], beyond: Sequence[str] = ()) -> ConditionInput:
        """Conditions as rows of the vocabulary, -1 in empty slots; `beyond` are targets that follow it."""
        row = {target: index for index, target in enumerate([*self.targets, *beyond])}
        contexts = {context: index for index, context in enumerate(self.contexts)}
        slots = max(len(condition.targets) for condition in [*self.store.conditions, *conditions])
        targets = torch.full((len(conditions), max(slots, 1)), -1, dtype=torch.long)
        for index, condition in enumerate(conditions):
            for slot, target in enumerate(condition.targets):
                targets[index, slot] = row[target]
        return ConditionInput(
            targets,
            torch.tensor([contexts[condition.context] for condition in conditions]),
            torch.tensor([condition.dose or 0.0 for condition in conditions]),
        )


def resolve(config: Config, manifest: Manifest, explicit: Mapping[str, Any] | None = None) -> Config:
    """The config with what the store has settled; an explicit setting against it is refused."""
    settled = flatten({"data": manifest.data.model_dump(), "qc": manifest.qc.model_dump()})
    settled["panel.hvg_flavor"] = manifest.panel.hvg_flavor
    for address, value in (explicit or {}).items():
        if address in settled and settled[address] != value:
            raise UserError(
                f"--set {address}={value}: the store was built with {address}={settled[address]}; "
                "leave the setting out or build another store"
            )
    return build_config(flatten(config.model_dump()) | settled)


def settle(config: Config, explicit: Mapping[str, Any] | None = None) -> Config:
    """The config as a run keeps it: absolute paths, and `data.*` and `qc.*` from the store."""
    if config.store is None:
        raise UserError(
            "no store: name one with --store STORE, or 'store: PATH' in the config; 'scbig store build' makes one"
        )
    # A URI is the same on every node, and each resolves it for itself.
    values = {"store": config.store if is_uri(config.store) else str(Path(config.store).resolve())}
    if config.data.cache is not None and not config.data.cache.startswith("~"):
        values["data.cache"] = str(Path(config.data.cache).resolve())
    for name in ("ppi", "pathways", "gene_embedding", "target_embedding"):
        value = getattr(config.priors, name)
        if value is not None and value not in STAND_INS:
            values[f"priors.{name}"] = str(Path(value).resolve())  # a worker stands in another directory
    for address in ("split.file", "grc.feedback"):
        if (value := config.get(address)) is not None:
            values[address] = str(Path(value).resolve())
    config = with_values(config, values)
    # Every byte that this machine has not read before: a damaged shard would otherwise train without a word.
    store = open_config_store(config, verify=True)
    asked = (explicit or {}).get("panel.n_hvg")
    if isinstance(asked, int) and asked > store.manifest.n_ranked:
        raise UserError(
            f"--set panel.n_hvg={asked}: store {store.name} has {store.manifest.n_ranked} ranked genes; "
            "lower it, or set null for all of them"
        )
    return resolve(config, store.manifest, explicit)


def open_config_store(config: Config, verify: bool = False) -> Store:
    """The store of a settled config, as `data.placement` and `data.cache` want it on this node."""
    assert config.store is not None, "settle() names the store"
    return open_store(config.store, verify, config.data.cache, config.data.placement)


def open_experiment(config: Config, split_file: Path | None = None) -> Experiment:
    """Open the store of a settled config and divide its conditions, or take the division of a file."""
    store = open_config_store(config)
    split = divide(store, config, split_file)
    return Experiment(config, store, split, store.n_genes(config.panel.n_hvg))


def divide(store: Store, config: Config, split_file: Path | None = None) -> Split:
    """A store's conditions as the config, or a file, asks; UserError where it asks for what is not there."""
    split = read_split(split_file, store.conditions) if split_file else make_split(store.conditions, config.split)
    _check_controls(store, split)
    return split


def data_label(experiment: Experiment) -> str:
    """What the cells are, as the file that they came from says it."""
    return experiment.store.manifest.data_label or "real or unknown"


def _check_controls(store: Store, split: Split) -> None:
    with_control = {condition.context for condition in store.conditions if condition.is_control}
    for condition in (*split.train, *split.val, *split.test):
        if condition.context not in with_control:
            raise UserError(
                f"context '{condition.context}' has no control cells, so '{condition.perturbation}' cannot be "
                "predicted there; build the store without that context or set data.context to null"
            )
