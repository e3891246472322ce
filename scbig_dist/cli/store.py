"""`scbig store`: build, extend, describe and check cell stores."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from scbig_dist.config_data import DataConfig, SourceConfig
from scbig_dist.errors import UserError
from scbig_dist.settings import load_config, parse_set
from scbig_dist.store.append import append_store
from scbig_dist.store.build import build_store
from scbig_dist.store.describe import append_lines, build_lines, facts, summary
from scbig_dist.store.export import export_store
from scbig_dist.store.integrity import check_store, strays
from scbig_dist.store.reader import open_store

SECTIONS = ("data", "qc", "panel")
STORE = typer.Argument(metavar="STORE", help="A cell store: a directory, or a URI such as s3://…", show_default=False)
SOURCES = typer.Argument(metavar="IN", help=".h5ad or 10x .h5 files, or directories of them.", show_default=False)
ADDRESS = typer.Option(
    help="Do the parts as Ray tasks: 'local', or a cluster's HOST:PORT; its nodes share STORE's and IN's folders.",
    show_default="threads",
)
READING = {f"data.{name}" for name in set(DataConfig.model_fields) - set(SourceConfig.model_fields)}

app = typer.Typer(no_args_is_help=True)


@app.command()
def build(
    sources: Annotated[list[Path], SOURCES],
    store: Annotated[Path, typer.Argument(metavar="STORE", help="The directory to write.", show_default=False)],
    config: Annotated[
        Path | None, typer.Option(help="A YAML config; its data, qc and panel sections are used.", show_default="none")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="ADDRESS=VALUE", help="A data.*, qc.* or panel.* setting; repeat.", show_default="none"
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a store that is there, once the new one is whole.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars.")] = False,
    address: Annotated[str | None, ADDRESS] = None,
) -> None:
    """Turn files of raw counts into a cell store: QC, gene ranking, sorted shards with checksums.

    IN is an .h5ad file (CSR, CSC or dense), a 10x .h5 file of Cell Ranger 3 or later, or a directory of
    either; several become one store with the genes that all of them have. A 10x file knows no
    conditions: put a table NAME.csv or NAME.tsv beside NAME.h5, barcodes in its first column.
    """
    _require_local([store, *sources])
    values = parse_set(set_ or [])
    for address_ in values:
        if address_.split(".")[0] not in SECTIONS:
            raise UserError(
                f"--set {address_}: no setting of a store; accepted here: data.*, qc.*, panel.* (the rest is for train and sweep)"
            )
        if address_ in READING:
            raise UserError(f"--set {address_}: how cells reach a training; for train and sweep")
    named = values.get("data.path")
    if named is not None and [Path(str(named)).absolute()] != [source.absolute() for source in sources]:
        raise UserError(
            f"--set data.path={named}: the source is {' '.join(map(str, sources))}, before STORE; leave data.path out"
        )
    settings = load_config(config, values)
    if address is None:
        manifest = build_store(sources, store, settings, progress=not quiet, force=force)
    else:
        from scbig_dist.cluster.build import build_on_ray

        manifest = build_on_ray(sources, store, settings, address, progress=not quiet, force=force)
    _print(build_lines(manifest, store))


@app.command()
def append(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="A cell store on this machine.", show_default=False)],
    sources: Annotated[list[Path], SOURCES],
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars.")] = False,
    address: Annotated[str | None, ADDRESS] = None,
) -> None:
    """Add the cells of more files to a store; the shards that are there stay as they are.

    Settings, panel and gene order are the store's, and the new cells pass the same QC; conditions may
    be new. Genes are not ranked again: build anew where the panel should follow the new cells.
    """
    _require_local([store, *sources])
    if address is None:
        manifest = append_store(store, sources, progress=not quiet)
    else:
        from scbig_dist.cluster.build import append_on_ray

        manifest = append_on_ray(store, sources, address, progress=not quiet)
    _print(append_lines(manifest, store))


@app.command()
def info(
    store: Annotated[str, STORE],
    as_json: Annotated[bool, typer.Option("--json", help="The same facts as one JSON object.")] = False,
) -> None:
    """What a store holds, where it came from and what was left out."""
    opened = open_store(store, placement="shard")  # of a remote store the manifest is enough
    if as_json:
        typer.echo(json.dumps(facts(opened), indent=1, ensure_ascii=False))
        return
    table = Table(title=store, show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in summary(opened):
        table.add_row(name, value)
    Console(markup=False, highlight=False).print(table)


@app.command()
def check(store: Annotated[str, STORE]) -> None:
    """Read every byte of a store, where it lies, and compare it with the manifest; exit code 2 where something differs."""
    problems = check_store(store, sys.stderr.isatty())
    for problem in problems:
        typer.echo(f"{store}: {problem}")
    if problems:
        raise UserError(
            f"store {store}: {len(problems)} problem{'s' if len(problems) > 1 else ''}; build the store again"
        )
    for name in strays(store):
        typer.echo(f"{store}: note: {name} is not in the manifest; nothing reads it, it may go")
    typer.echo(f"{store}: OK, every shard matches its checksum")


@app.command()
def export(
    store: Annotated[str, STORE],
    out: Annotated[Path, typer.Argument(metavar="OUT.h5ad", help="The file to write.", show_default=False)],
    n_hvg: Annotated[
        int | None, typer.Option("--genes", min=1, help="Only the panel of so many HVGs.", show_default="all genes")
    ] = None,
    condition: Annotated[
        list[str] | None,
        typer.Option(
            metavar="A+B", help="Only cells of this perturbation, or CONTEXT/A+B; repeat.", show_default="all cells"
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Give a store's cells and genes back as an .h5ad file of raw counts, that scanpy and 'store build' read."""
    opened = open_store(store, verify=True)
    if n_hvg is not None and n_hvg > opened.manifest.n_hvg:
        raise UserError(
            f"--genes {n_hvg}: store {store} has {opened.manifest.n_hvg} HVGs; lower it, or leave it out for all genes"
        )
    n_cells, n_genes = export_store(opened, out, n_hvg, condition or [], force=force, progress=not quiet)
    Console(markup=False, soft_wrap=True, highlight=False).print(f"{out}: {n_cells:,} cells × {n_genes:,} genes")


def _require_local(paths: list[Path]) -> None:
    """UserError for a URI, which a path would spell as folders of its own (`s3:/bucket`)."""
    for path in paths:
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(path)) and not path.exists():
            raise UserError(
                f"{path}: a URI; stores are built and appended to on a disk of this machine, from files on one:"
                " give a path, and copy a finished store to object storage as it is"
            )


def _print(lines: list[str]) -> None:
    console = Console(markup=False, soft_wrap=True, highlight=False)
    for line in lines:
        console.print(line)
