"""The look of every figure: one ink that a page can recolour, colours that colour-blind readers tell apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK = "#22272e"  # text and axes; the HTML page replaces it by its own text colour
GRID = "#9aa4ae55"
# Okabe & Ito (2008), without the yellow that is too pale on white.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
PATCH = "#e8ecf0"  # beneath black text, on a page of either kind
FAINT = "#9aa4ae"
COLOUR_MAP = "cividis"
RC: Any = {
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "pdf.fonttype": 42,
    "savefig.dpi": 200,
}


def canvas(width: float, height: float, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure of `columns` panels side by side, in inches."""
    with rc_context(RC):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(1, columns, squeeze=False)[0]
    return figure, list(axes)


def legend(axes: Axes, **options: Any) -> None:
    axes.legend(frameon=False, fontsize=8, labelcolor=INK, **options)


def save(figure: Figure, folder: Path, name: str) -> None:
    """`name.png` on white and `name.pdf` with editable text."""
    with rc_context(RC):
        figure.savefig(folder / f"{name}.png", dpi=200, facecolor="white", bbox_inches="tight")
        figure.savefig(folder / f"{name}.pdf", facecolor="white", bbox_inches="tight", metadata={"CreationDate": None})
