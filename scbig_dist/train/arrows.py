"""What goes into each artefact of a run, and so its key: everything that its content depends on, and nothing else."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from scbig_dist.artifacts import content_key
from scbig_dist.config import Config
from scbig_dist.screen.embeddings import Embedding, read_embedding
from scbig_dist.store.disk import file_sha256
from scbig_dist.train.experiment import STAND_INS, Experiment
from scbig_dist.train.target_vectors import source_names

NOT_TRAINING = {"solver", "solver_steps", "tolerance"}  # of `flow.*`: how a trained flow is followed
PATHWAY_ALONE = {"lambda_path", "epsilon", "n_iterations", "debiased"}  # of `align.*`
ARCHITECTURE = {"pooling", "target_embedding", "condition_dim", "n_heads", "width"}  # of `flow.*`: draws first weights


@dataclass(frozen=True)
class Arrow:
    """An artefact that a run needs."""

    kind: str
    key: str
    inputs: dict[str, Any]


def arrow(kind: str, inputs: dict[str, Any]) -> Arrow:
    return Arrow(kind, content_key(kind, inputs), inputs)


def data_key(experiment: Experiment) -> dict[str, Any]:
    """What makes two training sets the same."""
    names = sorted(condition.name for condition in experiment.split.train)
    return {"store": experiment.store.key, "n_genes": experiment.n_genes, "train": names}


def components_arrow(experiment: Experiment, n: int, shift_weight: float) -> Arrow:
    inputs = {**data_key(experiment), "n_components": n, "seed": experiment.config.train.seed}
    return arrow("pca", inputs | ({"shift_weight": shift_weight} if shift_weight else {}))


def modules_arrow(experiment: Experiment, embedding_key: str) -> Arrow:
    """`embedding_key`: `gene_embedding_key`, or one of the vectors that a run's predictions gave."""
    config = experiment.config
    inputs = {
        **data_key(experiment),
        "grc": config.grc.model_dump(exclude={"feedback"}),
        "embedding": embedding_key,
        "ppi": _file(config.priors.ppi),
        "ppi_threshold": config.priors.ppi_threshold,
        "seed": config.train.seed,
    }
    return arrow("modules", inputs)


def autoencoder_arrow(experiment: Experiment, modules_key: str, embedding_key: str) -> Arrow:
    config = experiment.config
    inputs = {
        **data_key(experiment),
        "val": sorted(condition.name for condition in experiment.split.val),
        "modules": modules_key,
        "gene_embedding": embedding_key,
        "gcae": config.gcae.model_dump(),
        "autoencoder": config.autoencoder.model_dump(),
        "shuffle": _shuffle(config),
        "train": _seeded(config),
    }
    return arrow("autoencoder", inputs)


def latents_arrow(experiment: Experiment, autoencoder_key: str) -> Arrow:
    """Latents of training cells in the flow's coordinates, and these."""
    config = experiment.config
    inputs = {
        "autoencoder": autoencoder_key,
        "scale": config.flow.latent_scale,
        "centred": config.shift.head != "none",
        "precision": config.train.precision,
    }
    return arrow("latents", inputs)


def shift_arrow(experiment: Experiment, modules_key: str) -> Arrow:
    """The head's network. Its first weights are drawn behind those of the rest of the model."""
    config = experiment.config
    inputs = {
        **data_key(experiment),
        "modules": modules_key,
        "gcae": config.gcae.model_dump(),
        "flow": config.flow.model_dump(include=ARCHITECTURE),
        "targets": _targets(config),
        "shift": config.shift.model_dump(exclude={"own_gene", "saturate"}),
        "relations": _relations(config),
        "train": _seeded(config),
    }
    return arrow("shift", inputs)


