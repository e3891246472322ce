"""`scbig artifacts`: what runs have left for each other, and what of it may go."""

from __future__ import annotations

import json
import re
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from scbig_dist.artifacts.keys import SCHEMA
from scbig_dist.errors import UserError

if TYPE_CHECKING:
    from scbig_dist.artifacts.listing import Entry

UNITS = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def artifacts(
    root: Annotated[str, typer.Argument(help="Where they lie: STUDY/artifacts, or what --artifacts named.")],
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove what the conditions below, all of those given, ask for.")
    ] = False,
    older: Annotated[str | None, typer.Option(metavar="AGE", help="Finished longer ago than, e.g. 12h, 30d.")] = None,
    kind: Annotated[
        list[str] | None, typer.Option(metavar="KIND", help=f"Of this kind: {', '.join(SCHEMA)}. Repeatable.")
    ] = None,
    unused: Annotated[bool, typer.Option("--unused", help="Used by no run that is still there.")] = False,
    leftovers: Annotated[
        bool, typer.Option("--leftovers", help="Of makers that are gone, or damaged: nothing that is whole.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed and remove nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The list as JSON, one object per artefact.")] = False,
) -> None:
    """List the artefacts that runs share, or prune them.

    What a run makes or reads at this moment is never removed. A pruned artefact is made anew by the
    next run that needs it; runs that have ended keep their models.

    Example: scbig artifacts runs/study/artifacts --prune --unused --older 30d --dry-run
    """
    from scbig_dist.artifacts.listing import list_place, may_go, remove, sweep_signs, was_used
    from scbig_dist.artifacts.place import open_place

    for each in kind or []:
        if each not in SCHEMA:
            raise UserError(f"--kind {each}: no such kind; choices: {', '.join(SCHEMA)}")
    asked = older is not None or bool(kind) or unused or leftovers
    if prune and not asked:
        raise UserError("--prune: say what: --older AGE, --kind KIND, --unused or --leftovers")
    if dry_run and not prune:
        raise UserError("--dry-run: nothing would be removed without --prune")
    older_s = None if older is None else _seconds(older)
    place = open_place(root)
    entries = list_place(place)
    if not entries and not was_used(place):
        what = "no artefacts" if place.names() else "nothing"
        raise UserError(f"{root}: {what} there; name a study's artifacts folder, or what --artifacts named")
    if asked:
        chosen = [
            each
            for each in entries
            if may_go(each, older_s=older_s, kinds=kind or (), unused=unused, leftovers=leftovers)
        ]
    else:
        chosen = entries
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in chosen], indent=1))
    else:
        _show(chosen)
    if not prune:
        return
    gone = [] if dry_run else [each for each in chosen if remove(place, each)]
    if leftovers and not dry_run:
        sweep_signs(place)
    told = chosen if dry_run else gone
    size = _size(sum(each.n_bytes for each in told))
    Console(markup=False, stderr=True, highlight=False).print(
        f"{'would remove' if dry_run else 'removed'} {len(told)}: {size}"
    )


def _seconds(age: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([mhdw])", age)
    if found is None:
        raise UserError(f"--older {age}: a number and a unit (m, h, d, w), e.g. 30d")
    return float(found[1]) * UNITS[found[2]]


def _show(entries: list[Entry]) -> None:
    console = Console(markup=False, highlight=False)
    table = Table("kind", "key", "size", "age", Column("made by", overflow="fold"), Column("used by", overflow="fold"))
    for each in entries:
        state = "" if each.state == "whole" else f" [{each.state}]"
        runs = f"{len(each.runs)} run{'s' if len(each.runs) != 1 else ''}" + (f": {each.runs[0]}" if each.runs else "")
        used = f"{runs}{' …' if len(each.runs) > 1 else ''}" + (f"; now: {each.busy}" if each.busy else "")
        table.add_row(each.kind, each.key + state, _size(each.n_bytes), _age(each), each.maker, used)
    console.print(table)
    console.print(f"{len(entries)} in all: {_size(sum(each.n_bytes for each in entries))}")


def _size(n_bytes: int) -> str:
    unit, name = next((pair for pair in ((1e9, "GB"), (1e6, "MB")) if n_bytes >= pair[0]), (1e3, "kB"))
    return f"{n_bytes / unit:,.3g} {name}" if n_bytes < 1e12 else f"{n_bytes / 1e9:,.0f} GB"


def _age(entry: Entry) -> str:
    if entry.at is None:
        return "unfinished"
    seconds = max(time.time() - entry.at, 0.0)
    unit = next((name for name in "wdh" if seconds >= 2 * UNITS[name]), "m")
    return f"{seconds / UNITS[unit]:.0f} {unit}"
