"""What is in each gene module, which gene sets it holds, and whether it holds together better than chance."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scbig_dist.errors import UserError
from scbig_dist.grc_audit import (
    SIGNIFICANT,
    WHOLE,
    coherence_table,
    cosines_within,
    enrichment,
    interactions_within,
)
from scbig_dist.interpret.partition import Partition
from scbig_dist.screen.pathways import PathwayMatrix, pathway_matrix, read_pathways
from scbig_dist.train.experiment import Experiment
from scbig_dist.train.random import generator
from scbig_dist.train.target_vectors import read_network

N_RANDOM = 200  # random partitions behind the coherence
N_RANDOM_ENRICHMENT = 20  # and behind the number of significant pairs, each with all its tests
MAX_CELLS = 2_000  # of which correlations are taken
N_TERMS = 3  # gene sets named per module
MAX_TERMS, MAX_BROAD = 32, 16  # gene sets of the two heat maps
OVERLAPPING = 0.6  # Jaccard index of the panel genes above which two gene sets say the same


@dataclass(frozen=True)
class Enrichment:
    """Gene sets against modules; genes that are in no tested set are not in the background.

    `table` as `grc_audit.enrichment` gives it. `terms` are the modules' leading sets and `broad` the largest sets (in
    Reactome its top level), one per idea. `n_random` (partition,) counts significant pairs of module and set in random
    partitions of the same sizes.
    """

    table: pd.DataFrame
    terms: list[str]
    broad: list[str]
    n_background: int
    n_random: NDArray[np.int64]

    @property
    def significant(self) -> pd.DataFrame:
        return self.table[self.table["q"] < SIGNIFICANT]


@dataclass(frozen=True)
class ModuleAudit:
    """`modules` has a row per module; `coherence` a row per measure and module, `all` for the whole partition."""

    modules: pd.DataFrame
    coherence: pd.DataFrame
    enrichment: Enrichment | None
    n_cells: int
    notes: list[str]


def audit_partition(partition: Partition, seed: int) -> ModuleAudit:
    """Enrichment against `priors.pathways`, coherence in expression and in `priors.ppi`; what has no file is left out."""
    experiment, labels = partition.experiment, partition.module_of_gene
    notes = list(partition.notes)
    sets = read_sets(experiment)
    found = None if sets is None else enrich(labels, sets, generator(seed, "random enrichment"))
    rng = generator(seed, "coherence")
    cells = partition.cells
    if len(cells) > MAX_CELLS:
        cells = np.sort(rng.choice(cells, MAX_CELLS, replace=False))
    tables = {"correlation": _correlation(experiment, labels, cells, rng)}
    if experiment.config.priors.ppi is not None:
        said: list[str] = []
        network = read_network(experiment, said)
        assert network is not None
        notes += [line for line in said if line not in notes]
        within = interactions_within(network.adjacency(experiment.genes))
        tables["ppi_density"] = coherence_table(labels, within, rng, N_RANDOM)
    coherence = pd.concat(tables, names=["measure"]).reset_index("measure").reset_index(drop=True)
    return ModuleAudit(_modules(partition, found, tables), coherence, found, len(cells), notes)


def read_sets(experiment: Experiment) -> PathwayMatrix | None:
    """The gene sets of `priors.pathways` over the panel; a UserError where none can be tested, None without a file."""
    path, least = experiment.config.priors.pathways, experiment.config.priors.min_genes
    if path is None:
        return None
    sets = pathway_matrix(read_pathways(Path(path)), experiment.genes, least, f"pathways {path}")
    if not len(sets.names):
        raise UserError(f"pathways {path}: no gene set has {least} panel genes; lower priors.min_genes")
    return sets


def enrich(labels: NDArray[np.int64], sets: PathwayMatrix, rng: np.random.Generator) -> Enrichment:
    """Hypergeometric over-representation of every set in every module, over the genes that are in a tested set.

    With all panel genes as background, modules would look enriched for merely holding well-studied genes: interactions
    and embeddings gather the unannotated ones elsewhere.
    """
    known = sets.matrix.any(axis=0)
    matrix, labels = sets.matrix[:, known], labels[known]
    table = enrichment(labels, matrix, sets.names)
    chance = [
        int((enrichment(rng.permutation(labels), matrix, sets.names)["q"] < SIGNIFICANT).sum())
        for _ in range(N_RANDOM_ENRICHMENT)
    ]
    row = {name: place for place, name in enumerate(sets.names)}
    significant = table[table["q"] < SIGNIFICANT]
    turns = significant.groupby("module").cumcount()  # every module's first term comes before any module's second
    by_turn = significant["pathway"].iloc[np.argsort(turns.to_numpy(), kind="stable")]
    largest = [sets.names[place] for place in np.argsort(-matrix.sum(1), kind="stable")]
    return Enrichment(
        table,
        _one_per_idea(by_turn.tolist(), row, matrix, MAX_TERMS),
        _one_per_idea(largest, row, matrix, MAX_BROAD),
        int(known.sum()),
        np.array(chance),
    )


def _one_per_idea(names: list[str], row: dict[str, int], matrix: NDArray[np.float32], most: int) -> list[str]:
    """At most `most` of the names in their order, those left out that share most of their genes with one before."""
    kept: list[str] = []
    for name in names:
        own = matrix[row[name]] > 0
        others = matrix[[row[other] for other in kept]] > 0
        shared = (others & own).sum(1) / np.maximum((others | own).sum(1), 1)
        if name not in kept and not (shared > OVERLAPPING).any():
            kept.append(name)
        if len(kept) == most:
            break
    return kept


def _correlation(
    experiment: Experiment, labels: NDArray[np.int64], cells: NDArray[np.int64], rng: np.random.Generator
) -> pd.DataFrame:
    """Mean Pearson correlation over cells; genes that do not vary among them have none and are left out.

    Each context is centred by itself: what tells cell lines apart would else make most genes correlate.
    """
    store = experiment.store
    expression = store.dense(cells, experiment.n_genes)
    for context in experiment.contexts:
        own = np.isin(cells, experiment.cells_of([each for each in store.conditions if each.context == context]))
        if own.any():
            expression[own] -= expression[own].mean(axis=0)
    varies = expression.any(axis=0)
    return coherence_table(labels[varies], cosines_within(expression[:, varies].T), rng, N_RANDOM)


def _modules(partition: Partition, found: Enrichment | None, tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """A row per module with genes, most significantly enriched first."""
    genes = pd.Series(partition.genes).groupby(partition.module_of_gene)
    frame = pd.DataFrame({"size": genes.size(), "genes": genes.agg(" ".join)})
    frame.index.name = "module"
    if found is not None:
        best = found.table.drop_duplicates("module").set_index("module")
        columns = {"pathway": "top_term", "overlap": "overlap", "pathway_size": "term_size", "p": "p", "q": "q"}
        frame = frame.join(best[list(columns)].rename(columns=columns))
        named = found.significant.groupby("module")["pathway"]
        frame["n_significant"] = named.size().reindex(frame.index, fill_value=0)
        frame["top_terms"] = named.agg(lambda names: "; ".join(names.head(N_TERMS))).reindex(frame.index, fill_value="")
    for measure, table in tables.items():
        own = table[table["module"] != WHOLE].set_index("module")
        for column, name in (("observed", measure), ("z", f"{measure}_z"), ("p", f"{measure}_p")):
            frame[name] = own[column].reindex(frame.index)
    order = ["q", "p"] if found is not None else ["correlation"]
    return frame.sort_values(order, ascending=found is not None, kind="stable").reset_index()
