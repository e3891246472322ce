"""Vectors of genes by the pathways that they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import sparse

from scbig_dist.screen.embeddings import Embedding, unit_rows
from scbig_dist.screen.ppi import leading_eigenvectors

SIZES = (5, 500)  # genes of a pathway that says something about its members


def pathway_embedding(pathways: Mapping[str, Sequence[str]], dim: int, seed: int) -> Embedding:
    """Latent semantic analysis of membership: genes of the same pathways have vectors of the same direction.

    Pathways of 5 to 500 genes, each weighing log(genes ÷ its genes); rows of length 1 before and after the projection
    on the `dim` leading directions, at most as many as there are pathways.
    """
    sets = [sorted(set(members)) for members in pathways.values() if SIZES[0] <= len(set(members)) <= SIZES[1]]
    genes = sorted({gene for members in sets for gene in members})
    if not sets:
        return Embedding("pathways (stand-in)", (), np.zeros((0, dim), dtype=np.float32))
    position = {gene: row for row, gene in enumerate(genes)}
    rows = [position[gene] for members in sets for gene in members]
    columns = np.repeat(np.arange(len(sets)), [len(members) for members in sets])
    weights = np.array([1e-6 + np.log(len(genes) / len(members)) for members in sets])[columns]
    member = sparse.csr_array((weights, (rows, columns)), shape=(len(genes), len(sets)))
    length = np.sqrt(np.asarray(member.multiply(member).sum(axis=1)).ravel())
    member = (sparse.diags_array(1 / length) @ member).tocsr()
    directions = leading_eigenvectors((member.T @ member).tocsr(), min(dim, len(sets)), seed)
    return Embedding("pathways (stand-in)", tuple(genes), unit_rows(member @ directions).astype(np.float32))
