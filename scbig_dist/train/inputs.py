"""From priors and training cells to what a model is built on: the `pca` and `modules` artefacts."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file

from scbig_dist.artifacts import Shelf, save_tensors
from scbig_dist.config import Config
from scbig_dist.errors import UserError
from scbig_dist.models.means import control_profiles, mean_profiles
from scbig_dist.models.own_gene import OwnShifts
from scbig_dist.models.scbig import ModelInputs
from scbig_dist.nn.pca import fit_pca
from scbig_dist.screen.embeddings import read_embedding
from scbig_dist.screen.pathways import PathwayMatrix, pathway_matrix, read_pathways
from scbig_dist.screen.ppi import PPI
from scbig_dist.train.arrows import (
    Arrow,
    autoencoder_arrow,
    components_arrow,
    flow_arrow,
    gene_embedding_key,
    latents_arrow,
    modules_arrow,
    scores_arrow,
    shift_arrow,
)
from scbig_dist.train.experiment import STAND_INS, Experiment
from scbig_dist.train.own_gene import own_shifts
from scbig_dist.train.predictor import load_predictor
from scbig_dist.train.prior_files import require_cover
from scbig_dist.train.random import generator
from scbig_dist.train.shift_stage import shift_inputs
from scbig_dist.train.target_vectors import read_network, stand_in, target_vectors

PCA_CELLS = 50_000  # more cells move the components less than their sampling error


@dataclass
class Prepared:
    """The inputs of a model, their key, and what a user should be told about them."""

    inputs: ModelInputs
    key: str
    embedding_key: str
    pathways: PathwayMatrix | None
    notes: list[str] = field(default_factory=list)


def prepare(experiment: Experiment, shelf: Shelf | Path) -> Prepared:
    """Read the priors, fit the components, cluster the genes; reuse what the shelf already holds."""
    if isinstance(shelf, Path):
        with Shelf(shelf, experiment.config.data.cache) as opened:
            return prepare(experiment, opened)
    config, notes = experiment.config, list[str]()
    _check_sizes(experiment)
    manifest = experiment.store.manifest
    if (config.panel.n_hvg or 0) > manifest.n_hvg:
        notes.append(
            f"panel.n_hvg={config.panel.n_hvg} is above the {manifest.n_hvg} genes of the source: all are taken"
        )
    ppi = read_network(experiment, notes)
    components = _components(experiment, shelf, _n_components(config, experiment))
    embedding, found, embedding_key = _gene_embedding(experiment, components, notes)
    by = (embedding, found, embedding_key)
    if config.grc.feedback is not None:
        by = _feedback(experiment, Path(config.grc.feedback), notes)
    modules, key = _modules(experiment, shelf, ppi, *by)
    vectors, known = target_vectors(experiment, notes)
    pathways = _pathways(experiment, notes)
    leading = None
    if with_components(config):
        shown = (
            _components(experiment, shelf, config.gcae.latent_dim, config.gcae.shift_weight)
            if config.gcae.shift_weight
            else components
        )
        leading = torch.from_numpy(shown["components"][: config.gcae.latent_dim])
    inputs = ModelInputs(
        module_of_gene=torch.from_numpy(modules),
        gene_mean=torch.from_numpy(components["mean"]),
        gene_embedding=None if embedding is None else torch.from_numpy(embedding),
        components=leading,
        target_vectors=vectors,
        target_known=known,
        pathways=None if pathways is None else torch.from_numpy(pathways.matrix),
        n_contexts=len(experiment.contexts),
        with_dose=any(condition.dose is not None for condition in experiment.store.conditions),
        shift=None if config.shift.head == "none" else shift_inputs(experiment),
        own=_own_shifts(experiment, notes),
    )
    return Prepared(inputs, key, embedding_key, pathways, notes)


def planned(experiment: Experiment) -> list[Arrow]:
    """The artefacts of a run, before anything is computed; with `grc.feedback`, which its predictions decide, the first alone."""
    config = experiment.config
    if config.model.name != "scbig":
        return []
    _check_sizes(experiment)
    found = [components_arrow(experiment, _n_components(config, experiment), 0.0)]
    if with_components(config) and config.gcae.shift_weight:
        found.append(components_arrow(experiment, config.gcae.latent_dim, config.gcae.shift_weight))
    if config.grc.feedback is not None:
        return found
    embedding_key = gene_embedding_key(config)
    modules = modules_arrow(experiment, embedding_key)
    autoencoder = autoencoder_arrow(experiment, modules.key, embedding_key)
    found += [modules, autoencoder]
    if not config.flow.train_autoencoder:
        found.append(latents_arrow(experiment, autoencoder.key))
    if config.shift.head == "network":
        found.append(shift_arrow(experiment, modules.key))
    flow = flow_arrow(experiment, autoencoder.key)
    return [*found, flow, scores_arrow(config, flow.key, "val")]


def _check_sizes(experiment: Experiment) -> None:
    """What the panel must be able to hold, before anything is computed."""
    config, n_genes = experiment.config, experiment.n_genes
    if config.grc.n_modules > n_genes:
        raise UserError(
            f"grc.n_modules={config.grc.n_modules} is above the panel's {n_genes} genes; lower it or raise panel.n_hvg"
        )
    at_most = _most_components(experiment)
    if with_components(config) and config.gcae.latent_dim > at_most:
        raise UserError(
            f"gcae.latent_dim={config.gcae.latent_dim}: {n_genes} genes and these training cells have "
            f"{at_most} principal components; lower it"
        )


def _most_components(experiment: Experiment) -> int:
    return min(experiment.n_genes, len(experiment.train_cells()) - 1)


def with_components(config: Config) -> bool:
    """Whether the autoencoder is built on components of the cells."""
    return config.gcae.encoder == "pca" or config.gcae.skip != "none"


def _n_components(config: Config, experiment: Experiment) -> int:
    """Principal components that one fit serves all purposes with."""
    return max(
        config.gcae.latent_dim if with_components(config) and not config.gcae.shift_weight else 1,
        min(config.priors.embedding_dim, _most_components(experiment)) if config.priors.gene_embedding == "pca" else 1,
    )


def _components(experiment: Experiment, shelf: Shelf, n: int, shift_weight: float = 0.0) -> dict[str, np.ndarray]:
    """Mean and n leading components of the training cells with their sd; `gcae.shift_weight` says what the weight does."""
    seed = experiment.config.train.seed

    def write(beside: Path) -> None:
        cells = experiment.train_cells()
        rng = generator(seed, "pca")
        if len(cells) > PCA_CELLS:
            cells = np.sort(rng.choice(cells, PCA_CELLS, replace=False))
        shifts = _shifts(experiment) * shift_weight**0.5 if shift_weight else None
        pca = fit_pca(experiment.blocks(cells), experiment.n_genes, n, rng, shifts)
        tensors = {"mean": pca.mean, "components": pca.components, "sd": pca.sd}
        tensors = {name: np.ascontiguousarray(value, dtype=np.float32) for name, value in tensors.items()}
        save_tensors(tensors, beside / "pca.safetensors")

    return load_file(
        shelf.take("pca", components_arrow(experiment, n, shift_weight).inputs, write).path / "pca.safetensors"
    )


def _shifts(experiment: Experiment) -> np.ndarray:
    """Mean shifts of the training conditions from their control, divided so that outer products average: (condition, gene)."""
    train = experiment.split.train
    shifts = mean_profiles(experiment.store, train, experiment.n_genes)
    shifts -= control_profiles(experiment.store, train, experiment.n_genes)
    return shifts / len(train) ** 0.5


def _gene_embedding(
    experiment: Experiment, components: dict[str, np.ndarray], notes: list[str]
) -> tuple[np.ndarray | None, np.ndarray | None, str]:
    """(gene, e) vectors with zeros where missing, which genes have one, and a key of the source."""
    config = experiment.config
    name, key = config.priors.gene_embedding, gene_embedding_key(config)
    if name is None:
        notes.append("priors.gene_embedding is null: module tokens carry a learned vector instead")
        return None, None, key
    if name == "pca":
        n = config.priors.embedding_dim
        vectors = (components["components"][:n] * components["sd"][:n, None]).T
        notes.append("gene embedding: PCA loadings of the training cells (stand-in)")
        return np.ascontiguousarray(vectors), np.ones(experiment.n_genes, dtype=bool), key
    embedding = stand_in(name, experiment, "priors.gene_embedding") if name in STAND_INS else read_embedding(name)
    look = embedding.lookup(experiment.genes)
    notes.append(f"gene embedding: {embedding.name}, {int(look.found.sum())} of {experiment.n_genes} panel genes")
    require_cover(embedding, experiment.genes, f"priors.gene_embedding={name}", "panel gene")
    return look.vectors, look.found, key


def _feedback(experiment: Experiment, run: Path, notes: list[str]) -> tuple[np.ndarray, np.ndarray, str]:
    """Genes as their predicted shifts: (gene, training condition), by a fast solve of a finished run."""
    predictor, config = load_predictor(run), experiment.config
    if predictor.store.key != experiment.store.key or predictor.n_genes != experiment.n_genes:
        raise UserError(f"grc.feedback={run}: that run has another store or panel; name a run of {config.store}")
    train = experiment.split.train
    if leaked := sorted(set(predictor.split.train) - set(train)):
        raise UserError(f"grc.feedback={run}: it was trained on {leaked[0].name}, which this split holds out")
    control = control_profiles(experiment.store, train, experiment.n_genes)
    n_cells = config.evaluate.n_val_cells
    cells = (predictor.predict(condition, n_cells, config.train.seed, fast=True) for condition in train)
    shifts = np.stack([cell.mean(axis=0) for cell in cells]) - control
    notes.append(f"gene modules: clustered by the shifts that {run.name} predicts for {len(train)} training conditions")
    vectors = np.ascontiguousarray(shifts.T, dtype=np.float32)
    key = hashlib.sha256(vectors.tobytes()).hexdigest()
    return vectors, np.ones(experiment.n_genes, dtype=bool), key


def _modules(
    experiment: Experiment,
    shelf: Shelf,
    ppi: PPI | None,
    embedding: np.ndarray | None,
    found: np.ndarray | None,
    embedding_key: str,
) -> tuple[np.ndarray, str]:
    config = experiment.config

    def write(beside: Path) -> None:
        from scbig_dist.grc import cluster_genes  # POT and scikit-learn: a second that a reused artefact spares

        adjacency = None if ppi is None else ppi.adjacency(experiment.genes)
        rng = generator(config.train.seed, "modules")
        modules = cluster_genes(experiment.n_genes, embedding, found, adjacency, config.grc, rng)
        save_tensors({"module_of_gene": modules}, beside / "modules.safetensors")

    made = shelf.take("modules", modules_arrow(experiment, embedding_key).inputs, write)
    return load_file(made.path / "modules.safetensors")["module_of_gene"], made.key


def _own_shifts(experiment: Experiment, notes: list[str]) -> OwnShifts | None:
    if experiment.config.shift.own_gene == "predicted":
        return None
    own = own_shifts(experiment)
    if own is None:
        notes.append("shift.own_gene=measured: no training condition hits a gene of the panel, nothing is measured")
    return own


def _pathways(experiment: Experiment, notes: list[str]) -> PathwayMatrix | None:
    config: Config = experiment.config
    if config.priors.pathways is None:
        if config.align.lambda_path > 0:
            notes.append("priors.pathways is null: the pathway loss is off")
        return None
    sets = pathway_matrix(
        read_pathways(Path(config.priors.pathways)),
        experiment.genes,
        config.priors.min_genes,
        where=f"pathways {config.priors.pathways}",
    )
    if not len(sets.names):
        notes.append(
            f"no pathway has {config.priors.min_genes} panel genes (priors.min_genes): the pathway loss is off"
        )
        return None
    notes.append(sets.coverage())
    return sets
