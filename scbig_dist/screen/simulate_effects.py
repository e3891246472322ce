"""A semi-synthetic screen: real mean shifts and real baselines, drawn cells.

The table's shifts are in log1p CPM, so for baseline share b_g of all transcripts
(c_g = 1e6 * b_g) a cell that responds to perturbation p has

    CPM_pg = max((1 + c_g) * exp(shift_pg) - 1, 0)        (baseline * exp(shift) where c_g is large)
    counts_ig ~ NegativeBinomial(mean L_i * CPM_pg / 1e6, size_g)

and one that does not (probability 1 - `efficiency`), like a control, has c_g. L_i is the
cell's library over the whole transcriptome (`obs.n_umis_total`), log-normal; genes are
those of both tables. A target that the shifts do not cover but the baseline does is
added with the table's median shift of a target's own expression. Sizes below 0.1, fits to
nearly silent genes, are raised to 0.1.
"""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from scbig_dist.conditions import CONTROL, parse_perturbation
from scbig_dist.errors import UserError, no_file
from scbig_dist.new_file import check_out, new_file
from scbig_dist.screen.cell_writer import (
    SimulationSummary,
    block_slices,
    draw_counts,
    write_screen,
)
from scbig_dist.screen.simulate import assign_cells, cell_table
from scbig_dist.screen.simulate_truth import Recipe, check_cells, check_enough_cells
from scbig_dist.screen.textfile import read_first_lines

LABEL = "semi-synthetic"
MIN_SIZE = 0.1
LIBRARY = 12_000.0  # median counts of a cell in the K562 screen


@dataclass(frozen=True)
class EffectTable:
    """Mean shifts in log1p CPM; conditions are canonical (`A+B`, sorted)."""

    conditions: tuple[str, ...]
    genes: tuple[str, ...]
    shifts: Float[np.ndarray, "condition gene"]


def simulate_from_effects(
    out: Path,
    effects: Path,
    baseline: Path,
    *,
    n_cells: int = Recipe.n_cells,
    seed: int = Recipe.seed,
    library: float | None = None,
    library_sd: float = Recipe.library_sd,
    efficiency: float = Recipe.efficiency,
    context: str = "K562",
    force: bool = False,
    progress: bool = True,
) -> SimulationSummary:
    """Write the screen of an effect table (.npz) and a baseline table (.tsv, .gz) to `out` (.h5ad, counts in X).

    `uns['data_label']` is `semi-synthetic`; `uns['truth']` holds the shifts used. Raises
    UserError before anything is written.
    """
    check_out(out, force)
    check_cells(library, library_sd, efficiency)
    if seed < 0:
        raise UserError(f"--seed {seed}: at least 0")
    median_library = LIBRARY if library is None else library
    table, expression = combine(
        read_effects(effects), read_baseline(baseline), f"--effects {effects} --baseline {baseline}"
    )
    check_enough_cells(n_cells, len(table.conditions), 1)
    rng = np.random.default_rng(seed)
    _, condition = assign_cells(n_cells, len(table.conditions), 1, rng)
    totals = rng.lognormal(np.log(median_library), library_sd, n_cells)
    responds = rng.random(n_cells) < efficiency
    obs = cell_table(
        condition=pd.Categorical.from_codes(condition, [*table.conditions, CONTROL]),
        context=pd.Categorical([context] * n_cells),
        n_umis_total=np.round(totals),
    )
    rest = expression["relative_expression"].to_numpy(np.float64)
    size = expression["expression_size"].clip(lower=MIN_SIZE).to_numpy(np.float32)
    perturbed = np.maximum((1e-6 + rest) * np.exp(table.shifts) - 1e-6, 0.0)
    share = np.concatenate([perturbed, rest[None]]).astype(np.float32)
    row = np.where(responds, condition, len(table.conditions))
    n_genes = len(table.genes)

    def blocks() -> Iterator[Int[np.ndarray, "cell gene"]]:
        for cells in block_slices(n_cells, n_genes):
            yield draw_counts(share[row[cells]] * totals[cells, None].astype(np.float32), size, rng)

    uns = {
        "data_label": LABEL,
        "truth": {
            "conditions": np.array(table.conditions),
            "effects": table.shifts.astype(np.float32),
            "seed": seed,
            "parameters": {
                "effects": effects.name,
                "baseline": baseline.name,
                "n_cells": n_cells,
                "library": median_library,
                "library_sd": library_sd,
                "efficiency": efficiency,
            },
        },
    }
    with new_file(out, force) as part:
        written = write_screen(part, blocks(), obs, pd.DataFrame(index=pd.Index(table.genes)), uns, progress)
    n_singles = sum("+" not in name for name in table.conditions)
    return SimulationSummary(
        path=out,
        data_label=LABEL,
        n_cells=n_cells,
        n_genes=n_genes,
        n_singles=n_singles,
        n_doubles=len(table.conditions) - n_singles,
        contexts=(context,),
        median_counts=float(np.median(written.totals)),
        median_detected=float(np.median(written.detected)),
    )


