"""`scbig dashboard`: studies in a browser, while they run and afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def dashboard(
    studies: Annotated[
        list[Path], typer.Argument(metavar="STUDY", help="Studies, e.g. beneath runs/.", show_default=False)
    ],
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where the page answers.")] = 8266,
    host: Annotated[
        str, typer.Option(help="Address to bind; any but this machine's own loopback asks readers for a token.")
    ] = "127.0.0.1",
    address: Annotated[
        str | None,
        typer.Option(help="A Ray cluster to join in, e.g. 10.0.0.1:8265 (default: that of a sweep at work here)."),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            "--token-file", help="Ask readers for the token in this file (mode 0600; made where it is not there)."
        ),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(metavar="OUT.html", help="Write the first study to one self-contained HTML file, and end."),
    ] = None,
) -> None:
    """Watch a sweep while it runs; read it when it is over. Reads what lies on disk and writes nothing to it.

    Progress, ranks among equal budgets, curves, axes, the paper's values beside ours, and why a
    trial waits. A copied study works as well as a live one, and no internet is needed.
    """
    from scbig_dist.dashboard.serve import be_polite, make_pages, prepare

    if export is not None:
        from scbig_dist.dashboard.export import write_export

        typer.echo(f"dashboard: {write_export(make_pages(studies, address), export)}")
        return
    served = prepare(studies, host, port, address, token_file)
    typer.echo(f"dashboard: {served.url} (Ctrl-C ends it)")
    if served.token is not None:
        typer.echo(f"token: {served.token}" if token_file is None else f"token: in {token_file}")
    be_polite()
    served.run()
