"""`scbig interpret`: one condition as a trained run sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from scbig_dist.cli.evaluate import RUN

N_ROWS = 10


def interpret(
    run: Annotated[Path, RUN],
    condition: Annotated[
        str, typer.Option("--condition", metavar="A+B", help="What to interpret: targets joined by '+'.")
    ],
    context: Annotated[str | None, typer.Option(help="Cell line or type, where the screen has several.")] = None,
    dose: Annotated[float | None, typer.Option(help="Dose, where the screen has doses.")] = None,
    gmt: Annotated[
        Path | None, typer.Option(help="Gene sets that name the modules (default: the run's priors.pathways).")
    ] = None,
    umap: Annotated[bool, typer.Option("--umap", help="A UMAP of the cells as well: half a minute more.")] = False,
    n_cells: Annotated[int, typer.Option(min=10, help="Cells of each kind, at most.")] = 256,
    seed: Annotated[int, typer.Option(min=0, help="Of the cells drawn and of the bootstrap.")] = 0,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Default: RUN/interpret/CONDITION.")
    ] = None,
) -> None:
    """Show what a condition does to gene modules: shifts, attention, pairs that move together, and its cells.

    Writes modules.csv, coactivation.csv, attention.csv, cells.csv, and interpret.md and .html with figures. Cells that the
    screen has of the condition stand beside the predicted ones.
    """
    from scbig_dist.artifacts import write_text
    from scbig_dist.cli.tables import print_table
    from scbig_dist.evaluate import find_request
    from scbig_dist.interpret.interpretation import interpret_condition
    from scbig_dist.report.condition import condition_document, pairs_table
    from scbig_dist.report.write import write_document
    from scbig_dist.train.experiment import data_label
    from scbig_dist.train.predictor import load_predictor

    predictor = load_predictor(run)
    wanted = find_request(predictor.store, condition, context, dose)
    found = interpret_condition(predictor, run, wanted, n_cells, seed, gmt, umap)
    cells, plane = found.cells, found.plane
    true = "none in the screen" if cells.true is None else f"{len(cells.true)} true (in the run's {cells.part} part)"
    document = condition_document(
        f"{wanted.name} as {run.resolve().name} sees it",
        data_label(predictor.experiment),
        f"Cells: {len(cells.predicted)} predicted, {len(cells.control)} control, {true}. "
        f"{cells.compared} Principal components: of training cells, turned to {plane.turned_to}.",
        found.modules,
        found.pairs,
        found.attention,
        plane.points,
        [f"PC{i + 1} ({100 * share:.1f} % of the variance)" for i, share in enumerate(plane.shares)],
        found.notes,
    )
    folder = output or run / "interpret" / wanted.name.replace("/", "_")
    page = write_document(document, folder, "interpret")
    tables = {"modules": found.modules, "coactivation": found.pairs, "cells": plane.points}
    if found.attention is not None:
        tables["attention"] = found.attention_table()
    for name, table in tables.items():
        write_text(folder / f"{name}.csv", table.to_csv(index=False))
    said = Console(markup=False, stderr=True, soft_wrap=True, highlight=False)
    for line in found.notes:
        said.print(f"note: {line}")
    print_table(pairs_table(found.pairs, short=True), N_ROWS)
    said.print(f"written: {folder} (read {page})")
