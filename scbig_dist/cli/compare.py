"""`scbig compare`: evaluated runs against each other, with intervals and tests."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from scbig_dist.errors import UserError, suggest

if TYPE_CHECKING:
    from scbig_dist.metrics.statistics import Estimate
    from scbig_dist.report.compare import Comparison, Line

WIDTH = 110  # a terminal that is narrower wraps lines; no number is cut
DEFAULT_METRICS = ("pearson_delta", "pearson_delta_de", "mse", "e_dist")


def compare(
    runs: Annotated[
        list[Path], typer.Argument(help="Evaluated runs, or directories of seeds; the first is the reference.")
    ],
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", metavar="METRIC", help="A metric to compare. Repeatable (default: four of them)."),
    ] = None,
    with_: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="METHOD", help="A row of the runs' tables, e.g. Ridge-additive. Repeatable."),
    ] = None,
    part: Annotated[
        str | None,
        typer.Option(
            "--part", help="Compare on this part of the split alone, e.g. combo_seen1 (default: test, then each)."
        ),
    ] = None,
    best: Annotated[
        bool, typer.Option("--best", help="Differences to the best of each metric, not to the first run.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for compare.json and the figure (PNG and PDF).")
    ] = None,
) -> None:
    """Compare runs condition by condition: means with intervals, paired differences, Wilcoxon's test with Holm's correction.

    Where the split names parts (the singles and doubles of a holdout, …) each follows with a comparison of its own.
    Runs that differ in train.seed and split.seed alone are one entry: mean ± SD over them. All
    must be tested on the same conditions of the same store.
    """
    from scbig_dist.metrics.summary import METRICS
    from scbig_dist.report.compare import compare as compare_entries
    from scbig_dist.report.compared_runs import WHOLE, parts_of, read_entries

    metrics = list(dict.fromkeys(metric or DEFAULT_METRICS))
    if unknown := next((name for name in metrics if name not in METRICS), None):
        raise UserError(f"--metric {unknown}: unknown; {suggest(unknown, METRICS)}")
    if output is not None and output.exists() and not output.is_dir():
        raise UserError(f"--output {output}: a file; name a folder")
    baselines = list(dict.fromkeys(with_ or []))
    entries = read_entries(runs, baselines, part or WHOLE)
    if len(entries) < 2:
        alike = f"{len(runs)} runs that differ in their seeds alone are one entry" if len(runs) > 1 else "one run"
        raise UserError(f"{runs[0]}: {alike}; name another to compare with, or a baseline by --with Ridge-additive")
    found = {part or WHOLE: compare_entries(entries, metrics, best)}
    for name in [] if part is not None else parts_of(runs):
        found[name] = compare_entries(read_entries(runs, baselines, name), metrics, best)
    for name, comparison in found.items():
        _print(comparison, name)
    if output is not None:
        _write(found, output)


def _print(found: Comparison, part: str) -> None:
    from scbig_dist.metrics.summary import header_of

    console = Console(markup=False, width=max(Console(markup=False).width, WIDTH))
    splits = f", {found.n_splits} splits" if found.n_splits > 1 else ""
    console.print(
        f"{part}: {found.n_conditions} conditions{splits}; means with 95 % bootstrap intervals over conditions; "
        f"p by Wilcoxon's signed-rank test, Holm-corrected over {found.n_tests} tests",
        highlight=False,
        soft_wrap=True,
    )
    with_seeds = any(line.runs.n > 1 for line in found.lines)
    for metric, reference in found.references.items():
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        table.add_column(header_of(metric), overflow="fold")
        seeds = ["± SD (runs)"] if with_seeds else []
        for header in ("mean", *seeds, f"minus {reference}", "p", "n"):
            table.add_column(header, justify="right", overflow="fold")
        for line in found.of(metric):
            table.add_row(*_cells(line, with_seeds))
        console.print(table)
    for note in _notes(found):
        Console(markup=False, stderr=True, soft_wrap=True, highlight=False).print(f"note: {note}")


def _cells(line: Line, with_seeds: bool) -> list[str]:
    from scbig_dist.metrics.summary import number

    def span(found: Estimate, sign: str = "") -> str:
        ends = (
            "" if found.low != found.low else f" [{number(found.low, line.metric)}, {number(found.high, line.metric)}]"
        )
        return f"{sign if found.mean > 0 else ''}{number(found.mean, line.metric)}{ends}"

    cells = [line.name, span(line.value)]
    if with_seeds:
        cells.append(f"{number(line.runs.sd, line.metric)} ({line.runs.n})" if line.runs.n > 1 else "–")
    if line.against is None:
        return [*cells, "", "", str(line.value.n)]
    p = line.against.p_holm
    text = "–" if p != p else "< 0.0001" if p < 1e-4 else f"{p:.4f}"
    return [*cells, span(line.against.difference, "+"), text, str(line.against.test.n)]


def _notes(found: Comparison) -> list[str]:
    """What a mean would hide: conditions without a value, pairs that are equal. A line per entry and kind."""
    undefined: dict[tuple[str, int], list[str]] = {}
    equal: dict[tuple[str, int], list[str]] = {}
    for line in found.lines:
        if line.value.n_undefined:
            undefined.setdefault((line.name, line.value.n_undefined), []).append(line.metric)
        if line.against is not None and line.against.test.n_ties:
            equal.setdefault((line.name, line.against.test.n_ties), []).append(line.metric)
    of = f"of {found.n_conditions} conditions"
    return [f"{name}: undefined in {n} {of}: {', '.join(names)}" for (name, n), names in undefined.items()] + [
        f"{name}: equals the reference in {n} {of}, left out of the test: {', '.join(names)}"
        for (name, n), names in equal.items()
    ]


def _write(comparisons: Mapping[str, Comparison], folder: Path) -> None:
    """compare.json of all parts; a figure each, `compare` of the first and `compare_PART` of the others."""
    from scbig_dist.artifacts import write_text
    from scbig_dist.report import style
    from scbig_dist.report.compare_figures import forest

    folder.mkdir(parents=True, exist_ok=True)
    (first, found), *others = comparisons.items()
    tree = {"part": first, **found.as_json(), "parts": {name: each.as_json() for name, each in others}}
    write_text(folder / "compare.json", json.dumps(tree, indent=1, allow_nan=False))
    typer.echo(f"compare: {folder / 'compare.json'}")
    for name, each in comparisons.items():
        figure = forest(each, "" if len(comparisons) == 1 else name)
        if figure is not None:
            file = "compare" if name == first else f"compare_{re.sub(r'[^A-Za-z0-9_-]', '_', name)}"
            style.save(figure, folder, file)
            typer.echo(f"compare: {folder / file}.png")