def read_effects(path: Path) -> EffectTable:
    """Arrays `lfc_s` (single, gene), `sing_labels`, `genes_hvg`, and for doubles `lfc_d`, `doub_labels`."""
    where = f"--effects {path}"
    if not path.is_file():
        raise UserError(f"{where}: {no_file(path, 'check its name')}")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, AttributeError, TypeError):
        raise UserError(f"{where}: not an .npz of plain arrays; write it with numpy.savez") from None
    asked = ["genes_hvg", "lfc_s", "sing_labels"]
    asked += ["lfc_d", "doub_labels"] if {"lfc_d", "doub_labels"} & set(arrays) else []
    missing = [name for name in asked if name not in arrays]
    if missing:
        raise UserError(f"{where}: no array {', '.join(missing)}; it holds {', '.join(sorted(arrays)) or 'nothing'}")
    genes = [str(gene) for gene in np.ravel(arrays["genes_hvg"])]
    labels: list[str] = []
    shifts = []
    for values, names in (("lfc_s", "sing_labels"), ("lfc_d", "doub_labels")):
        if values not in asked:
            continue
        matrix, own = arrays[values], np.ravel(arrays[names])
        if matrix.shape != (len(own), len(genes)):
            raise UserError(
                f"{where}: {values} has shape {matrix.shape}; {names} and genes_hvg make it {(len(own), len(genes))}"
            )
        if not np.issubdtype(matrix.dtype, np.number) or not np.isfinite(matrix).all():
            raise UserError(
                f"{where}: {values} has values that are not finite numbers; mend or leave those conditions out"
            )
        labels += [parse_perturbation(str(name)) for name in own]
        shifts.append(np.asarray(matrix, dtype=np.float64))
    for what, names_found in (("conditions", labels), ("genes", genes)):
        twice = [name for name, count in Counter(names_found).items() if count > 1]
        if twice:
            raise UserError(f"{where}: {what} named twice: {', '.join(twice[:5])}; keep one of each")
    if not labels or CONTROL in labels:
        raise UserError(f"{where}: {'a row is labelled control; leave it out' if labels else 'no conditions'}")
    return EffectTable(tuple(labels), tuple(genes), np.concatenate(shifts))


def read_baseline(path: Path) -> pd.DataFrame:
    """Columns `symbol` (index; of a symbol that comes twice the most expressed), `relative_expression`, `expression_size`."""
    where = f"--baseline {path}"
    header = read_first_lines(path, where)[0]
    try:
        table = pd.read_csv(path, sep="\t" if "\t" in header else ",", dtype={"symbol": str})
    except (pd.errors.ParserError, UnicodeDecodeError, OSError, EOFError) as error:
        raise UserError(f"{where}: not a table ({str(error).splitlines()[0]})") from None
    numbers = ["relative_expression", "expression_size"]
    missing = [name for name in ("symbol", *numbers) if name not in table.columns]
    if missing:
        raise UserError(f"{where}: no column {', '.join(missing)}; columns: {', '.join(map(str, table.columns[:10]))}")
    table = table.dropna(subset=["symbol"])
    values = table[numbers].apply(pd.to_numeric, errors="coerce")
    bad = ~(np.isfinite(values) & (values > 0)).all(axis=1).to_numpy()
    if bad.any():
        raise UserError(
            f"{where}: {int(bad.sum())} genes without positive {' and '.join(numbers)}, first '{table.symbol[bad].iloc[0]}'"
        )
    table = table.assign(**{name: values[name] for name in numbers}).sort_values("relative_expression", ascending=False)
    return table.drop_duplicates("symbol").set_index("symbol")[numbers]


def combine(table: EffectTable, expression: pd.DataFrame, where: str) -> tuple[EffectTable, pd.DataFrame]:
    """Both tables over their common genes, then the targets that only the baseline has."""
    known = np.flatnonzero(np.isin(table.genes, expression.index))
    if not len(known):
        raise UserError(f"{where}: no gene in common; both need the same kind of gene symbols")
    genes = [table.genes[i] for i in known]
    targets = [set(name.split("+")) for name in table.conditions]
    added = sorted(set().union(*targets).intersection(expression.index).difference(genes))
    shifts = np.concatenate([table.shifts[:, known], np.zeros((len(targets), len(added)))], axis=1)
    position = {gene: i for i, gene in enumerate(genes)}
    on_target = [shifts[row, position[t]] for row, hit in enumerate(targets) for t in hit if t in position]
    own = float(np.median(on_target)) if on_target else 0.0
    for column, gene in enumerate(added, start=len(genes)):
        shifts[[gene in hit for hit in targets], column] = own
    genes += added
    return EffectTable(table.conditions, tuple(genes), shifts), expression.loc[genes]
