"""`scbig sweep`: a study of many trials on Ray."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scbig_dist.cli.train import ARTIFACTS, SET, STORE, new_directory
from scbig_dist.errors import UserError
from scbig_dist.settings import parse_set


def sweep(
    study: Annotated[Path, typer.Argument(help="A study file, e.g. tune/sensitivity.py.")],
    store: Annotated[str | None, STORE] = None,
    set_: Annotated[list[str] | None, SET] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The study's directory (default: a new one under runs/).")
    ] = None,
    scale: Annotated[
        str | None, typer.Option(help="A smaller or larger form that the study file names, e.g. cpu.")
    ] = None,
    trials: Annotated[int | None, typer.Option(min=1, help="Trials in all, instead of the study's number.")] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print the trials, what they share and what they would cost; start nothing."),
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the study in --output.")] = False,
    artifacts: Annotated[str | None, ARTIFACTS] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Database of the search, e.g. postgresql://USER@HOST/DATABASE (default: STUDY/study.db). Its password "
            "comes from PGPASSWORD or ~/.pgpass, never from the URL.",
        ),
    ] = None,
    estimate: Annotated[
        bool, typer.Option("--estimate/--no-estimate", help="With --dry-run: time a few steps for a forecast.")
    ] = True,
    address: Annotated[
        str | None, typer.Option(help="Address of a Ray cluster, e.g. 10.0.0.1:6379 (default: this machine).")
    ] = None,
) -> None:
    """Run the trials of a study, choose by validation, score the chosen on test.

    One row per trial goes to STUDY/trials.parquet. Ctrl-C is safe: --resume continues.
    """
    from scbig_dist.cluster.tune import run_sweep

    if resume and output is None:
        raise UserError("--resume: name the study to go on with, -o STUDY")
    if resume and output is not None and not (output / "study.yaml").is_file():
        raise UserError(f"--resume: {output} is not a study (no study.yaml); name one with -o STUDY")
    overrides = parse_set(set_ or [])
    if store is not None:
        overrides["store"] = store
    run_sweep(
        study,
        output or new_directory(study.stem),
        overrides,
        resume=resume,
        dry_run=dry_run,
        address=address,
        n_trials=trials,
        scale=scale,
        artifacts=artifacts,
        storage=storage,
        estimate=estimate,
    )
