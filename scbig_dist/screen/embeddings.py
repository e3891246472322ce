"""Vectors of genes or perturbation targets: what they hold, and how to look genes up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from scbig_dist.errors import UserError
from scbig_dist.screen import embedding_files


@dataclass(frozen=True)
class EmbeddingLookup:
    """Vectors of asked genes, zeros where there is none."""

    name: str
    vectors: Float[np.ndarray, "gene dim"]
    found: Bool[np.ndarray, " gene"]

    def coverage(self) -> str:
        """One line: how many of the asked genes have a vector."""
        return (
            f"embedding {self.name}: {int(self.found.sum())} of {len(self.found)} genes, width {self.vectors.shape[1]}"
        )


@dataclass(frozen=True)
class Embedding:
    """One vector per gene; `name` is the file's name, or a stand-in's, which says so."""

    name: str
    genes: tuple[str, ...]
    vectors: Float[np.ndarray, "gene dim"]

    def lookup(self, genes: Sequence[str]) -> EmbeddingLookup:
        """The vectors of `genes` in their order, exact symbols."""
        position = {gene: i for i, gene in enumerate(self.genes)}
        places = np.array([position.get(gene, -1) for gene in genes], dtype=np.int64)
        found = places >= 0
        vectors = np.zeros((len(genes), self.vectors.shape[1]), dtype=np.float32)
        vectors[found] = self.vectors[places[found]]
        return EmbeddingLookup(self.name, vectors, found)


def read_embedding(path: Path | str) -> Embedding:
    """Vectors from .npz, .csv/.tsv (.gz), .pt or .h5ad (`file.h5ad:key` names an entry of `varm`).

    Of a symbol that comes twice the first vector counts. Raises UserError on an unknown
    form, no vectors, rows that do not match the symbols, or values that are not finite.
    """
    name, genes, vectors = embedding_files.read(path)
    where = f"embedding {path}"
    if vectors.ndim != 2 or len(genes) != len(vectors):
        raise UserError(
            f"{where}: {len(genes)} symbols and vectors of shape {vectors.shape}; expected one row per symbol"
        )
    if vectors.size == 0:
        raise UserError(f"{where}: no vectors in it")
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        bad = genes[int(np.flatnonzero(~finite)[0])]
        raise UserError(
            f"{where}: {int((~finite).sum())} of {len(genes)} vectors are not finite, first '{bad}'; mend or leave them out"
        )
    first = {gene: i for i, gene in reversed(list(enumerate(genes)))}
    keep = sorted(first.values())
    return Embedding(name, tuple(genes[i] for i in keep), np.ascontiguousarray(vectors[keep], dtype=np.float32))


def random_embedding(genes: Sequence[str], dim: int, seed: int) -> Embedding:
    """Independent normal vectors of length 1: the stand-in that knows nothing."""
    vectors = np.random.default_rng(seed).standard_normal((len(genes), dim))
    return Embedding("random (stand-in)", tuple(genes), unit_rows(vectors).astype(np.float32))


def side_by_side(embeddings: Sequence[Embedding]) -> Embedding:
    """One vector of all that the embeddings hold of a gene, zeros where one of them lacks it; one alone is as it was."""
    if len(embeddings) == 1:
        return embeddings[0]
    genes = sorted({gene for embedding in embeddings for gene in embedding.genes})
    vectors = np.concatenate([embedding.lookup(genes).vectors for embedding in embeddings], axis=1)
    return Embedding(" + ".join(embedding.name for embedding in embeddings), tuple(genes), vectors)


def unit_rows(vectors: Float[np.ndarray, "gene dim"]) -> Float[np.ndarray, "gene dim"]:
    """Rows divided by their length; a zero row stays zero."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(length == 0, 1.0, length)
