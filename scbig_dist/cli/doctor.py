"""`scbig doctor`: whether a sweep would run here, on a cluster, or from a cluster's file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from scbig_dist.errors import UserError

if TYPE_CHECKING:
    from scbig_dist.cluster.diagnosis import Finding, Report

ADDRESS = typer.Option(help="Address of a Ray cluster, e.g. 10.0.0.1:6379, or 'auto' on a node.")


def doctor(
    address: Annotated[str | None, ADDRESS] = None,
    storage: Annotated[
        Path | None, typer.Option(help="A directory that all nodes should share: each writes there, all must see it.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="Check a cluster file instead: for 'ray up', for Kubernetes, or a Slurm script."),
    ] = None,
) -> None:
    """Look over this machine, or every node of a cluster: each problem with its remedy.

    Versions beside requirements.lock, GPUs, the token, storage, clocks, free room, limits. Exit code
    2 where something would stop a sweep. Without --address Ray need not run.
    """
    if config is not None:
        if address is not None or storage is not None:
            raise UserError("--config: a file is checked alone; leave --address and --storage out")
        _check_file(config)
        return
    if storage is not None and not storage.is_dir():
        raise UserError(f"--storage {storage}: not a directory here; make it, or mount it")
    from scbig_dist.cluster.doctor import examine

    found = examine(address, storage.absolute() if storage else None)
    console = Console(markup=False, highlight=False, soft_wrap=True)
    _show_nodes(console, found.reports)
    console.print(f"versions are compared with {found.lock}")
    _say(console, found.findings, "nothing would stop a sweep")


def _check_file(path: Path) -> None:
    from scbig_dist.cluster.files import check_file

    console = Console(markup=False, highlight=False, soft_wrap=True)
    _say(console, check_file(path), f"{path}: nothing found wrong; what only the cloud knows is not checked")


def _say(console: Console, findings: list[Finding], well: str) -> None:
    for finding in sorted(findings, key=lambda each: not each.stops):
        console.print(
            f"{'wrong' if finding.stops else 'note '}  {finding.node}: {finding.what}; {finding.remedy}", markup=False
        )
    if any(finding.stops for finding in findings):
        raise typer.Exit(2)
    console.print(well)


def _show_nodes(console: Console, reports: list[Report]) -> None:
    table = Table("node", "python", "ray", "torch", "scbig_dist", "CPUs", "GPUs", "free GB", "shm GB", "files", "clock")
    for report in reports:
        facts = report.facts
        if facts is None:
            table.add_row(report.node, *["–"] * 10)
            continue
        free = [room for room in facts["free"].values() if room is not None]
        table.add_row(
            f"{report.node} {facts['host']}",
            facts["python"],
            facts["packages"].get("ray", "–"),
            f"{facts['packages'].get('torch', '–')}{_build(facts['torch_cuda'])}",
            facts["code"] or "–",
            f"{report.resources.get('CPU', 0):g}",
            f"{report.resources.get('GPU', len(facts['gpus'])):g}",
            f"{min(free, default=0) / 1e9:.0f}",
            "–" if facts["shm"] is None else f"{facts['shm'] / 1e9:.1f}",
            str(facts["open_files"]),
            f"{report.skew_s:+.2f} s",
        )
    Console(markup=False, width=max(console.width, 140), highlight=False).print(table)


def _build(cuda: str | None) -> str:
    return "" if cuda is None else f" CUDA {cuda}" if cuda else " CPU"
