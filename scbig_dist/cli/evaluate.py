"""`scbig evaluate` and `scbig predict`: scores and cells of a trained run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from scbig_dist.errors import UserError

RUN = typer.Argument(help="A finished run, as 'scbig train … -o RUN' wrote it.")


def evaluate(run: Annotated[Path, RUN]) -> None:
    """Score a run on its test conditions, beside the baselines and the noise ceiling.

    Writes RUN/scores.json, RUN/scores_meta.json and RUN/conditions.parquet.
    """
    from scbig_dist.evaluate import LATENT_CEILING, evaluate_run, print_scores

    scores = evaluate_run(run)
    meta = json.loads((run / "scores_meta.json").read_text())
    n_test = meta["n_conditions"]["test"]
    print_scores({**scores, LATENT_CEILING: meta["latent_ceiling"]}, meta["data_label"], f"{n_test} test conditions")
    for name, table in meta["part_scores"].items():
        print_scores(table, meta["data_label"], f"part '{name}', {meta['parts'][name]} conditions")
    partly = [
        f"{method} {name} in {n}"
        for method, counts in meta["undefined"].items()
        for name, n in counts.items()
        if n < n_test  # a dash in the table says the rest
    ]
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    if partly:
        console.print(f"note: of {n_test} conditions, undefined and left out of the mean: {'; '.join(partly)}")
    if meta["linear_absent_targets"]:
        console.print(
            f"note: Linear knows nothing of targets outside the panel: {', '.join(meta['linear_absent_targets'])}"
        )


def predict(
    run: Annotated[Path, RUN],
    condition: Annotated[
        str, typer.Option("--condition", metavar="A+B", help="What to predict: targets joined by '+'.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="OUT.h5ad", help="Where to write; replaced if there.")
    ],
    context: Annotated[str | None, typer.Option(help="Cell line or type, where the screen has several.")] = None,
    dose: Annotated[float | None, typer.Option(help="Dose, where the screen has doses.")] = None,
    n_cells: Annotated[int, typer.Option(min=1, help="Cells to predict.")] = 256,
    seed: Annotated[int, typer.Option(min=0, help="Which control cells are drawn.")] = 0,
) -> None:
    """Predict cells under a perturbation, seen or not, and write them as an .h5ad file."""
    from scbig_dist.evaluate import find_request, write_prediction
    from scbig_dist.train.predictor import load_predictor

    if output.is_dir():
        raise UserError(f"--output {output}: a directory; name a file, e.g. -o {output / 'prediction.h5ad'}")
    if output.suffix != ".h5ad":
        raise UserError(f"--output {output}: not an .h5ad name; write e.g. -o {output.with_suffix('.h5ad')}")
    above = next(folder for folder in output.absolute().parents if folder.exists())
    if not above.is_dir():
        raise UserError(f"--output {output}: {above} is a file, not a folder; name another place")
    predictor = load_predictor(run)
    wanted = find_request(predictor.store, condition, context, dose)
    cells = predictor.predict(wanted, n_cells, seed)
    genes = predictor.store.genes[: predictor.n_genes]
    write_prediction(output, cells, genes, wanted, predictor.config, run, seed)
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(f"{output}: {len(cells)} cells × {len(genes)} genes, {wanted.name}, predicted by scBIG")
