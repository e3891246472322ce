"""What gene modules are worth: pathway enrichment, and coherence against chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp
from scipy.stats import false_discovery_control, hypergeom

WHOLE = "all"
SIGNIFICANT = 0.05  # Benjamini–Hochberg
Within = Callable[[np.ndarray, int], np.ndarray]
"""From the row of every gene's module and the number of modules to a sum over each module's pairs of genes."""


def enrichment(module_of_gene: np.ndarray, pathways: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    """Hypergeometric over-representation of every pathway in every module.

    `pathways` is 0/1 (pathway, gene) over the same genes, which are the background.
    One row per module and pathway, most significant first: module, pathway, overlap,
    expected, module_size, pathway_size, p, q (Benjamini–Hochberg over all rows).
    """
    member = pathways.astype(bool)
    n_genes = member.shape[1]
    assert len(names) == len(member) and len(module_of_gene) == n_genes
    modules, row = np.unique(module_of_gene, return_inverse=True)
    one_hot = np.zeros((n_genes, len(modules)))
    one_hot[np.arange(n_genes), row] = 1
    overlap = np.rint(member @ one_hot).astype(np.int64)  # (pathway, module)
    module_size = np.bincount(row)[None, :].repeat(len(member), 0)
    pathway_size = member.sum(1)[:, None].repeat(len(modules), 1)
    p = hypergeom.sf(overlap - 1, n_genes, pathway_size, module_size)
    table = pd.DataFrame(
        {
            "module": np.tile(modules, len(member)),
            "pathway": np.repeat(np.asarray(names, dtype=object), len(modules)),
            "overlap": overlap.ravel(),
            "expected": (pathway_size * module_size / n_genes).ravel(),
            "module_size": module_size.ravel(),
            "pathway_size": pathway_size.ravel(),
            "p": p.ravel(),
            "q": false_discovery_control(np.clip(p.ravel(), 0, 1)) if p.size else p.ravel(),
        }
    )
    return table.sort_values(["p", "module"], kind="stable", ignore_index=True)


@dataclass(frozen=True)
class Coherence:
    """Mean similarity of genes that share a module, against random partitions of the same sizes."""

    observed: float
    random_mean: float
    random_sd: float
    p: float
    """Share of random partitions at least as coherent, (1 + count) / (1 + partitions)."""


def coherence(
    module_of_gene: np.ndarray, vectors: np.ndarray, rng: np.random.Generator, n_random: int = 200
) -> Coherence:
    """Mean cosine of `vectors` (gene, feature) over pairs of genes in one module.

    With standardised expression as vectors (genes × cells) the cosine is the Pearson
    correlation over cells.
    """
    whole = coherence_table(module_of_gene, cosines_within(vectors), rng, n_random).iloc[0]
    return Coherence(*(float(whole[name]) for name in ("observed", "random_mean", "random_sd", "p")))


def coherence_table(
    module_of_gene: np.ndarray, within: Within, rng: np.random.Generator, n_random: int = 200
) -> pd.DataFrame:
    """Mean of a similarity over pairs of genes in one module, against random partitions of the same sizes.

    The first row, module `all`, is over the pairs of all modules, the others each over their own. Columns: module,
    n_genes, observed, random_mean, random_sd, random_low and random_high (95 % of them between), z, p (one-sided,
    (1 + count) / (1 + n_random), by row). NaN where a module has one gene, z also where the random ones do not differ.
    """
    modules, row, sizes = np.unique(module_of_gene, return_inverse=True, return_counts=True)
    n_pairs = sizes * (sizes - 1.0) / 2
    n_pairs = np.concatenate([[n_pairs.sum()], n_pairs])
    n_pairs[n_pairs == 0] = np.nan

    def means(labels: np.ndarray) -> np.ndarray:
        sums = within(labels, len(modules))
        return np.concatenate([[sums.sum()], sums]) / n_pairs

    observed = means(row)
    random = np.array([means(rng.permutation(row)) for _ in range(n_random)])
    random_mean, random_sd = random.mean(0), random.std(0, ddof=1)
    low, high = np.quantile(random, [0.025, 0.975], axis=0)
    p = (1 + (random >= observed).sum(0)) / (1 + n_random)
    # Partitions that do not differ (one module of all genes) may still do so in their last digits.
    differ = random_sd > 1e-9 * np.maximum(np.abs(random_mean), 1e-12)
    return pd.DataFrame(
        {
            "module": [WHOLE, *modules.tolist()],
            "n_genes": [int(sizes.sum()), *sizes.tolist()],
            "observed": observed,
            "random_mean": random_mean,
            "random_sd": random_sd,
            "random_low": low,
            "random_high": high,
            "z": np.divide(observed - random_mean, random_sd, out=np.full(len(observed), np.nan), where=differ),
            "p": np.where(np.isnan(observed), np.nan, p),
        }
    )


def cosines_within(vectors: np.ndarray) -> Within:
    """Sums of cosines of `vectors` (gene, feature): (‖Σ u‖² − Σ‖u‖²) ÷ 2 for the unit vectors of a module."""
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    square = np.square(unit).sum(1)
    genes = np.arange(len(unit))

    def within(row: np.ndarray, n_modules: int) -> np.ndarray:
        members = sp.csr_array((np.ones(len(row), unit.dtype), (row, genes)), shape=(n_modules, len(row)))
        sums = np.square(members @ unit).sum(1, dtype=np.float64)
        return (sums - np.bincount(row, square, n_modules)) / 2

    return within


def interactions_within(adjacency: sp.csr_matrix | sp.csr_array) -> Within:
    """Numbers of interactions; `adjacency` (gene, gene) is symmetric with an empty diagonal."""
    first, second = sp.triu(adjacency, 1).nonzero()

    def within(row: np.ndarray, n_modules: int) -> np.ndarray:
        shared = row[first] == row[second]
        return np.bincount(row[first][shared], minlength=n_modules).astype(np.float64)

    return within
