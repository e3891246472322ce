"""`scbig train`: both stages, in this process or on Ray workers."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from scbig_dist.config import Config, parse_workers
from scbig_dist.errors import UserError
from scbig_dist.settings import load_config, parse_set

STORE = typer.Option(
    "--store",
    "-s",
    help="The cell store to train on, a path or a URI such as s3://… (instead of 'store:' in the config).",
)
ARTIFACTS = typer.Option(
    "--artifacts",
    metavar="PATH|URI",
    help="Where finished stages are looked for and left, for any runs and studies to share: a directory, or a URI such "
    "as s3://bucket/artifacts (default: in the run's, or the study's, own directory).",
)
SET = typer.Option("--set", metavar="ADDRESS=VALUE", help="Override a setting, e.g. --set flow.lr=1e-4. Repeatable.")


def _workers(text: str) -> int | str:
    try:
        return parse_workers(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text}: {error}") from None


def train(
    config: Annotated[
        Path | None, typer.Argument(help="A YAML config, e.g. configs/cpu_small.yaml. Defaults: the paper's.")
    ] = None,
    store: Annotated[str | None, STORE] = None,
    set_: Annotated[list[str] | None, SET] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The run's directory (default: a new one under runs/).")
    ] = None,
    workers: Annotated[
        Any,
        typer.Option(
            parser=_workers,
            metavar="N|N-M",
            help="Training processes (train.workers); more than one run on Ray. A range: as many as there is room for.",
        ),
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="Address of a Ray cluster, e.g. 10.0.0.1:6379 (default: this machine).")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --output from its newest checkpoint.")
    ] = False,
    artifacts: Annotated[str | None, ARTIFACTS] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            "--seeds", min=2, metavar="N", help="Train N times, with train.seed and those after it: DIR/seed-0, …"
        ),
    ] = None,
) -> None:
    """Train a model: scBIG (first the autoencoder, then the flow), or the baseline that model.name names.

    Learning curves go to RUN/metrics.jsonl and RUN/tensorboard. Ctrl-C is safe: --resume
    continues, and ends with the same weights as a run that was never stopped.
    """
    from scbig_dist.artifacts.place import settled_root
    from scbig_dist.train.experiment import settle
    from scbig_dist.train.seeds import claim_seeds, kept_config, seed_runs

    if resume and output is None:
        raise UserError("--resume: name the run to go on with, -o RUN")
    kept = output if resume else None
    several = seeds is not None or (kept is not None and bool(seed_runs(kept)))
    if kept is not None and several:
        begun = kept_config(kept)
        config = config or begun
    elif kept is not None:
        if not (kept / "config.yaml").is_file():
            raise UserError(f"--resume: {kept} is not a run (no config.yaml); name one with -o RUN")
        config = config or kept / "config.yaml"
    overrides = parse_set(set_ or [])
    if workers is not None:
        overrides["train.workers"] = workers
    if store is not None:
        overrides["store"] = store
    settings = settle(load_config(config, overrides), overrides)
    run = output or new_directory("seeds" if several else "run")
    root = None if artifacts is None else settled_root(artifacts)
    if not several:
        _train(settings, run, address, resume, root)
        return
    claimed = claim_seeds(run, settings, seeds, resume)
    for each, own in claimed:
        _train(own, each, address, resume, root or run / "artifacts")
    _say(f"{len(claimed)} seeds done; next: scbig evaluate {run}")


def _train(
    settings: Config, run: Path, address: str | None, resume: bool, artifact_root: Path | str | None = None
) -> None:
    """One run, here or on Ray, and what it took."""
    from scbig_dist.train.context import LocalContext
    from scbig_dist.train.run import train_run

    if settings.train.most_workers > 1 or address is not None:
        from scbig_dist.cluster.train import train_on_ray

        train_on_ray(settings, run, address, resume, artifact_root)
        for note in json.loads((run / "setup.json").read_text())["notes"]:
            _say(f"note: {note}")  # the workers' own output stays with Ray
    else:
        here = LocalContext(settings.train.gpus)
        train_run(settings, run, here, resume=resume, artifact_root=artifact_root)
    summary = json.loads((run / "run.json").read_text())
    _say(
        f"done in {summary['seconds_total']:.0f} s: {summary['n_parameters']:,} parameters, "
        f"peak memory {summary['peak_mem_gb']:.1f} GB; next: scbig evaluate {run}"
    )


def _say(line: str) -> None:
    Console(markup=False, stderr=True, soft_wrap=True, highlight=False).print(line)


def new_directory(kind: str) -> Path:
    """A directory under runs/ named by the moment: `run-20260101-120000-000000`."""
    return Path("runs") / f"{kind}-{datetime.now():%Y%m%d-%H%M%S-%f}"
