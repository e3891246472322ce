"""What gene modules are worth: pathway enrichment, and coherence against chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control, hypergeom


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
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    observed = _mean_cosine(module_of_gene, unit)
    random = np.array([_mean_cosine(rng.permutation(module_of_gene), unit) for _ in range(n_random)])
    p = (1 + int((random >= observed).sum())) / (1 + n_random)
    return Coherence(observed, float(random.mean()), float(random.std(ddof=1)), p)


def _mean_cosine(module_of_gene: np.ndarray, unit: np.ndarray) -> float:
    """Over all pairs within modules: Σ_k (‖Σ u‖² − Σ‖u‖²) ÷ Σ_k n(n−1); nan where no module has two genes."""
    _, row, sizes = np.unique(module_of_gene, return_inverse=True, return_counts=True)
    sums = np.zeros((len(sizes), unit.shape[1]))
    np.add.at(sums, row, unit)
    n_pairs = float((sizes * (sizes - 1.0)).sum())
    return float((np.square(sums).sum() - np.square(unit).sum()) / n_pairs) if n_pairs else float("nan")
