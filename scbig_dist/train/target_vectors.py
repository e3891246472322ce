"""What is known of perturbation targets before training: the PPI, stand-ins, files of vectors."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from scbig_dist.config import Config
from scbig_dist.config_data import PriorsConfig
from scbig_dist.errors import UserError, amount, listed
from scbig_dist.screen.embeddings import Embedding, random_embedding, read_embedding, side_by_side
from scbig_dist.screen.pathway_vectors import pathway_embedding
from scbig_dist.screen.pathways import read_pathways
from scbig_dist.screen.ppi import PPI, read_ppi
from scbig_dist.screen.splits import Split
from scbig_dist.train.experiment import STAND_INS, Experiment
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
    """The vectors that a name stands for."""
    priors, seed = experiment.config.priors, experiment.config.train.seed
    if name == "relations":  # of targets it is taken apart before: see source_names
        raise UserError(f"{address}=relations: for targets alone; choices: pca, spectral, pathways, random, or a file")
    if name == "random":
        return random_embedding(sorted({*experiment.genes, *experiment.targets}), priors.embedding_dim, seed)
    _require_file(name, priors, address)
    if name == "pathways":
        assert priors.pathways is not None
        return _by_pathways(priors.pathways, _stamp(priors.pathways), priors.embedding_dim, seed)
    assert priors.ppi is not None
    return _spectral(priors.ppi, priors.ppi_threshold, _stamp(priors.ppi), priors.embedding_dim, seed)


def _require_file(name: str, priors: PriorsConfig, address: str) -> None:
    if name == "pathways" and priors.pathways is None:
        raise UserError(f"{address}=pathways: this stand-in is made from gene sets; give priors.pathways a file")
    if name == "spectral" and priors.ppi is None:
        raise UserError(f"{address}=spectral: the spectral stand-in is made from interactions; give priors.ppi a file")


# A process that trains one trial after the other reads the network once: it takes as long as many steps.
@lru_cache(maxsize=2)
def _network(path: str, threshold: float, stamp: tuple[int, int]) -> PPI:
    return read_ppi(Path(path), threshold)


@lru_cache(maxsize=4)
def _spectral(path: str, threshold: float, stamp: tuple[int, int], dim: int, seed: int) -> Embedding:
    return _network(path, threshold, stamp).spectral(dim, seed)


@lru_cache(maxsize=4)
def _by_pathways(path: str, stamp: tuple[int, int], dim: int, seed: int) -> Embedding:
    return pathway_embedding(read_pathways(path), dim, seed)


def _stamp(path: str) -> tuple[int, int]:
    """What tells a changed file from the one that was read; `read_ppi` says what is wrong with a missing one."""
    file = Path(path)
    return (file.stat().st_mtime_ns, file.stat().st_size) if file.exists() else (0, 0)


def source_names(priors: PriorsConfig) -> tuple[str, ...]:
    """The file or the stand-ins that vectors of targets come from; none where there is nothing to make them of."""
    if priors.target_embedding not in (None, "relations"):
        return (priors.target_embedding,)
    files = {"spectral": priors.ppi} | ({"pathways": priors.pathways} if priors.target_embedding else {})
    return tuple(name for name, file in files.items() if file is not None)


def require_sources(config: Config, split: Split) -> None:
    """Raise UserError where nothing can be known of targets that training lacks, or a stand-in has no file."""
    names, learned_only = source_names(config.priors), config.flow.target_embedding == "learned"
    if config.priors.target_embedding == "relations" and not names and not learned_only:
        raise UserError(
            "priors.target_embedding=relations: made from interactions and gene sets; give priors.ppi, priors.pathways or both a file"
        )
    unseen = unseen_targets(split)
    if unseen and (learned_only or not names):
        cause = (
            "flow.target_embedding=learned"
            if learned_only
            else "there is neither priors.target_embedding nor priors.ppi"
        )
        raise UserError(
            f"{amount(len(unseen), 'target')} of validation or test and of no training condition ({listed(unseen, 3)}), and "
            f"{cause}: nothing is known of them; give priors.target_embedding or priors.ppi, or use split.kind=additive"
        )
    for name in () if learned_only else names:
        _require_file(name, config.priors, "priors.target_embedding")


def target_source(experiment: Experiment) -> Embedding | None:
    """Vectors of targets, of the screen and beyond it; None where learned vectors are all there is."""
    names = source_names(experiment.config.priors)
    if not names or experiment.config.flow.target_embedding == "learned":
        return None
    if names == ("pca",):
        raise UserError(
            "priors.target_embedding=pca: loadings exist for panel genes only; choices: spectral, pathways, relations, "
            "random, or a file"
        )
    if names[0] not in STAND_INS:
        return read_embedding(names[0])
    return side_by_side([stand_in(name, experiment, "priors.target_embedding") for name in names])


def target_vectors(experiment: Experiment, notes: list[str]) -> tuple[Tensor | None, Tensor]:
    """(target, e) vectors of the vocabulary and which targets have one."""
    config, targets = experiment.config, experiment.targets
    require_sources(config, experiment.split)
    unseen, learned_only = unseen_targets(experiment.split), config.flow.target_embedding == "learned"
    if not source_names(config.priors) or learned_only:
        if not learned_only:
            notes.append("target embedding: learned vectors alone (no priors.target_embedding, no priors.ppi)")
        return None, torch.zeros(len(targets), dtype=torch.bool)
    embedding = target_source(experiment)
    assert embedding is not None
    look = embedding.lookup(targets)
    notes.append(f"target embedding: {embedding.name}, {int(look.found.sum())} of {len(targets)} targets")
    require_cover(
        embedding, targets, f"priors.target_embedding={config.priors.target_embedding or embedding.name}", "target"
    )
    blind = sorted(set(unseen) - {t for t, found in zip(targets, look.found, strict=True) if found})
    if blind:
        notes.append(
            f"{len(blind)} unseen targets have no vector and are predicted as if absent: {', '.join(blind[:5])}"
        )
    return torch.from_numpy(look.vectors), torch.from_numpy(look.found)


def unseen_targets(split: Split) -> list[str]:
    """Of validation and test conditions, those of no training condition."""
    seen = {target for condition in split.train for target in condition.targets}
    return sorted({t for condition in (*split.val, *split.test) for t in condition.targets} - seen)
