"""`scbig simulate`: a screen to try everything on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from scbig_dist.errors import UserError
from scbig_dist.screen.simulate import simulate_screen
from scbig_dist.screen.simulate_effects import LIBRARY, simulate_from_effects
from scbig_dist.screen.simulate_truth import Recipe

DESIGN = "The design (without --effects)"
CELLS = "The cells"
REAL = "Real effects instead"
# A table of real effects brings its own genes, conditions and context.
DESIGN_OPTIONS = ("genes", "perturbations", "doubles", "contexts", "modules", "batches", "interacting", "priors")


def simulate(
    context: typer.Context,
    out: Annotated[
        Path,
        typer.Argument(help="The .h5ad file to write; counts in X, the truth in uns['truth'].", show_default=False),
    ],
    cells: Annotated[
        int, typer.Option(help="Cells in all; 15 % are controls.", rich_help_panel=CELLS)
    ] = Recipe.n_cells,
    genes: Annotated[int, typer.Option(help="Genes, named G00000, G00001, …", rich_help_panel=DESIGN)] = Recipe.n_genes,
    perturbations: Annotated[
        int, typer.Option(help="Perturbed genes; each is measured as a single.", rich_help_panel=DESIGN)
    ] = Recipe.n_perturbations,
    doubles: Annotated[
        int | None,
        typer.Option(
            help="Pairs of perturbed genes, measured as doubles.",
            rich_help_panel=DESIGN,
            show_default="1.5 per perturbed gene",
        ),
    ] = None,
    contexts: Annotated[
        int,
        typer.Option(
            help="Cell lines, with baselines of their own; effects are shared, some rescaled.", rich_help_panel=DESIGN
        ),
    ] = Recipe.n_contexts,
    modules: Annotated[
        int, typer.Option(help="Gene modules that co-vary and respond together.", rich_help_panel=DESIGN)
    ] = Recipe.n_modules,
    batches: Annotated[
        int, typer.Option(help="Batches, with small shifts.", rich_help_panel=DESIGN)
    ] = Recipe.n_batches,
    interacting: Annotated[
        float, typer.Option(help="Share of doubles that are not the sum of their singles.", rich_help_panel=DESIGN)
    ] = Recipe.interacting,
    priors: Annotated[
        Path | None,
        typer.Option(
            help="Directory for ppi.tsv and pathways.gmt that fit the modules, with noise.",
            rich_help_panel=DESIGN,
            show_default="none",
        ),
    ] = None,
    efficiency: Annotated[
        float,
        typer.Option(
            help="Share of perturbed cells that respond; the others look like controls.", rich_help_panel=CELLS
        ),
    ] = Recipe.efficiency,
    library: Annotated[
        float | None,
        typer.Option(
            help="Median counts per cell (with --effects: over the whole transcriptome).",
            rich_help_panel=CELLS,
            show_default=f"8 per gene up to 12,000; with --effects {LIBRARY:,.0f}",
        ),
    ] = None,
    library_sd: Annotated[
        float, typer.Option(help="Standard deviation of the log of the counts per cell.", rich_help_panel=CELLS)
    ] = Recipe.library_sd,
    seed: Annotated[
        int, typer.Option(help="Equal seeds and options give equal cells.", rich_help_panel=CELLS)
    ] = Recipe.seed,
    effects: Annotated[
        Path | None,
        typer.Option(
            help="Real mean shifts in log1p CPM: .npz with genes_hvg, lfc_s, sing_labels, lfc_d, doub_labels. Needs --baseline.",
            rich_help_panel=REAL,
            show_default="none",
        ),
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(
            help="Real baseline: a table (.tsv, .gz) with symbol, relative_expression, expression_size.",
            rich_help_panel=REAL,
            show_default="none",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over files that exist.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Simulate a perturbation screen with known truth, or draw cells from real effects."""
    if effects is None and baseline is None:
        recipe = Recipe(
            n_cells=cells,
            n_genes=genes,
            n_perturbations=perturbations,
            n_doubles=doubles,
            n_contexts=contexts,
            n_modules=modules,
            n_batches=batches,
            interacting=interacting,
            efficiency=efficiency,
            library=library,
            library_sd=library_sd,
            seed=seed,
        )
        summary = simulate_screen(out, recipe, priors=priors, force=force, progress=not quiet)
    else:
        if effects is None or baseline is None:
            raise UserError(
                f"{'--baseline' if effects is None else '--effects'} needs {'--effects' if effects is None else '--baseline'} beside it"
            )
        for name in DESIGN_OPTIONS:
            source = context.get_parameter_source(name)
            if source is not None and source.name == "COMMANDLINE":
                raise UserError(f"--{name} does not go with --effects, which brings its own; leave it out")
        summary = simulate_from_effects(
            out,
            effects,
            baseline,
            n_cells=cells,
            seed=seed,
            library=library,
            library_sd=library_sd,
            efficiency=efficiency,
            force=force,
            progress=not quiet,
        )
    Console(markup=False, soft_wrap=True, highlight=False).print(str(summary))
