"""The page on a partition of genes into modules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from scbig_dist.grc_audit import SIGNIFICANT
from scbig_dist.report.document import Document, Heading, Picture, Table, Text
from scbig_dist.report.module_figures import coherence_figure, enrichment_map, shorten
from scbig_dist.report.run import data_sentence
from scbig_dist.report.wording import MISSING, is_missing, number

MOST_ROWS = 32
SHORT = {"correlation": "corr. z", "ppi_density": "PPI z"}
COLUMNS = {"correlation": "correlation (z)", "ppi_density": "PPI density (z)"}
NAMES = {"correlation": "mean correlation of expression", "ppi_density": "share of gene pairs that interact"}


def modules_document(
    name: str,
    data_label: str,
    modules: pd.DataFrame,
    coherence: pd.DataFrame,
    enrichment: pd.DataFrame | None,
    terms: Mapping[str, Sequence[str]],
    chance: Sequence[int],
    notes: Sequence[str],
) -> Document:
    """Tables as `ModuleAudit` has them; `terms` are the gene sets of the heat maps by the figures' names."""
    document = Document(f"Gene modules of {name}")
    document.add(Text(f"Data: {data_sentence(data_label)}", "label"))
    document.add(*(Text(f"{line[0].upper()}{line[1:]}.", "note") for line in notes))
    document.add(Heading("Do they hold together?"), *(Text(line) for line in coherence_lines(coherence)))
    document.add(Picture("coherence", coherence_figure(coherence), "Modules beside random ones of the same size."))
    if enrichment is not None:
        document.add(Heading("What do they hold?"), Text(enrichment_line(enrichment, chance)))
        captions = {
            "enrichment": "The leading gene sets of the modules, sets that repeat another left out.",
            "enrichment_broad": "The largest gene sets of the file.",
        }
        for figure, shown in terms.items():
            drawn = enrichment_map(enrichment, list(shown))
            document.add(None if drawn is None else Picture(figure, drawn, captions[figure]))
    document.add(Heading("Modules"), modules_table(modules))
    return document


def modules_table(modules: pd.DataFrame, short: bool = False) -> Table:
    """The first modules of the table, most significantly enriched (else most correlated) first.

    `short`, for a terminal: of the measures only how far they are from chance.
    """
    measures = [name for name in COLUMNS if name in modules]
    columns = ["module", "genes", *((SHORT if short else COLUMNS)[name] for name in measures)]
    with_terms = "top_term" in modules
    columns += ["q", "overlap", "gene set"] if with_terms else []
    rows = []
    for row in modules.head(MOST_ROWS).to_dict("records"):
        cells = [f"M{row['module']}", str(row["size"])]
        far = [_far(row[f"{name}_z"]) for name in measures]
        cells += far if short else [f"{number(row[name])} ({z})" for name, z in zip(measures, far, strict=True)]
        if with_terms:
            known = not is_missing(row["q"])
            cells.append(f"{row['q']:.0e}" if known else MISSING)
            cells.append(f"{row['overlap']:.0f} of {row['term_size']:.0f}" if known else MISSING)
            name = shorten(row["top_term"], 60) if known else MISSING
            cells.append(name if not known or row["q"] < SIGNIFICANT else f"({name})")
        rows.append(tuple(cells))
    more = f"The first {MOST_ROWS} of {len(modules)}. " if len(modules) > MOST_ROWS else ""
    caption = f"{more}z: against random modules of the same size."
    caption += (
        f" Gene set: the most significant one, in brackets where q is {SIGNIFICANT:g} or more." if with_terms else ""
    )
    return Table(tuple(columns), tuple(rows), frozenset(columns[1:-1] if with_terms else columns[1:]), caption)


def _far(z: float) -> str:
    return MISSING if is_missing(z) else f"{z:.1f}".replace("-", "−")


def coherence_lines(coherence: pd.DataFrame) -> list[str]:
    """A line per measure over all modules."""
    whole = coherence[coherence["module"] == "all"]
    return [
        f"{NAMES[row['measure']][0].upper()}{NAMES[row['measure']][1:]} within modules: {number(row['observed'])}; random "
        f"partitions of the same sizes {number(row['random_mean'])} ± {number(row['random_sd'])} "
        f"(z {_far(row['z'])}, p {number(row['p'])})."
        for row in whole.to_dict("records")
    ]


def enrichment_line(enrichment: pd.DataFrame, chance: Sequence[int]) -> str:
    """What is significant, and what would be in random partitions."""
    significant = enrichment[enrichment["q"] < SIGNIFICANT]
    return (
        f"Pairs of module and gene set with q < {SIGNIFICANT:g}: {len(significant)} (hypergeometric, Benjamini–Hochberg over "
        f"{len(enrichment)} tests); gene sets: {significant['pathway'].nunique()}, modules: {significant['module'].nunique()}. "
        f"Random partitions of the same sizes: {number(float(np.mean(chance)))} pairs on average (at most {max(chance)})."
    )
