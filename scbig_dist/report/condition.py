"""The page on one condition as a trained run sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from scbig_dist.report.condition_figures import N_ROWS, attention_figure, module_name, pairs_figure, plane_figure
from scbig_dist.report.document import Document, Heading, Picture, Table, Text
from scbig_dist.report.module_figures import shorten
from scbig_dist.report.run import data_sentence
from scbig_dist.report.wording import MISSING, is_missing

READ_AS = (
    "What the model attends to is not what causes a response, and pairs that move together need not act on each other: "
    "these are hints for experiments, no findings."
)


def condition_document(
    title: str,
    data_label: str,
    counts: str,
    modules: pd.DataFrame,
    pairs: pd.DataFrame,
    attention: Mapping[str, np.ndarray] | None,
    points: pd.DataFrame,
    axes: Sequence[str],
    notes: Sequence[str],
) -> Document:
    """Tables as `Interpretation` has them; `axes` are the labels of PC1 and PC2."""
    document = Document(title)
    document.add(Text(f"Data: {data_sentence(data_label)}", "label"), Text(counts), Text(READ_AS))
    document.add(*(Text(f"{line[0].upper()}{line[1:]}.", "note") for line in notes))
    document.add(Heading("Modules that move"), shift_table(modules))
    if attention is not None:
        caption = "Attention among modules in predicted cells, less that in the control cells they are compared with."
        document.add(Heading("Attention"), attention_table(modules))
        document.add(Picture("attention", attention_figure(attention["predicted"], modules), caption))
    document.add(Heading("Modules that move together"), pairs_table(pairs))
    drawn = pairs_figure(pairs)
    caption = "The pairs whose coactivation changes most; squares: the control cells that each is compared with."
    document.add(None if drawn is None else Picture("coactivation", drawn, caption))
    document.add(Heading("Cells"))
    caption = "Principal components. Contours hold 50 and 90 % of the cells of their kind."
    document.add(Picture("cells_pca", plane_figure(points, ("PC1", "PC2"), (axes[0], axes[1])), caption))
    if "UMAP1" in points:
        caption = "UMAP of the principal components; distances between clouds mean little."
        names = ("UMAP1", "UMAP2")
        document.add(Picture("cells_umap", plane_figure(points, names, names), caption))
    return document


def shift_table(modules: pd.DataFrame) -> Table:
    """Mean activity minus control's, predicted beside true, largest predicted first."""
    caption = (
        "Mean log-normalised expression of the module's genes minus that of control cells; 95 % interval over cells."
    )
    return _by_module(modules, "shift", caption, lambda value: f"{value:+.3f}")


def attention_table(modules: pd.DataFrame) -> Table:
    caption = "Attention to the module, relative to control cells; 95 % interval over cells."
    return _by_module(modules, "attention_change", caption, lambda value: f"{100 * value:+.1f} %")


def _by_module(modules: pd.DataFrame, name: str, caption: str, write) -> Table:
    predicted = modules[modules["cells"] == "predicted"].set_index("module")
    true = modules[modules["cells"] == "true"].set_index("module")
    order = predicted[name].abs().sort_values(ascending=False, kind="stable").index[:N_ROWS]
    columns = ("module", "genes", "predicted", "true") if len(true) else ("module", "genes", "predicted")
    rows = []
    for label in order:
        groups = [predicted, true] if len(true) else [predicted]
        cells = [_between(group.loc[label], name, write) for group in groups]
        title = module_name(predicted.loc[label].rename(None).to_frame().T.assign(module=label).iloc[0])
        rows.append((title, str(predicted.loc[label, "size"]), *cells))
    more = f"The {N_ROWS} largest of {len(predicted)}. " if len(predicted) > N_ROWS else ""
    return Table(columns, tuple(rows), frozenset(columns[1:]), more + caption)


def pairs_table(pairs: pd.DataFrame, short: bool = False) -> Table:
    """Pairs of modules with their rates, the largest predicted change first; `short` is for a terminal."""
    shown = pairs[pairs["cells"] == "predicted"].head(N_ROWS)
    true = pairs[pairs["cells"] == "true"].set_index(["module_a", "module_b"])
    columns = ["pair", "coactivation", "rate > 0", "control"]
    columns += ["true cells"] if len(true) else []
    columns += [] if short else ["change", *(["true change"] if len(true) else []), "gene sets"]
    rows = []
    for row in shown.to_dict("records"):
        cells = [f"M{row['module_a']}–M{row['module_b']}", _between(row, "", _two, "coactivation")]
        cells += [_plain(row["positive_rate"]), _plain(row["control"])]
        other = true.loc[(row["module_a"], row["module_b"])] if len(true) else None
        if other is not None:
            cells.append(_between(other, "", _two, "coactivation"))
        if not short:
            cells.append(_between(row, "change", _two))
            if other is not None:
                cells.append(_between(other, "change", _two))
            cells.append(" / ".join(shorten(row[f"top_term_{side}"], 28) or MISSING for side in "ab"))
        rows.append(tuple(cells))
    caption = (
        "Coactivation: Pearson correlation of two modules' mean expression over cells, with its 95 % bootstrap interval over "
        "cells; rate > 0: share of resamples above 0; change: from control."
    )
    return Table(tuple(columns), tuple(rows), frozenset(columns[1:]) - {"gene sets"}, caption)


def _between(row, name: str, write, middle: str | None = None) -> str:
    """`0.57 (0.41 to 0.70)`."""
    value, prefix = row[middle or name], f"{name}_" if name else ""
    if is_missing(value):
        return MISSING
    low, high = row[f"{prefix}low"], row[f"{prefix}high"]
    return f"{write(value)} ({write(low)} to {write(high)})".replace("-", "−")


def _two(value: float) -> str:
    return f"{value:.2f}"


def _plain(value: float) -> str:
    return MISSING if is_missing(value) else _two(value).replace("-", "−")
