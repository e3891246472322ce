"""`scbig scale`: what a training would cost, from a few measured steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from scbig_dist.cli.train import SET
from scbig_dist.config import Config
from scbig_dist.errors import UserError
from scbig_dist.settings import load_config, parse_set

if TYPE_CHECKING:
    from scbig_dist.train.forecast import Forecast, Screen

DENSITY, CONDITIONS, BANDWIDTH = 0.08, 200, 1.25


def scale(
    config: Annotated[
        Path | None, typer.Argument(help="A YAML config, e.g. configs/cpu_small.yaml. Defaults: the paper's.")
    ] = None,
    cells: Annotated[int | None, typer.Option(min=1, help="Cells of the screen, e.g. 1000000.")] = None,
    genes: Annotated[int | None, typer.Option(min=1, help="Genes of the panel, e.g. 2000.")] = None,
    set_: Annotated[list[str] | None, SET] = None,
    store: Annotated[
        str | None,
        typer.Option(
            "--store", "-s", help="Take cells, genes, density and split from this store; --cells then enlarges it."
        ),
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Workers that share an update (train.workers).")] = None,
    density: Annotated[float | None, typer.Option(help=f"Share of non-zero counts (default: {DENSITY}).")] = None,
    conditions: Annotated[
        int | None, typer.Option(min=1, help=f"Perturbed conditions, of equal size (default: {CONDITIONS}).")
    ] = None,
    bandwidth: Annotated[
        float, typer.Option(min=1e-3, help="GB/s between two workers, for the sum of gradients; 1.25: 10 Gbit/s.")
    ] = BANDWIDTH,
    as_json: Annotated[bool, typer.Option("--json", help="Everything as one JSON object.")] = False,
) -> None:
    """Predict time, memory and disk of a training, from a few steps on this machine.

    The model of the config is built and a few steps of each part are timed on random cells, with
    train.threads threads or, with --set train.gpus=1, on a GPU; the rest is arithmetic. Stage 1 is
    counted with all its epochs. Takes seconds to a minute; writes nothing.

    Example: scbig scale configs/cpu_small.yaml --cells 1000000 --genes 2000 --set grc.n_modules=64
    """
    from scbig_dist.train.forecast import check_sizes, forecast
    from scbig_dist.train.measure import measure

    overrides = parse_set(set_ or [])
    if workers is not None:
        overrides["train.workers"] = workers
    if store is not None:
        overrides["store"] = store
    settings = load_config(config, overrides)
    screen = _screen(settings, store, cells, genes, density, conditions)
    check_sizes(settings, screen)
    n_workers = settings.train.most_workers
    rates = measure(settings, screen.n_genes, screen.entries_per_cell, n_workers)
    found = forecast(settings, screen, rates, n_workers, bandwidth * 1e9)
    if as_json:
        typer.echo(json.dumps(found.as_json() | {"read_cells_per_s": 1 / rates.read_cell}, indent=1))
        return
    _show(found, settings, 1 / rates.read_cell)


def _screen(
    config: Config,
    store: str | None,
    cells: int | None,
    genes: int | None,
    density: float | None,
    conditions: int | None,
) -> Screen:
    from scbig_dist.train.forecast import screen_of, screen_of_store

    if store is not None:
        for name, value in (("--genes", genes), ("--density", density), ("--conditions", conditions)):
            if value is not None:
                raise UserError(
                    f"{name} {value}: the store says that; leave {name} out, or --store (panel.n_hvg sets the panel)"
                )
        return screen_of_store(config, cells)
    if cells is None or genes is None:
        raise UserError("scbig scale: say how much, --cells N --genes G, or name a store with --store")
    density = DENSITY if density is None else density
    if not 0 < density <= 1:
        raise UserError(f"--density {density:g}: a share of non-zero counts, above 0 and at most 1, e.g. {DENSITY}")
    return screen_of(config, cells, genes, density, CONDITIONS if conditions is None else conditions)


def _show(found: Forecast, config: Config, read_cells_per_s: float) -> None:
    from scbig_dist.train.forecast import time_text

    screen, train = found.screen, config.train
    on_gpu = train.gpus > 0
    console = Console(markup=False, highlight=False, soft_wrap=True)
    each = f"{train.gpus:g} GPU" if on_gpu else f"{train.threads} CPU thread{'s' if train.threads > 1 else ''}"
    console.print(
        f"{screen.n_cells:,} cells × {screen.n_genes:,} genes, {screen.n_train_cells:,} cells to train on; "
        f"{found.workers} worker{'s' if found.workers > 1 else ''} of {each}"
    )
    table = Table("stage", "ms per update", "updates", "cells/s", "time")
    for stage in found.stages:
        if stage.n_updates:
            table.add_row(
                stage.name,
                f"{stage.update_ms:,.1f}",
                f"{stage.n_updates:,}",
                f"{stage.cells_per_s:,.0f}",
                time_text(stage.hours),
            )
    console.print(table)
    parts = Table("spent on", "time", "share")
    for part, hours in sorted(found.parts.items(), key=lambda item: -item[1]):
        if hours:
            parts.add_row(part, time_text(hours), f"{hours / found.hours:.1%}")
    console.print(parts)
    memory = f"{found.host_gb:.2f} GB of memory" + (f" + {found.device_gb:.2f} GB on its GPU" if on_gpu else "")
    console.print(f"store: {screen.store_bytes / 1e9:,.2f} GB, read at {read_cells_per_s:,.0f} cells/s by one thread")
    console.print(f"a worker: {memory}, {found.latents_gb:.2f} GB of it latents")
    total = f"{time_text(found.hours)}; {time_text(found.cpu_hours)} of CPU time"
    console.print(f"in all: {total}" + (f", {time_text(found.gpu_hours)} of GPU time" if on_gpu else ""))
    console.print(f"dominates: {found.dominant}, {found.parts[found.dominant] / found.hours:.0%} of the time")
