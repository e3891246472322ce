"""The HVG ranking of a spool: passes over the cells, then the score."""

from __future__ import annotations

import numpy as np

from scbig_dist.config import Config
from scbig_dist.errors import UserError
from scbig_dist.store import hvg
from scbig_dist.store.moments import Pass, clipped_moments, gene_moments

METHODS = {
    "seurat_v3": "seurat_v3: counts, loess of log variance on log mean (span 0.3), clipped at sqrt(cells)",
    "seurat": "seurat: dispersion of library-size-normalised expression in 20 bins of log mean",
}


def n_passes(config: Config) -> int:
    """Passes over the cells that `rank_genes` makes."""
    return 2 if config.panel.hvg_flavor == "seurat_v3" else 1


def rank_genes(cells: Pass, totals: np.ndarray, config: Config, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Genes that pass `qc.min_cells`, most variable first; and in how many kept cells each gene is detected."""
    n_cells = int(cells.kept.sum())
    if config.panel.hvg_flavor == "seurat":
        safe = np.where(totals > 0, totals, 1.0)  # an empty cell has nothing to scale
        moments = gene_moments(cells, config.data.target_sum / safe)
    else:
        moments = gene_moments(cells, None)
    passing = np.flatnonzero(moments.n_cells >= config.qc.min_cells)
    if not len(passing):
        raise UserError(
            f"{where}: no gene is detected in qc.min_cells={config.qc.min_cells} of the {n_cells} cells that pass"
            f" qc.min_genes={config.qc.min_genes} (most: {moments.n_cells.max()}): the panel is empty; lower qc.min_cells"
        )
    mean, variance = hvg.mean_and_variance(moments.sums[passing], moments.squares[passing], n_cells)
    if config.panel.hvg_flavor == "seurat":
        scores = hvg.score_seurat(mean, variance)
    else:
        deviation = hvg.expected_deviation(mean, variance)
        clip = np.full(cells.n_genes, np.inf)
        clip[passing] = hvg.clip_values(mean, deviation, n_cells)
        clipped = clipped_moments(cells, clip)
        scores = hvg.score_seurat_v3(mean, deviation, clipped.sums[passing], clipped.squares[passing], n_cells)
    return passing[hvg.rank(scores, config.panel.hvg_flavor)], moments.n_cells
