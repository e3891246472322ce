"""From a screen and its priors to what a baseline is built on."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from scbig_dist.errors import UserError
from scbig_dist.models.baselines import training_shifts
from scbig_dist.models.means import mean_of_cells, mean_profiles
from scbig_dist.models.screen_inputs import Names, ScreenInputs
from scbig_dist.screen.embeddings import read_embedding
from scbig_dist.screen.ppi import PPI
from scbig_dist.train.experiment import STAND_INS, Experiment
from scbig_dist.train.prior_files import require_cover
from scbig_dist.train.random import generator
from scbig_dist.train.target_vectors import read_network, stand_in, target_vectors

GRAPH_CELLS = 4_096  # cells behind the correlations of genes
SEES_TARGETS = frozenset({"knn", "cpa", "linear_ext"})  # models that read vectors of targets
SEES_GRAPHS = frozenset({"gears"})


def names_of(experiment: Experiment) -> Names:
    """The names behind the rows of a run's tables."""
    return Names(tuple(experiment.genes), tuple(experiment.targets), tuple(experiment.contexts))


def screen_inputs(experiment: Experiment, notes: list[str]) -> ScreenInputs:
    """Every rank computes the same; only what the model reads is read."""
    store, split, n_genes = experiment.store, experiment.split, experiment.n_genes
    model, genes, targets = experiment.config.model.name, experiment.genes, experiment.targets
    shifts = training_shifts(store, split.train, n_genes)
    if not shifts.conditions:
        raise UserError("the split has no training conditions; lower split.n_test or split.n_val")
    control = np.full((len(experiment.contexts), n_genes), np.nan)
    for row, context in enumerate(experiment.contexts):
        if any(condition.context == context for condition in experiment.controls):
            control[row] = mean_profiles(store, [store.control(context)], n_genes)[0]
    embedding = _gene_embedding(experiment, notes) if model in ("gears", "linear_ext") else None
    vectors, known = None, torch.zeros(len(targets), dtype=torch.bool)
    if model == "linear_ext":
        vectors, known = _rows_of_the_same_source(experiment)
    elif model in SEES_TARGETS:
        vectors, known = target_vectors(experiment, notes)
    if model == "knn" and vectors is None:
        raise UserError(
            "model.name=knn: neighbours need vectors of targets; give priors.target_embedding or priors.ppi"
        )
    n = min(experiment.config.baseline.n_neighbors, n_genes - 1)
    gene_graph, gene_weight = _no_graph(n_genes)
    target_graph, target_weight = _no_graph(len(targets))
    if model in SEES_GRAPHS:
        gene_graph, gene_weight = _co_expression(experiment, n)
        ppi = read_network(experiment, notes)
        if ppi is not None:
            target_graph, target_weight = _shared_partners(ppi, targets, min(n, len(targets) - 1))
    column = {gene: index for index, gene in enumerate(genes)}
    return ScreenInputs(
        gene_mean=torch.from_numpy(mean_of_cells(store, experiment.train_cells(), n_genes)).float(),
        control_mean=torch.from_numpy(control),
        train=experiment.condition_input(shifts.conditions),
        shifts=torch.from_numpy(shifts.values),
        target_column=torch.tensor([column.get(target, -1) for target in targets]),
        target_vectors=vectors,
        target_known=known,
        gene_embedding=embedding,
        gene_graph=gene_graph,
        gene_weight=gene_weight,
        target_graph=target_graph,
        target_weight=target_weight,
        n_contexts=len(experiment.contexts),
        with_dose=any(condition.dose is not None for condition in store.conditions),
    )


def _gene_embedding(experiment: Experiment, notes: list[str]) -> Tensor | None:
    """(gene, f) vectors of `priors.gene_embedding`, zero where missing; None where loadings would be our own."""
    name, model = experiment.config.priors.gene_embedding, experiment.config.model.name
    if name is None or name == "pca":
        if model == "linear_ext":
            raise UserError(
                f"model.name=linear_ext: it takes its genes from outside; set priors.gene_embedding (now {name}) to a "
                "file, or to the stand-in spectral"
            )
        return None
    embedding = stand_in(name, experiment, "priors.gene_embedding") if name in STAND_INS else read_embedding(name)
    look = embedding.lookup(experiment.genes)
    notes.append(f"gene embedding: {embedding.name}, {int(look.found.sum())} of {experiment.n_genes} panel genes")
    require_cover(embedding, experiment.genes, f"priors.gene_embedding={name}", "panel gene")
    return torch.from_numpy(look.vectors)


def _rows_of_the_same_source(experiment: Experiment) -> tuple[Tensor, Tensor]:
    """Targets as the gene embedding knows them, in the panel or not."""
    name = experiment.config.priors.gene_embedding
    assert name is not None
    embedding = stand_in(name, experiment, "priors.gene_embedding") if name in STAND_INS else read_embedding(name)
    look = embedding.lookup(experiment.targets)
    return torch.from_numpy(look.vectors), torch.from_numpy(look.found)


def _no_graph(n: int) -> tuple[Tensor, Tensor]:
    return torch.full((n, 1), -1, dtype=torch.long), torch.zeros(n, 1)


def _co_expression(experiment: Experiment, n: int) -> tuple[Tensor, Tensor]:
    """Each gene's n most correlated others (absolute Pearson over training cells)."""
    cells = experiment.train_cells()
    if len(cells) > GRAPH_CELLS:
        rng = generator(experiment.config.train.seed, "co-expression")
        cells = np.sort(rng.choice(cells, GRAPH_CELLS, replace=False))
    x = torch.from_numpy(experiment.store.dense(cells, experiment.n_genes))
    x = x - x.mean(0)
    x = x / x.norm(dim=0).clamp(min=1e-12)
    found = [_strongest((x[:, start : start + 512].T @ x).abs(), start, n) for start in range(0, x.shape[1], 512)]
    return torch.cat([index for index, _ in found]), torch.cat([weight for _, weight in found])


def _strongest(similarity: Tensor, start: int, n: int) -> tuple[Tensor, Tensor]:
    """The n largest positive entries per row, the row's own place (`start` + row) left out."""
    rows = torch.arange(len(similarity))
    similarity[rows, start + rows] = 0.0
    weight, index = similarity.topk(n, dim=1)
    return torch.where(weight > 0, index, -1), weight


def _shared_partners(ppi: PPI, targets: list[str], n: int) -> tuple[Tensor, Tensor]:
    """Each target's n most similar others by the Jaccard index of their interaction partners, themselves included."""
    place = {node: index for index, node in enumerate(ppi.nodes)}
    known = np.array([target in place for target in targets])
    rows = ppi.matrix()[[place[target] for target, there in zip(targets, known, strict=True) if there]]
    closed = rows.tolil()
    for row, target in enumerate(target for target in targets if target in place):
        closed[row, place[target]] = 1.0
    closed = closed.tocsr()
    shared = (closed @ closed.T).toarray()
    sizes = shared.diagonal()
    similarity = np.zeros((len(targets), len(targets)), dtype=np.float32)
    similarity[np.ix_(known, known)] = shared / (sizes[:, None] + sizes - shared)
    return _strongest(torch.from_numpy(similarity), 0, n)
