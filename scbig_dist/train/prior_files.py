"""Files of priors, looked into before a study begins: what every trial would stumble over is said once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from scbig_dist.config import Config
from scbig_dist.errors import UserError, listed
from scbig_dist.screen.embeddings import Embedding, read_embedding
from scbig_dist.screen.pathways import pathway_matrix, read_pathways
from scbig_dist.screen.textfile import read_first_lines
from scbig_dist.store.reader import Store
from scbig_dist.train.experiment import STAND_INS


def check_prior_files(configs: Iterable[Config], store: Store) -> None:
    """Raise UserError for a file that is missing, no prior, or covers no gene of the panel, or no target, of a config.

    Each file is read once; of interactions, which take seconds, only the head: a run's notes say how far they reach.
    """
    targets = sorted({target for condition in store.conditions for target in condition.targets})
    looked: set[tuple[str, str | None, int]] = set()
    for config in configs:
        priors, n_genes = config.priors, store.n_genes(config.panel.n_hvg)
        genes = store.genes[:n_genes]
        for name in ("ppi", "pathways", "gene_embedding", "target_embedding"):
            path = getattr(priors, name)
            if path is None or path in STAND_INS or (name, path, n_genes) in looked:
                continue
            looked.add((name, path, n_genes))
            if name == "ppi":
                read_first_lines(Path(path), f"PPI {path}")
            elif name == "pathways":
                pathway_matrix(read_pathways(path), genes, priors.min_genes, f"pathways {path}")
            else:
                asked, what = (genes, "panel gene") if name == "gene_embedding" else (targets, "target")
                require_cover(read_embedding(path), asked, f"priors.{name}={path}", what)


def require_cover(embedding: Embedding, asked: Sequence[str], where: str, what: str) -> None:
    """Raise UserError if not one of `asked` has a vector."""
    if not set(embedding.genes).intersection(asked):
        raise UserError(
            f"{where}: no {what} ({listed(asked, 3)}) has a vector; it holds {listed(embedding.genes, 3) or 'none'}; "
            "give vectors under the names that the store uses"
        )
