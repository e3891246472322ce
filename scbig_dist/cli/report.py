"""`scbig report`: what a run or a study found, as something to read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    path: Annotated[Path, typer.Argument(help="A run or a study, e.g. one beneath runs/.", show_default=False)],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder of the report (default: report/ inside the run or study)."),
    ] = None,
) -> None:
    """Write Markdown, one self-contained HTML page and figures (PNG, PDF) of a run or a study.

    A study's tables stand beside the paper's where its file names a published table. Files are
    read as they are: a study that is still running can be reported on.
    """
    from scbig_dist.report import write_report

    page = write_report(path, output)
    typer.echo(f"report: {page.with_suffix('.md')}")
    typer.echo(f"report: {page}")
