"""`scbig store`: build, describe and check cell stores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from scbig_dist.errors import UserError
from scbig_dist.settings import load_config, parse_set
from scbig_dist.store.build import build_store
from scbig_dist.store.describe import build_lines, facts, summary
from scbig_dist.store.integrity import check_store
from scbig_dist.store.reader import open_store

SECTIONS = ("data", "qc", "panel")

app = typer.Typer(no_args_is_help=True)


@app.command()
def build(
    source: Annotated[
        Path, typer.Argument(metavar="IN.h5ad", help="An AnnData file with raw counts.", show_default=False)
    ],
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
) -> None:
    """Turn an .h5ad file into a cell store: QC, gene ranking, sorted shards with checksums."""
    values = parse_set(set_ or [])
    for address in values:
        if address.split(".")[0] not in SECTIONS:
            raise UserError(
                f"--set {address}: no setting of a store; accepted here: data.*, qc.*, panel.* (the rest is for train and sweep)"
            )
    named = values.get("data.path")
    if named is not None and Path(str(named)).absolute() != source.absolute():
        raise UserError(f"--set data.path={named}: the source is {source}, the first argument; leave data.path out")
    manifest = build_store(source, store, load_config(config, values), progress=not quiet, force=force)
    console = Console(soft_wrap=True, highlight=False)
    for line in build_lines(manifest, store):
        console.print(line, markup=False)


@app.command()
def info(
    store: Annotated[Path, typer.Argument(metavar="STORE", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="The same facts as one JSON object.")] = False,
) -> None:
    """What a store holds, where it came from and what was left out."""
    opened = open_store(store)
    if as_json:
        typer.echo(json.dumps(facts(opened), indent=1, ensure_ascii=False))
        return
    table = Table(title=str(store), show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in summary(opened):
        table.add_row(name, value)
    Console(highlight=False).print(table)


@app.command()
def check(store: Annotated[Path, typer.Argument(metavar="STORE", show_default=False)]) -> None:
    """Read every byte of a store and compare it with the manifest; exit code 2 where something differs."""
    problems = check_store(store)
    for problem in problems:
        typer.echo(f"{store}: {problem}")
    if problems:
        raise UserError(
            f"store {store}: {len(problems)} problem{'s' if len(problems) > 1 else ''}; build the store again"
        )
    typer.echo(f"{store}: OK, every shard matches its checksum")
