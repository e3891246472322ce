"""Gene sets from GMT files, and their membership in a panel of genes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from scbig_dist.errors import UserError, listed
from scbig_dist.screen.textfile import open_text


@dataclass(frozen=True)
class PathwayMatrix:
    """Membership (1 or 0) of panel genes in pathways; no row where no pathway has enough panel genes."""

    names: tuple[str, ...]
    matrix: Float[np.ndarray, "pathway gene"]

    def coverage(self) -> str:
        """One line: pathways kept and panel genes in them."""
        n_covered = int((self.matrix > 0).any(axis=0).sum())
        return (
            f"pathways: {len(self.names)} with enough panel genes, {n_covered} of {self.matrix.shape[1]} genes in one"
        )


def read_pathways(path: Path | str) -> dict[str, tuple[str, ...]]:
    """Gene sets by name from GMT (.gmt, .gmt.gz): name, description, genes, separated by tabs.

    A name that comes again gets its number behind it; a gene counts once in a set.
    """
    path = Path(path)
    where = f"pathways {path}"
    pathways: dict[str, tuple[str, ...]] = {}
    with open_text(path, where) as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            name, *rest = (field.strip() for field in line.rstrip("\r\n").split("\t"))
            if len(rest) < 2 or not name:
                raise UserError(
                    f"{where}: line {number} is not GMT; expected name, description and genes, separated by tabs"
                )
            spelling, copy = name, 1
            while spelling in pathways:
                copy += 1
                spelling = f"{name} ({copy})"
            pathways[spelling] = tuple(dict.fromkeys(gene for gene in rest[1:] if gene))
    if not pathways:
        raise UserError(f"{where}: no gene set; expected GMT lines of name, description and genes, separated by tabs")
    return pathways


def pathway_matrix(
    pathways: Mapping[str, Sequence[str]], genes: Sequence[str], min_genes: int, where: str = "pathways"
) -> PathwayMatrix:
    """Pathways with at least `min_genes` of `genes`, in the order of the file; perhaps none.

    Raises UserError, which opens with `where`, if not one of `genes` is in any set: then the
    symbols are not the panel's, whatever `min_genes` is.
    """
    position = {gene: i for i, gene in enumerate(genes)}
    known = {gene for members in pathways.values() for gene in members}
    if known.isdisjoint(position):
        raise UserError(
            f"{where}: no panel gene ({listed(genes, 3)}) is in any of the {len(pathways)} gene sets, which hold "
            f"{listed(sorted(known), 3)}; give sets with the store's symbols, or leave them out (priors.pathways=null)"
        )
    names, rows = [], []
    for name, members in pathways.items():
        places = [position[gene] for gene in set(members) if gene in position]
        if len(places) >= min_genes:
            names.append(name)
            rows.append(places)
    matrix = np.zeros((len(names), len(genes)), dtype=np.float32)
    for row, places in enumerate(rows):
        matrix[row, places] = 1.0
    return PathwayMatrix(tuple(names), matrix)
