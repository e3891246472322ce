"""A trained run, ready to predict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scbig_dist.conditions import Condition
from scbig_dist.config import Config
from scbig_dist.errors import UserError, suggest
from scbig_dist.models.protocol import ConditionInput
from scbig_dist.screen.splits import Split
from scbig_dist.settings import load_config
from scbig_dist.store.reader import Store
from scbig_dist.train.context import pick_device
from scbig_dist.train.experiment import Experiment, open_experiment
from scbig_dist.train.model_files import load_model
from scbig_dist.train.own_gene import own_columns
from scbig_dist.train.random import generator
from scbig_dist.train.target_relations import target_relations
from scbig_dist.train.target_vectors import target_source
from scbig_dist.train.threads import use_threads

CELLS_AT_A_TIME = 1024  # that are solved together


class Predictor:
    """Predicts log-normalised cells of a run's panel under any condition whose targets the screen or the prior knows."""

    def __init__(self, experiment: Experiment, model: Any, device: torch.device) -> None:
        self._experiment, self._model, self._device = experiment, model.to(device).eval(), device
        self._beyond: list[str] = []  # targets outside the screen, in the order they were asked for

    @property
    def store(self) -> Store:
        return self._experiment.store

    @property
    def split(self) -> Split:
        return self._experiment.split

    @property
    def config(self) -> Config:
        return self._experiment.config

    @property
    def n_genes(self) -> int:
        return self._experiment.n_genes

    @property
    def experiment(self) -> Experiment:
        return self._experiment

    def predict(self, condition: Condition, n_cells: int, seed: int, fast: bool = False) -> np.ndarray:
        """float32 (n_cells, gene): control cells drawn from the condition's context, carried along the flow."""
        store = self.store
        rng = generator(seed, f"predict {condition.name}")
        rows = store.draw(store.control(condition.context), n_cells, rng)
        given = self._given(condition)
        parts = []
        for start in range(0, n_cells, CELLS_AT_A_TIME):
            x = store.dense(rows[start : start + CELLS_AT_A_TIME], self.n_genes)
            parts.append(self._model.predict(torch.from_numpy(x).to(self._device), given, fast).cpu().numpy())
        return np.concatenate(parts)

    @property
    def has_latent(self) -> bool:
        """Whether cells can be encoded and decoded."""
        return self.config.model.name == "scbig"

    @torch.no_grad()
    def reconstruct(self, cells: np.ndarray) -> np.ndarray:
        """float32 (cell, gene) encoded and decoded: what the latent can carry at best."""
        x = torch.from_numpy(np.ascontiguousarray(cells, dtype=np.float32)).to(self._device)
        return self._model.autoencoder(x).cpu().numpy()

    def _given(self, condition: Condition) -> ConditionInput:
        if condition.is_control:
            raise UserError("condition control: control needs no prediction; name a perturbation")
        known = {*self._experiment.targets, *self._beyond}
        if new := [target for target in condition.targets if target not in known]:
            self._meet(new)
        return self._experiment.condition_input([condition], self._beyond).to(self._device)

    def _meet(self, targets: list[str]) -> None:
        """Take up targets that no cell of the screen was hit at, from the prior that the run was trained with."""
        experiment = self._experiment
        if self.config.model.name != "scbig":
            near = suggest(targets[0], experiment.targets)
            raise UserError(
                f"target '{targets[0]}' is in no condition of the screen, and model.name={self.config.model.name} "
                f"predicts targets of the screen alone; {near}"
            )
        source = target_source(experiment)
        if source is None:
            near = suggest(targets[0], experiment.targets)
            raise UserError(
                f"target '{targets[0]}' is in no condition of the screen and the run has no prior of targets; {near}"
            )
        look = source.lookup(targets)
        for target, found in zip(targets, look.found, strict=True):
            if not found:
                near = suggest(target, dict.fromkeys([*experiment.targets, *source.genes]))
                raise UserError(
                    f"target '{target}' is in no condition of the screen and has no vector in {source.name}; {near}"
                )
        self._model.condition.embedding.extend(torch.from_numpy(look.vectors))
        if self._model.shift is not None:
            self._model.shift.extend(target_relations(experiment, targets))
        if self._model.own_gene is not None:
            self._model.own_gene.extend(own_columns(experiment, targets))
        self._beyond += targets


def load_predictor(run: Path) -> Predictor:
    """The trained model of a run directory; an error where training has not ended."""
    if not (run / "config.yaml").is_file():
        raise UserError(f"{run}: not a run (no config.yaml); 'scbig train … -o RUN' makes one")
    if not (run / "run.json").is_file():
        raise UserError(f"{run}: training has not ended; finish it with 'scbig train … -o {run} --resume'")
    config = load_config(run / "config.yaml")
    known = open_experiment(config, run / "split.json")
    if json.loads((run / "store.json").read_text())["key"] != known.store.key:
        raise UserError(
            f"{run}: the store {config.store} is not the one that the run was trained on; restore it or train anew"
        )
    device = pick_device(config.train.gpus if torch.cuda.is_available() else 0.0)
    use_threads(config.train.threads)
    return Predictor(known, load_model(run / "model", config), device)