def flow_arrow(experiment: Experiment, autoencoder_key: str) -> Arrow:
    """The whole trained model, and what its second stage said while it learned."""
    config = experiment.config
    with_path = config.align.lambda_path > 0 and config.priors.pathways is not None
    align: dict[str, Any] | None = None
    if with_path or config.align.lambda_corr > 0:
        align = config.align.model_dump(exclude=set() if with_path else PATHWAY_ALONE)
    head = config.shift.head != "none"
    inputs = {
        "autoencoder": autoencoder_key,
        "flow": config.flow.model_dump(exclude=NOT_TRAINING),
        "align": align,
        "pathways": [_file(config.priors.pathways), config.priors.min_genes] if with_path else None,
        "targets": _targets(config),
        "shift": {**config.shift.model_dump(exclude={"own_gene"}), "relations": _relations(config)} if head else None,
        "own_gene": config.shift.own_gene,  # validation, which chooses among weights, sees it
        "n_val_cells": config.evaluate.n_val_cells,
        "train": _seeded(config),
    }
    return arrow("flow", inputs)


def scores_arrow(config: Config, flow_key: str, part: str) -> Arrow:
    """What a trial is judged by: scores of predictions, `part` of the split."""
    inputs = {
        "flow": flow_key,
        "part": part,
        "solver": config.flow.model_dump(include=NOT_TRAINING),
        "n_cells": config.evaluate.n_cells,
    }
    return arrow("scores", inputs)


def gene_embedding_key(config: Config) -> str:
    """A key of the vectors that genes have."""
    name, dim = config.priors.gene_embedding, config.priors.embedding_dim
    if name is None:
        return "none"
    if name == "pathways":
        return f"{name}:{dim}:{_file(config.priors.pathways)}"
    return f"{name}:{dim}" if name in STAND_INS else _embedding(name, _stamp(name))


def _seeded(config: Config) -> dict[str, Any]:
    """What decides the bits beside the data: sums over several workers, and on a GPU, have another order."""
    train = config.train
    return {"seed": train.seed, "precision": train.precision, "workers": train.workers, "gpu": train.gpus > 0}


def _shuffle(config: Config) -> dict[str, Any]:
    """What of `data.*` changes the order of cells."""
    data = config.data
    pools = {"block_cells": data.block_cells, "pool_cells": data.pool_cells}
    return {"shuffle": data.shuffle} | (pools if data.shuffle == "pools" else {})


def _targets(config: Config) -> list[Any] | None:
    """What the flow is told of targets; None where it learns all of it."""
    priors = config.priors
    names = source_names(priors)
    if not names or config.flow.target_embedding == "learned":
        return None
    if names[0] not in STAND_INS:
        return [_embedding(names[0], _stamp(names[0]))]
    network = [_file(priors.ppi), priors.ppi_threshold] if "spectral" in names else []
    sets = [_file(priors.pathways)] if "pathways" in names else []
    return ["+".join(names), priors.embedding_dim, *network, *sets]


def _relations(config: Config) -> list[Any] | None:
    """What the mean head is told of how targets are related."""
    priors = config.priors
    if priors.pathways is not None:
        return ["pathways", _file(priors.pathways)]
    if (
        priors.target_embedding is None
        or priors.target_embedding in STAND_INS
        or config.flow.target_embedding == "learned"
    ):
        return None
    return ["vectors", _embedding(priors.target_embedding, _stamp(priors.target_embedding))]


def _file(path: str | None) -> str | None:
    return None if path is None else _sha256(path, _stamp(path))


@lru_cache(maxsize=32)  # every trial of a study asks again
def _sha256(path: str, stamp: tuple[int, int]) -> str:
    return file_sha256(path)


@lru_cache(maxsize=32)
def _embedding(path: str, stamp: tuple[int, int]) -> str:
    return content_of(read_embedding(path))


def content_of(embedding: Embedding) -> str:
    """A key of an embedding's symbols and values."""
    digest = hashlib.sha256("\n".join(embedding.genes).encode())
    digest.update(embedding.vectors.tobytes())
    return digest.hexdigest()


def _stamp(path: str) -> tuple[int, int]:
    """What tells a changed file from the one that was read."""
    stat = Path(path).stat()
    return stat.st_mtime_ns, stat.st_size
