"""Figures of gene modules: gene sets against modules (figures 3, 9 and 10 of the paper), coherence against chance."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from scbig_dist.grc_audit import SIGNIFICANT
from scbig_dist.report.style import COLOURS, FAINT, GRID, INK, canvas, legend

MOST_MODULES = 48  # columns of a heat map that can still be read
DEEPEST = 12.0  # −log10 q where the colour ends
SEQUENTIAL = "Blues"  # white where there is nothing; one hue, so that lightness alone tells
MEASURES = {
    "correlation": "mean correlation of expression within the module",
    "ppi_density": "share of gene pairs in the module that interact",
}


def enrichment_map(table: pd.DataFrame, terms: list[str]) -> Figure | None:
    """−log10 q of gene sets (rows) in modules (columns), a dot where q < 0.05; None where there is no set to show.

    `table` has columns module, pathway, q. More than 48 modules: those with the most significant sets.
    """
    frame = table[table["pathway"].isin(terms)]
    if frame.empty:
        return None
    grid = frame.pivot(index="pathway", columns="module", values="q").loc[terms].fillna(1.0)
    if grid.shape[1] > MOST_MODULES:
        grid = grid[sorted(grid.min().nsmallest(MOST_MODULES).index.tolist())]
    depth = -np.log10(np.maximum(grid.to_numpy(float), 1e-300))
    order = _diagonal(depth)
    depth, names = depth[order], [grid.index[i] for i in order]
    figure, (panel,) = canvas(min(3.6 + 0.21 * grid.shape[1], 13), 1.1 + 0.2 * len(names))
    panel.grid(False)
    for edge in np.arange(1, grid.shape[1]) - 0.5:
        panel.axvline(edge, color=GRID, lw=0.4)
    top = max(2.0, min(DEEPEST, float(depth.max())))
    image = panel.imshow(depth, cmap=SEQUENTIAL, vmin=0, vmax=top, aspect="auto")
    rows, columns = np.nonzero(depth > -np.log10(SIGNIFICANT))
    dark = depth[rows, columns] > top / 2
    panel.scatter(columns, rows, s=7, c=np.where(dark, "white", "black"), linewidths=0)
    panel.set_xticks(range(grid.shape[1]), [str(label) for label in grid.columns], rotation=90, fontsize=7)
    panel.set_yticks(range(len(names)), [shorten(name, 52) for name in names], fontsize=7)
    panel.set_xlabel("gene module")
    ticks = "" if depth.max() <= DEEPEST else f" (colour ends at {DEEPEST:g})"
    bar = figure.colorbar(image, ax=panel, pad=0.01, fraction=0.03, aspect=30)
    bar.set_label(f"−log₁₀ q{ticks}; dot: q < {SIGNIFICANT:g}", color=INK)
    bar.ax.tick_params(labelsize=7)
    bar.outline.set_visible(False)
    return figure


def coherence_figure(coherence: pd.DataFrame) -> Figure:
    """A panel per measure: every module's value, most coherent first, with 95 % of random ones of its size."""
    measures = [name for name in MEASURES if (coherence["measure"] == name).any()]
    figure, panels = canvas(4.3 * len(measures) + 0.3, 3.3, len(measures))
    for panel, measure in zip(panels, measures, strict=True):
        own = coherence[(coherence["measure"] == measure) & (coherence["module"] != "all")].dropna(subset=["observed"])
        own = own.sort_values("observed", ascending=False, kind="stable")
        x = np.arange(len(own))
        panel.vlines(
            x, own["random_low"], own["random_high"], color=FAINT, lw=4, label="95 % of random modules of its size"
        )
        panel.plot(x, own["observed"], "o", color=COLOURS[0], ms=4.5, label="module")
        if len(own) <= MOST_MODULES:
            panel.set_xticks(x, [str(label) for label in own["module"]], rotation=90, fontsize=7)
        else:
            panel.set_xticks([])
        panel.set_xlabel("gene module, most coherent first")
        panel.set_ylabel(MEASURES[measure])
        panel.margins(x=0.02, y=0.1)
    legend(panels[0], loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, borderaxespad=0.2)
    return figure


def shorten(name: str, most: int) -> str:
    return name if len(name) <= most else name[: most - 1].rstrip() + "…"


def _diagonal(depth: np.ndarray) -> np.ndarray:
    """Rows in the order of the column where each is deepest, so that the eye finds a diagonal."""
    return np.lexsort((-depth.max(axis=1), depth.argmax(axis=1)))
