"""`scbig evaluate` and `scbig predict`: scores and cells of a trained run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from scbig_dist.errors import UserError

RUN = typer.Argument(help="A finished run, as 'scbig train … -o RUN' wrote it.")


def evaluate(
    run: Annotated[
        Path,
        typer.Argument(help="A finished run, as 'scbig train … -o RUN' wrote it, or a directory of seeds (--seeds)."),
    ],
    prediction: Annotated[
        list[Path] | None,
        typer.Option(
            "--prediction", metavar="FILE.h5ad", help="Score cells that another tool predicted as well. Repeatable."
        ),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(
            "--name", metavar="NAME", help="The row of a --prediction (default: the file's name). Repeatable."
        ),
    ] = None,
    cell_eval: Annotated[
        Path | None,
        typer.Option("--cell-eval", metavar="DIR", help="Write DIR/real.h5ad and DIR/pred.h5ad for 'cell-eval run'."),
    ] = None,
) -> None:
    """Score a run on its test conditions, beside the baselines and the noise ceiling.

    Writes RUN/scores.json, RUN/scores_meta.json and RUN/conditions.parquet. A prediction file holds
    log-normalised cells of exactly the test conditions and the panel's genes, in obs columns
    'condition' and 'context', as 'scbig predict' writes them.
    """
    from scbig_dist.evaluate import CellEvalFiles, evaluate_run, evaluate_seeds, most_undefined, print_spreads
    from scbig_dist.train.seeds import seed_runs

    given = _named(prediction or [], name or [])
    if runs := seed_runs(run):
        if given or cell_eval is not None:
            option = "--prediction" if given else "--cell-eval"
            raise UserError(f"{option}: {run} holds {len(runs)} runs; name one of them, e.g. {runs[0]}")
        spreads = evaluate_seeds(run, runs, evaluate_run)
        meta = _meta(runs[0])
        n_test = meta["n_conditions"]["test"]
        title = f"{len(runs)} seeds, {n_test} test conditions"
        print_spreads(spreads, meta["data_label"], title, undefined=most_undefined(runs), n=n_test)
        return
    files = None if cell_eval is None else CellEvalFiles(cell_eval)
    scores = evaluate_run(run, given=given, cell_eval=files)
    _print(scores, _meta(run))
    if files is not None:
        console = Console(markup=False, stderr=True, soft_wrap=True, highlight=False)
        console.print(f"next: {files.command()}")


def _named(files: list[Path], names: list[str]) -> dict[str, Path]:
    """The prediction files by the names of their rows."""
    if len(names) > len(files) or 0 < len(names) < len(files):
        raise UserError(
            f"--name is given {len(names)} times and --prediction {len(files)}; give one name for each file"
        )
    names = names or [file.stem for file in files]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"--name {twice}: two predictions of that name; give each its own --name")
    return dict(zip(names, files, strict=True))


def _meta(run: Path) -> dict[str, Any]:
    return json.loads((run / "scores_meta.json").read_text())


def _print(scores: dict[str, dict[str, float | None]], meta: dict[str, Any]) -> None:
    from scbig_dist.evaluate import LATENT_CEILING, print_intervals, print_scores
    from scbig_dist.evaluate.references import CEILING
    from scbig_dist.metrics.profiles import MIN_SIGNIFICANT
    from scbig_dist.metrics.summary import under_halves

    n_test, model = meta["n_conditions"]["test"], meta["model"]
    ceiling = {} if meta["latent_ceiling"] is None else {LATENT_CEILING: meta["latent_ceiling"]}
    undefined = meta["undefined"]
    print_scores({**scores, **ceiling}, meta["data_label"], f"{n_test} test conditions", undefined=undefined, n=n_test)
    print_intervals(model, scores[model], meta["intervals"][model], f"{n_test} test conditions")
    for name, table in meta["part_scores"].items():
        n, missing = meta["parts"][name], meta["part_undefined"][name]
        print_scores(table, meta["data_label"], f"part '{name}', {n} conditions", undefined=missing, n=n)
    console = Console(markup=False, stderr=True, soft_wrap=True, highlight=False)
    tables = [
        (undefined, n_test),
        *((meta["part_undefined"][name], meta["parts"][name]) for name in meta["part_scores"]),
    ]
    if any(k < n for counts, n in tables for row in counts.values() for k in row.values()):
        console.print(
            "note: x (7 of 10) is a mean over the 7 conditions that have a value; it is no rival of means over all 10"
        )
    if under_halves(scores, CEILING):
        console.print(
            "note: Wasserstein distances grow as cells get fewer, and the noise ceiling compares halves: it is none of theirs"
        )
    if n_few := meta["de"]["n_few"]:
        console.print(
            f"note: {n_few} of {n_test} conditions have fewer than {MIN_SIGNIFICANT} significant genes: no des there"
        )
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
    from scbig_dist.models.names import method_name
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
    console = Console(markup=False, stderr=True, soft_wrap=True, highlight=False)
    console.print(
        f"{output}: {len(cells)} cells × {len(genes)} genes, {wanted.name}, predicted by {method_name(predictor.config)}"
    )
