"""Figures of one condition: attention shift (figure 4 of the paper), pairs of modules (table 5), cells (figure 7)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.stats import gaussian_kde

from scbig_dist.report.module_figures import MOST_MODULES, shorten
from scbig_dist.report.style import COLOURS, FAINT, INK, MARKERS, canvas, legend

DIVERGING = "RdBu_r"  # told apart by colour-blind readers, and by lightness from the middle
N_ROWS = 12
LOOK = {  # colour, line, marker: any one of them is enough
    "control": (COLOURS[6], ":", MARKERS[1]),
    "true": (COLOURS[0], "-", MARKERS[0]),
    "predicted": (COLOURS[1], "--", MARKERS[2]),
}
MASSES = (0.9, 0.5)  # of the cells within a contour
GRID = 120


def attention_figure(shift: np.ndarray, modules: pd.DataFrame) -> Figure:
    """Left, what modules (rows) take from modules (columns), predicted − control, in points; right, the largest changes.

    `shift` (module, module); `modules` as `Interpretation.modules`, with predicted rows in the order of `shift`.
    """
    own = modules[modules["cells"] == "predicted"].reset_index(drop=True)
    figure, (left, right) = canvas(9.6, 4.2, 2)
    left.grid(False)
    points = 100 * shift
    reach = float(np.abs(points).max()) or 1.0
    image = left.imshow(points, cmap=DIVERGING, vmin=-reach, vmax=reach)
    if len(own) <= MOST_MODULES:
        for set_ticks, turn in ((left.set_xticks, 90), (left.set_yticks, 0)):
            set_ticks(range(len(own)), [str(m) for m in own["module"]], fontsize=6, rotation=turn)
    left.set_title("attention among modules", loc="left")
    right.set_title("attention to a module", loc="left", pad=24)
    left.set_xlabel("attended module")
    left.set_ylabel("attending module")
    bar = figure.colorbar(image, ax=left, fraction=0.045, pad=0.02)
    bar.set_label("shift against control (percentage points)", color=INK)
    bar.ax.tick_params(labelsize=7)
    bar.outline.set_visible(False)
    largest = own["attention_change"].abs().sort_values(ascending=False, kind="stable").index[:N_ROWS][::-1]
    kinds = [kind for kind in ("true", "predicted") if (modules["cells"] == kind).any()]
    for kind in kinds:
        frame = modules[modules["cells"] == kind].reset_index(drop=True).loc[largest]
        middle, low, high = (100 * frame[f"attention_change{end}"] for end in ("", "_low", "_high"))
        _whiskers(right, middle, low, high, kind, kind_offset(kind, kinds))
    _rows(right, [module_name(row) for _, row in own.loc[largest].iterrows()])
    right.set_xlabel("change of attention to the module (%, with 95 % interval)")
    return figure


def pairs_figure(pairs: pd.DataFrame) -> Figure | None:
    """The pairs of modules whose coactivation changes most from control; None where there is no defined pair."""
    predicted = pairs[pairs["cells"] == "predicted"].dropna(subset=["change"])
    if predicted.empty:
        return None
    shown = predicted.head(N_ROWS)[::-1]
    keys = list(zip(shown["module_a"], shown["module_b"], strict=True))
    figure, (panel,) = canvas(7.6, 0.3 * len(shown) + 1.3)
    kinds = [kind for kind in ("true", "predicted") if (pairs["cells"] == kind).any()]
    for kind in kinds:
        frame = pairs[pairs["cells"] == kind].set_index(["module_a", "module_b"]).loc[keys]
        offset = kind_offset(kind, kinds)
        _whiskers(panel, frame["coactivation"], frame["low"], frame["high"], kind, offset)
        hollow = f"control, beside {kind}"
        y = np.arange(len(frame)) + offset
        panel.plot(frame["control"], y, MARKERS[1], mfc="white", mec=LOOK[kind][0], ms=5, label=hollow, zorder=2)
    _rows(panel, [f"{_module(row, 'a')} – {_module(row, 'b')}" for _, row in shown.iterrows()])
    panel.set_xlabel("coactivation: correlation of two modules over cells (95 % interval)")
    return figure


def plane_figure(points: pd.DataFrame, axes: tuple[str, str], labels: tuple[str, str]) -> Figure:
    """Density of control, true and predicted cells; a contour holds 50 or 90 % of its cells."""
    kinds = [kind for kind in LOOK if (points["cells"] == kind).any()]
    panels_of = [["control", "true"], ["control", "predicted"], ["true", "predicted"]]
    panels_of = [pair for pair in panels_of if set(pair) <= set(kinds)]
    figure, panels = canvas(3.5 * len(panels_of) + 0.4, 3.7, len(panels_of))
    span = [(points[axis].quantile(0.002), points[axis].quantile(0.998)) for axis in axes]
    limits = [(low - 0.08 * (high - low), high + 0.08 * (high - low)) for low, high in span]
    for panel, pair in zip(panels, panels_of, strict=True):
        for kind in pair:
            cloud = points.loc[points["cells"] == kind, list(axes)].to_numpy(float)
            colour, _, marker = LOOK[kind]
            panel.plot(*cloud.T, marker, color=colour, ms=2.2, mew=0, alpha=0.3, rasterized=True)
            for drawn in _contours(panel, cloud, kind, span):  # wider than the cells where they lie apart
                limits = [
                    (min(low, v.min()), max(high, v.max())) for (low, high), v in zip(limits, drawn.T, strict=True)
                ]
        lines = [
            Line2D([], [], color=LOOK[k][0], ls=LOOK[k][1], marker=LOOK[k][2], ms=4, label=f"{k} cells") for k in pair
        ]
        legend(panel, handles=lines, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
        panel.set_xlabel(labels[0])
    for panel in panels:
        panel.set_xlim(limits[0])
        panel.set_ylim(limits[1])
    panels[0].set_ylabel(labels[1])
    return figure


def module_name(row: pd.Series) -> str:
    """`M7 Cell Cycle`, or `M7` where no gene set is significant."""
    return f"M{row['module']} {shorten(row['top_term'], 34)}".rstrip()


def kind_offset(kind: str, kinds: list[str]) -> float:
    """Rows of predicted and of true cells lie beside each other."""
    return 0.0 if len(kinds) == 1 else 0.16 if kind == "predicted" else -0.16


def _module(row: pd.Series, side: str) -> str:
    return f"M{row[f'module_{side}']} {shorten(row[f'top_term_{side}'], 24)}".rstrip()


def _whiskers(panel: Axes, middle: pd.Series, low: pd.Series, high: pd.Series, kind: str, offset: float) -> None:
    colour, _, marker = LOOK[kind]
    y = np.arange(len(middle)) + offset
    panel.hlines(y, low, high, color=colour, lw=1.6)
    panel.plot(middle, y, marker, color=colour, ms=5, label=f"{kind} cells", zorder=3)


def _rows(panel: Axes, names: list[str]) -> None:
    panel.axvline(0, color=FAINT, lw=1)
    panel.set_yticks(range(len(names)), names, fontsize=7)
    panel.grid(axis="y", visible=False)
    panel.margins(y=0.04)
    handles, _ = panel.get_legend_handles_labels()
    if len(handles) > 1:
        legend(panel, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)


def _contours(panel: Axes, cloud: np.ndarray, kind: str, span: list[tuple[float, float]]) -> list[np.ndarray]:
    """Kernel density; none for a cloud without extent, whose points speak for themselves. The lines' (vertex, 2) places."""
    if len(cloud) < 5 or np.linalg.matrix_rank(cloud - cloud.mean(0)) < 2:
        return []
    density = gaussian_kde(cloud.T)
    x, y = (np.linspace(low - 0.3 * (high - low), high + 0.3 * (high - low), GRID) for low, high in span)
    height = density(np.stack([each.ravel() for each in np.meshgrid(x, y)])).reshape(GRID, GRID)
    levels = np.quantile(density(cloud.T), [1 - mass for mass in MASSES])
    if levels[0] >= levels[1]:
        return []
    lines = panel.contour(
        x, y, height, levels=levels, colors=LOOK[kind][0], linestyles=LOOK[kind][1], linewidths=(1.1, 1.9)
    )
    drawn = [np.asarray(path.vertices, dtype=float) for path in lines.get_paths()]
    return [each for each in drawn if len(each)]
