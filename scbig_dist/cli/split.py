"""`scbig split`: see which conditions train, choose and are scored, and keep the division as a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from scbig_dist.cli.store import STORE
from scbig_dist.conditions import Condition
from scbig_dist.errors import UserError, listed
from scbig_dist.screen.split_record import UNUSED, trained_targets
from scbig_dist.screen.splits import Split, make_split, write_split
from scbig_dist.settings import load_config, parse_set
from scbig_dist.store.reader import Store, open_store

N_EXAMPLES = 3


def split(
    store: Annotated[str, STORE],
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="ADDRESS=VALUE", help="A split.* setting, e.g. --set split.kind=holdout. Repeat."
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="A YAML config; its split section is used.", show_default="none")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="OUT.json", help="Write the division here.", show_default="print only"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Divide a store's conditions as a training would, and print the parts; nothing is trained.

    The file holds plain lists of conditions: edit it, look again with --set split.file=OUT.json,
    and train on it with the same setting.
    """
    values = parse_set(set_ or [])
    for address in values:
        if not address.startswith("split."):
            raise UserError(f"--set {address}: not part of a split; accepted here: split.*")
    if "split.file" in values and len(values) > 1:
        other = next(address for address in values if address != "split.file")
        raise UserError(f"--set {other}: split.file names every condition, so nothing reads it; leave one of them out")
    _check_output(output, force)
    opened = open_store(store, placement="shard")  # of a remote store the manifest is enough
    division = make_split(opened.conditions, load_config(config, values).split)
    console = Console(markup=False, soft_wrap=True, highlight=False)
    console.print(_table(opened, division))
    for line in _facts(division):
        console.print(line)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_split(division, output)
        console.print(f"{output}: edit it if you like; train with --set split.file={output}")


def _check_output(output: Path | None, force: bool) -> None:
    if output is None:
        return
    if output.is_dir():
        raise UserError(f"--output {output}: a directory; name a file, e.g. -o {output / 'split.json'}")
    if output.exists() and not force:
        raise UserError(f"--output {output}: exists, perhaps edited; name another file or replace it with --force")


def _groups(division: Split) -> Iterator[tuple[str, Sequence[Condition]]]:
    """The three uses, then the named parts; those within test are indented beneath it."""
    yield from (("train", division.train), ("val", division.val), ("test", division.test))
    scored = set(division.test)
    for name, members in division.parts.items():
        yield (f"  {name}" if scored.issuperset(members) else name), members


def _table(store: Store, division: Split) -> Table:
    seed = "" if division.seed is None else f", seed {division.seed}"
    table = Table(title=f"{division.kind} split of {store.name}{seed}", title_justify="left")
    table.add_column("part", no_wrap=True)
    for heading in ("conditions", "1 target", "2 targets", "more", "cells"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, members in _groups(division):
        n_targets = [len(condition.targets) for condition in members]
        n_cells = sum(len(store.cells(condition)) for condition in members)
        numbers = [len(members), n_targets.count(1), n_targets.count(2), sum(n > 2 for n in n_targets), n_cells]
        table.add_row(name, *(f"{n:,}" for n in numbers))
    return table


def _facts(division: Split) -> list[str]:
    """Some conditions of each part, and what decides how hard it is: the targets that training never has."""
    lines, seen = [], trained_targets(division.train)
    for name, members in _groups(division):
        # Evenly from the sorted list: its head alone would show one gene's conditions.
        some = members[:: max(len(members) // N_EXAMPLES, 1)][:N_EXAMPLES]
        if some:
            lines.append(f"{name.strip()}, for example: {', '.join(condition.name for condition in some)}")
    lines.append(f"{len(seen)} targets occur in training")
    if not division.val:
        lines.append("no validation conditions: a training keeps its last update, and a sweep has nothing to choose by")
    for name, members in (("validation", division.val), ("test", division.test)):
        if not members:
            continue
        unseen = sorted(trained_targets(members) - seen)
        lines.append(f"{name}: {len(unseen)} targets never in training" + (f": {listed(unseen)}" if unseen else ""))
    if outside := [name for name, _ in list(_groups(division))[3:] if not name.startswith(" ")]:
        lines.append(f"in none of the three: {', '.join(outside)}; all but '{UNUSED}' are scored apart")
    return lines
