"""Protein interactions: who works with whom, from a STRING-like edge list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy import sparse
from scipy.linalg import eigh
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import eigsh

from scbig_dist.errors import UserError
from scbig_dist.screen.embeddings import Embedding, unit_rows
from scbig_dist.screen.textfile import is_number, read_first_lines, split_fields

SYMBOL_COLUMNS = (("a", "b"), ("protein1", "protein2"), ("gene1", "gene2"), ("node1", "node2"), ("source", "target"))
SCORE_COLUMNS = ("combined_score", "combinedscore", "score", "weight")
DENSE_BELOW = 500  # nodes under which all eigenvectors are cheaper than Lanczos


@dataclass(frozen=True)
class PPI:
    """An undirected binary graph over gene symbols; every edge once (first < second), no self loops."""

    name: str
    threshold: float
    nodes: tuple[str, ...]
    edges: Int[np.ndarray, "edge 2"]

    def matrix(self) -> sparse.csr_array:
        """The whole graph: float32, symmetric, (node, node)."""
        first, second = self.edges.T
        half = sparse.coo_array(
            (np.ones(len(self.edges), np.float32), (first, second)), shape=(len(self.nodes), len(self.nodes))
        )
        return (half + half.T).tocsr()

    def adjacency(self, genes: Sequence[str]) -> sparse.csr_matrix:
        """Interactions among `genes`: bool, symmetric, empty diagonal, (gene, gene) in the given order."""
        position = {gene: i for i, gene in enumerate(genes)}
        place = np.array([position.get(node, -1) for node in self.nodes], dtype=np.int64)
        ends = place[self.edges]
        ends = ends[(ends >= 0).all(axis=1)]
        rows, columns = np.concatenate([ends, ends[:, ::-1]]).T
        shape = (len(genes), len(genes))
        return sparse.csr_matrix((np.ones(len(rows), dtype=bool), (rows, columns)), shape=shape)

    def coverage(self, genes: Sequence[str]) -> str:
        """One line: how much of `genes` the graph knows."""
        n_known = len(set(self.nodes).intersection(genes))
        n_edges = self.adjacency(genes).nnz // 2
        return (
            f"PPI {self.name} at {self.threshold:g}: {n_known} of {len(genes)} genes, {n_edges} interactions among them "
            f"(whole graph {len(self.nodes)} genes, {len(self.edges)} interactions)"
        )

    def spectral(self, dim: int, seed: int) -> Embedding:
        """Spectral embedding of the largest connected component of the whole graph, rows of length 1.

        The eigenvectors of D^-1/2 A D^-1/2 with the largest eigenvalues, the trivial one
        left out; at most one fewer than the component has genes.
        """
        n_parts, labels = connected_components(self.matrix(), directed=False)
        members = np.flatnonzero(labels == np.bincount(labels, minlength=n_parts).argmax())
        component = self.matrix()[members][:, members].astype(np.float64)
        scale = sparse.diags_array(1.0 / np.sqrt(component.sum(axis=1)))
        vectors = leading_eigenvectors((scale @ component @ scale).tocsr(), dim + 1, seed)[:, 1:]
        genes = tuple(self.nodes[i] for i in members)
        return Embedding("spectral (stand-in)", genes, unit_rows(vectors).astype(np.float32))


def leading_eigenvectors(matrix: sparse.csr_array, k: int, seed: int) -> Float[np.ndarray, "node k"]:
    """Eigenvectors of the k largest eigenvalues, largest first; each one's largest entry is positive."""
    n = matrix.shape[0]
    if n < DENSE_BELOW or k >= n - 1:
        first = max(n - k, 0)
        values, vectors = eigh(matrix.toarray(), subset_by_index=[first, n - 1])
    else:
        start = np.random.default_rng(seed).standard_normal(n)
        values, vectors = eigsh(matrix, k=k, which="LA", v0=start, ncv=min(n, 3 * k), tol=1e-6)
    vectors = vectors[:, np.argsort(values)[::-1]]
    peaks = vectors[np.abs(vectors).argmax(axis=0), np.arange(vectors.shape[1])]
    return vectors * np.sign(peaks)


