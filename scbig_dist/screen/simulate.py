"""A simulated screen with known truth.

A cell i in context c and batch b, under condition p, with total L_i:

    log m_ig = baseline_cg + batch_bg + loading_g * z_i,module(g) + e_i * effect_cpg
    counts_ig ~ NegativeBinomial(mean L_i * m_ig / sum_g m_ig, size_g)

z (activity of every module in every cell) is normal with standard deviation 0.35, so the
genes of a module co-vary; log L is normal; e is 1 with probability `efficiency`, else 0
(a guide that did not work). The truth's effects are those of a cell that responded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from scbig_dist.conditions import CONTROL
from scbig_dist.new_file import check_out, new_file
from scbig_dist.screen.cell_writer import (
    SimulationSummary,
    block_slices,
    draw_counts,
    write_screen,
)
from scbig_dist.screen.simulate_priors import check_folder, write_priors
from scbig_dist.screen.simulate_truth import CONTROL_SHARE, Recipe, Truth, check_recipe, make_truth

ACTIVITY_SD = 0.35


def simulate_screen(
    out: Path, recipe: Recipe, *, priors: Path | None = None, force: bool = False, progress: bool = True
) -> SimulationSummary:
    """Write the screen of `recipe` to `out` (.h5ad, counts in X) and, if asked, `ppi.tsv` and `pathways.gmt` to `priors`.

    `obs`: condition (`A+B` or `control`), context, batch, n_counts, n_genes. `uns['truth']`
    holds modules and effects, `uns['data_label']` is `simulated`. Equal recipes give
    equal cells. Raises UserError before anything is written.
    """
    check_out(out, force)
    check_recipe(recipe)
    if priors is not None:
        check_folder(priors, force)
    of_truth, of_cells, of_priors = np.random.SeedSequence(recipe.seed).spawn(3)
    truth = make_truth(recipe, np.random.default_rng(of_truth))
    rng = np.random.default_rng(of_cells)
    context, condition = assign_cells(recipe.n_cells, len(truth.conditions), recipe.n_contexts, rng)
    batch = rng.integers(recipe.n_batches, size=recipe.n_cells)
    library = rng.lognormal(np.log(recipe.median_library), recipe.library_sd, recipe.n_cells).astype(np.float32)
    responds = rng.random(recipe.n_cells) < recipe.efficiency
    obs = cell_table(
        condition=pd.Categorical.from_codes(condition, [*truth.conditions, CONTROL]),
        context=pd.Categorical.from_codes(context, list(truth.contexts)),
        batch=pd.Categorical.from_codes(batch, [f"batch{i + 1}" for i in range(recipe.n_batches)]),
    )
    # Control, and a cell whose guide did not work, take the row of zeros at the end.
    effects = np.concatenate([truth.effects, np.zeros_like(truth.effects[:, :1])], axis=1)
    condition = np.where(responds, condition, len(truth.conditions))

    def blocks() -> Iterator[Int[np.ndarray, "cell gene"]]:
        for cells in block_slices(recipe.n_cells, recipe.n_genes):
            z = rng.standard_normal((cells.stop - cells.start, recipe.n_modules), dtype=np.float32) * ACTIVITY_SD
            log_mean = z[:, truth.module]
            log_mean *= truth.loading
            log_mean += truth.baseline[context[cells]]
            log_mean += truth.batch_shift[batch[cells]]
            log_mean += effects[context[cells], condition[cells]]
            mean = np.exp(log_mean, out=log_mean)
            mean *= (library[cells] / mean.sum(axis=1))[:, None]
            yield draw_counts(mean, truth.size, rng)

    var = pd.DataFrame(index=pd.Index(truth.genes))
    uns = {"data_label": "simulated", "truth": truth_tree(truth, recipe)}
    with new_file(out, force) as part:
        written = write_screen(part, blocks(), obs, var, uns, progress)
    if priors is not None:
        write_priors(priors, truth, np.random.default_rng(of_priors))
    return SimulationSummary(
        path=out,
        data_label="simulated",
        n_cells=recipe.n_cells,
        n_genes=recipe.n_genes,
        n_singles=recipe.n_perturbations,
        n_doubles=recipe.doubles,
        contexts=truth.contexts,
        median_counts=float(np.median(written.totals)),
        median_detected=float(np.median(written.detected)),
    )


def assign_cells(
    n_cells: int, n_conditions: int, n_contexts: int, rng: np.random.Generator
) -> tuple[Int[np.ndarray, " cell"], Int[np.ndarray, " cell"]]:
    """Context and condition of every cell, in random order; condition `n_conditions` is control.

    Contexts get equally many cells; in each, CONTROL_SHARE of them and what does not
    divide are controls, the rest is shared equally.
    """
    context = np.sort(np.arange(n_cells) % n_contexts)
    condition = np.full(n_cells, n_conditions)
    for c in range(n_contexts):
        members = np.flatnonzero(context == c)
        each = int(len(members) * (1 - CONTROL_SHARE)) // n_conditions
        condition[members[: each * n_conditions]] = np.repeat(np.arange(n_conditions), each)
    order = rng.permutation(n_cells)
    return context[order], condition[order]


def cell_table(**columns: pd.Categorical | Float[np.ndarray, " cell"]) -> pd.DataFrame:
    """`obs` with cells named `cell0000001`."""
    table = pd.DataFrame(columns)
    table.index = pd.Index([f"cell{i + 1:07d}" for i in range(len(table))])
    return table


def truth_tree(truth: Truth, recipe: Recipe) -> dict[str, Any]:
    """The truth as `uns` keeps it; effects are (context, condition, gene), natural log."""
    return {
        "modules": truth.module,
        "module_names": np.array([f"M{k:02d}" for k in range(recipe.n_modules)]),
        "loadings": truth.loading,
        "contexts": np.array(truth.contexts),
        "conditions": np.array(truth.conditions),
        "baselines": truth.baseline,
        "effects": truth.effects,
        "interacting": truth.interacting,
        "seed": recipe.seed,
        "parameters": asdict(recipe) | {"n_doubles": recipe.doubles, "library": recipe.median_library},
    }
