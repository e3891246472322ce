"""Highly variable genes: scanpy's two rankings from moments that a stream can gather.

Both functions return one score per gene, higher is more variable. They follow scanpy's
`highly_variable_genes` (1.11) operation by operation, so that ranks agree down to ties.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from skmisc.loess import loess

from scbig_dist.errors import UserError

SPAN = 0.3
N_BINS = 20


def mean_and_variance(sums: np.ndarray, squares: np.ndarray, n_cells: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and unbiased variance per gene."""
    mean = sums / n_cells
    variance = squares / n_cells - (sums / n_cells) ** 2
    if n_cells > 1:
        variance *= n_cells / (n_cells - 1)
    return mean, variance


def expected_deviation(mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """seurat_v3: standard deviation that a gene of this mean is expected to have (loess, log scale)."""
    varies = variance > 0
    estimate = np.zeros(len(mean))
    if varies.any():
        try:
            model = loess(np.log10(mean[varies]), np.log10(variance[varies]), span=SPAN, degree=2)
            model.fit()
        except ValueError as error:
            reason = " ".join(str(error).split())[:100]
            raise UserError(
                f"panel.hvg_flavor=seurat_v3: the trend over {int(varies.sum())} genes cannot be fitted ({reason});"
                " use panel.hvg_flavor=seurat, or another qc.min_cells (scarcely detected genes spoil the fit)"
            ) from None
        estimate[varies] = model.outputs.fitted_values
    return np.sqrt(10**estimate)


def clip_values(mean: np.ndarray, deviation: np.ndarray, n_cells: int) -> np.ndarray:
    """seurat_v3: the largest count of each gene that enters its score."""
    return deviation * np.sqrt(n_cells) + mean


def score_seurat_v3(
    mean: np.ndarray, deviation: np.ndarray, clipped_sums: np.ndarray, clipped_squares: np.ndarray, n_cells: int
) -> np.ndarray:
    """Variance of the standardised, clipped counts."""
    scale = 1 / ((n_cells - 1) * np.square(deviation))
    return scale * ((n_cells * np.square(mean)) + clipped_squares - 2 * clipped_sums * mean)


def score_seurat(mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Dispersion of library-size-normalised expression, standardised within 20 bins of log mean."""
    mean = np.where(mean == 0, 1e-12, mean)
    dispersion = variance / mean
    dispersion[dispersion == 0] = np.nan
    table = pd.DataFrame({"dispersion": np.log(dispersion), "mean": np.log1p(mean)})
    table["bin"] = pd.cut(table["mean"], bins=N_BINS)
    bins = table.groupby("bin", observed=True)["dispersion"].agg(centre="mean", spread="std")
    alone = bins["spread"].isna()  # one gene in the bin: its score is 1
    bins.loc[alone, "spread"] = bins.loc[alone, "centre"]
    bins.loc[alone, "centre"] = 0
    per_gene = bins.loc[table["bin"]].set_index(table.index)
    return ((table["dispersion"] - per_gene["centre"]) / per_gene["spread"]).to_numpy()


def rank(scores: np.ndarray, flavor: str) -> np.ndarray:
    """Gene positions, most variable first; genes without a score come last.

    seurat_v3 sorts as scanpy does, equal scores included; `seurat` keeps equal scores in file order.
    """
    if flavor == "seurat_v3":
        return np.argsort(-scores)
    return np.argsort(-np.nan_to_num(scores, nan=-np.inf), kind="stable")
