"""What is known of perturbation targets before training: the PPI, stand-ins, files of vectors."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from scbig_dist.errors import UserError
from scbig_dist.screen.embeddings import Embedding, random_embedding, read_embedding
from scbig_dist.screen.ppi import PPI, read_ppi
from scbig_dist.train.experiment import Experiment
from scbig_dist.train.prior_files import require_cover


def read_network(experiment: Experiment, notes: list[str]) -> PPI | None:
    priors = experiment.config.priors
    if priors.ppi is None:
        notes.append("priors.ppi is null: modules ignore interactions")
        return None
    ppi = _network(priors.ppi, priors.ppi_threshold, _stamp(priors.ppi))
    notes.append(ppi.coverage(experiment.genes))
    return ppi


def stand_in(name: str, experiment: Experiment, address: str) -> Embedding:
    priors, seed = experiment.config.priors, experiment.config.train.seed
    if name == "random":
        return random_embedding(sorted({*experiment.genes, *experiment.targets}), priors.embedding_dim, seed)
    if priors.ppi is None:
        raise UserError(f"{address}=spectral: the spectral stand-in is made from interactions; give priors.ppi a file")
    return _spectral(priors.ppi, priors.ppi_threshold, _stamp(priors.ppi), priors.embedding_dim, seed)


# A process that trains one trial after the other reads the network once: it takes as long as many steps.
@lru_cache(maxsize=2)
def _network(path: str, threshold: float, stamp: tuple[int, int]) -> PPI:
    return read_ppi(Path(path), threshold)


@lru_cache(maxsize=4)
def _spectral(path: str, threshold: float, stamp: tuple[int, int], dim: int, seed: int) -> Embedding:
    return _network(path, threshold, stamp).spectral(dim, seed)


def _stamp(path: str) -> tuple[int, int]:
    """What tells a changed file from the one that was read; `read_ppi` says what is wrong with a missing one."""
    file = Path(path)
    return (file.stat().st_mtime_ns, file.stat().st_size) if file.exists() else (0, 0)


def _source_name(experiment: Experiment) -> str | None:
    priors = experiment.config.priors
    return priors.target_embedding or ("spectral" if priors.ppi is not None else None)


def target_source(experiment: Experiment) -> Embedding | None:
    """Vectors of targets, of the screen and beyond it; None where learned vectors are all there is."""
    name = _source_name(experiment)
    if name is None or experiment.config.flow.target_embedding == "learned":
        return None
    if name in ("spectral", "random"):
        return stand_in(name, experiment, "priors.target_embedding")
    if name == "pca":
        raise UserError(
            "priors.target_embedding=pca: loadings exist for panel genes only; choices: spectral, random, or a file"
        )
    return read_embedding(name)


def target_vectors(experiment: Experiment, notes: list[str]) -> tuple[Tensor | None, Tensor]:
    """(target, e) vectors of the vocabulary and which targets have one."""
    config, targets = experiment.config, experiment.targets
    name = _source_name(experiment)
    unseen = unseen_targets(experiment)
    learned_only = config.flow.target_embedding == "learned"
    if name is None or learned_only:
        if unseen:
            cause = (
                "flow.target_embedding=learned"
                if learned_only
                else "there is neither priors.target_embedding nor priors.ppi"
            )
            raise UserError(
                f"{len(unseen)} targets are in validation or test but not in training ({', '.join(unseen[:3])}, …) and "
                f"{cause}: nothing is known of them; give priors.target_embedding or priors.ppi, or use split.kind=additive"
            )
        if not learned_only:
            notes.append("target embedding: learned vectors alone (no priors.target_embedding, no priors.ppi)")
        return None, torch.zeros(len(targets), dtype=torch.bool)
    embedding = target_source(experiment)
    assert embedding is not None
    look = embedding.lookup(targets)
    notes.append(f"target embedding: {embedding.name}, {int(look.found.sum())} of {len(targets)} targets")
    require_cover(embedding, targets, f"priors.target_embedding={name}", "target")
    blind = sorted(set(unseen) - {t for t, found in zip(targets, look.found, strict=True) if found})
    if blind:
        notes.append(
            f"{len(blind)} unseen targets have no vector and are predicted as if absent: {', '.join(blind[:5])}"
        )
    return torch.from_numpy(look.vectors), torch.from_numpy(look.found)


def unseen_targets(experiment: Experiment) -> list[str]:
    split = experiment.split
    seen = {target for condition in split.train for target in condition.targets}
    return sorted({t for condition in (*split.val, *split.test) for t in condition.targets} - seen)