def read_ppi(path: Path | str, threshold: float) -> PPI:
    """Edges with score >= threshold from a table of two symbol columns and a score (.tsv, .txt, .csv, .gz).

    Columns a/b, protein1/protein2 or the first two; the score is `combined_score` or the
    last numeric column. A table of two columns has no score: every row is an edge.
    """
    path = Path(path)
    where = f"PPI {path}"
    table = read_table(path, where)
    names = [str(column).lower().lstrip("#") for column in table.columns]
    a, b = next((pair for pair in SYMBOL_COLUMNS if set(pair) <= set(names)), names[:2])
    pairs = table.iloc[:, [names.index(a), names.index(b)]].astype(str).apply(lambda column: column.str.strip())
    if table.shape[1] > 2:
        scores = score_column(table, names, where)
        best = float(np.nanmax(scores))
        pairs = pairs[scores >= threshold]
        if pairs.empty:
            raise UserError(
                f"{where}: no interaction has a score of {threshold:g} or more (highest: {best:g}); lower priors.ppi_threshold"
            )
    pairs = pairs[(pairs.iloc[:, 0] != pairs.iloc[:, 1]) & ~(pairs == "nan").any(axis=1) & (pairs != "").all(axis=1)]
    if pairs.empty:
        raise UserError(f"{where}: no interaction between two different genes; expected two columns of gene symbols")
    nodes, codes = np.unique(pairs.to_numpy(dtype=str), return_inverse=True)
    edges = np.unique(np.sort(codes.reshape(-1, 2), axis=1), axis=0)
    return PPI(path.name, float(threshold), tuple(nodes.tolist()), edges.astype(np.int64))


def read_table(path: Path, where: str) -> pd.DataFrame:
    """The edge list as text and numbers, its header found or made up."""
    lines = read_first_lines(path, where)
    separator = "\t" if "\t" in lines[0] else "," if "," in lines[0] else r"\s+"
    try:
        header = 0 if is_header(split_fields(lines[0], separator)) else None
        table = pd.read_csv(path, sep=separator, header=header, dtype={0: str, 1: str}, keep_default_na=False)
    except (pd.errors.ParserError, UnicodeDecodeError, OSError, EOFError) as error:
        raise UserError(f"{where}: not a table of interactions ({str(error).splitlines()[0]})") from None
    if table.shape[1] < 2:
        raise UserError(
            f"{where}: one column; expected two of gene symbols and a score, separated by tabs, spaces or commas"
        )
    if table.empty:
        raise UserError(f"{where}: no rows; expected two columns of gene symbols and a score")
    return table


def is_header(fields: list[str]) -> bool:
    """True where the first line names columns: known names, or no number where a score would be."""
    if any(set(pair) <= set(fields) for pair in SYMBOL_COLUMNS) or set(SCORE_COLUMNS) & set(fields):
        return True
    return len(fields) > 2 and not any(is_number(field) for field in fields[2:])


def score_column(table: pd.DataFrame, names: list[str], where: str) -> Float[np.ndarray, " row"]:
    """The combined score, or the last column of numbers."""
    named = [names.index(name) for name in SCORE_COLUMNS if name in names]
    candidates = named[:1] or list(range(table.shape[1] - 1, 1, -1))
    for index in candidates:
        scores = pd.to_numeric(table.iloc[:, index], errors="coerce").to_numpy(dtype=np.float64)
        if np.isfinite(scores).all():
            return scores
    if named:
        row = int(np.flatnonzero(~np.isfinite(scores))[0])
        value = table.iloc[row, named[0]]
        raise UserError(
            f"{where}: column '{table.columns[named[0]]}' has {value!r} in data row {row + 1}; scores are numbers"
        )
    raise UserError(
        f"{where}: no column of numbers; expected a score such as combined_score, columns: {', '.join(map(str, table.columns))}"
    )
