"""A run's scores as tables on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from scbig_dist.evaluate.references import CEILING, LATENT_CEILING
from scbig_dist.evaluate.seeds import Spreads
from scbig_dist.metrics.statistics import Spread
from scbig_dist.metrics.summary import METRICS, best, counted, header_of, number

CEILINGS = (CEILING, LATENT_CEILING)
_SAME = 1e-9  # rounding

Undefined = Mapping[str, Mapping[str, int]]
"""{method: {metric: conditions that its mean leaves out}}, as scores_meta.json keeps it."""


def print_scores(
    scores: Mapping[str, Mapping[str, float | None]],
    data_label: str = "real or unknown",
    title: str = "test",
    console: Console | None = None,
    undefined: Undefined | None = None,
    n: int = 0,
) -> None:
    """Methods as rows, metrics as columns with the direction that is better; `*` marks the best of each.

    '–' is undefined; where `undefined` says that some of the `n` conditions have no value, the mean
    carries the number of the others. Ceilings compete with nobody, nor do means over fewer
    conditions than other methods have. On a narrow terminal the columns continue in further tables, none is cut.
    """
    rivals = {method: row for method, row in scores.items() if method not in CEILINGS}
    left_out = undefined or {}
    cells: dict[str, dict[str, str]] = {method: {} for method in scores}
    for name in METRICS:
        missing = {method: left_out.get(method, {}).get(name, 0) for method in scores}
        values = {method: row.get(name) for method, row in rivals.items()}
        winners = best(values, name, missing) if len(rivals) > 1 else set()
        for method, row in scores.items():
            if name in row:
                text = number(row[name], name) + "*" * (method in winners)
                text = counted(text, missing[method], n)
                cells[method][name] = f"[bold]{text}[/bold]" if method in winners else text
    _print(cells, f"{title}: mean over conditions{_label(data_label)} (* best)", console)


def print_spreads(
    spreads: Spreads,
    data_label: str,
    title: str,
    console: Console | None = None,
    undefined: Undefined | None = None,
    n: int = 0,
) -> None:
    """As `print_scores`, mean ± SD over seeds; what no seed moves (a baseline) without ±."""
    left_out = undefined or {}
    cells = {
        method: {
            name: counted(_spread(row[name], name), left_out.get(method, {}).get(name, 0), n)
            for name in METRICS
            if name in row
        }
        for method, row in spreads.items()
    }
    _print(cells, f"{title}: mean ± SD over seeds of the mean over conditions{_label(data_label)}", console)


def print_intervals(
    model: str,
    means: Mapping[str, float | None],
    intervals: Mapping[str, Mapping[str, Any]],
    title: str,
    console: Console | None = None,
) -> None:
    """The model's means with standard error, 95 % interval and the number of conditions that have a value."""
    console = console or Console()
    console.print(f"{model}, {title}: 95 % bootstrap intervals over conditions", highlight=False, markup=False)
    table = Table(pad_edge=False)
    for header in ("metric", "mean", "se", "95 % interval", "n"):
        table.add_column(header, justify="left" if header == "metric" else "right", no_wrap=True)
    for name in (name for name in METRICS if name in intervals):
        row = intervals[name]
        ends = "–" if row["low"] is None else f"{number(row['low'], name)} to {number(row['high'], name)}"
        table.add_row(header_of(name), number(means.get(name), name), number(row["se"], name), ends, str(row["n"]))
    console.print(table)


def _spread(spread: Spread, metric: str) -> str:
    mean = number(spread.mean, metric)
    return f"{mean} ± {number(spread.sd, metric)}" if spread.sd > _SAME else mean


def _label(data_label: str) -> str:
    return "" if data_label == "real or unknown" else f", {data_label} data"


def _print(cells: Mapping[str, Mapping[str, str]], title: str, console: Console | None) -> None:
    """{method: {metric: text}} in as many tables as the terminal's width asks for."""
    console = console or Console()
    console.print(title, highlight=False, markup=False)
    names = [name for name in METRICS if any(name in row for row in cells.values())]
    width = {name: max(len(header_of(name)), *(_width(row.get(name, "–")) for row in cells.values())) for name in names}
    n_method = max(len(method) for method in cells)
    while names:
        table = Table(pad_edge=False)
        table.add_column("method", no_wrap=True)
        free = console.width - n_method - 4
        shown: list[str] = []
        while names and (not shown or free >= width[names[0]] + 3):
            free -= width[names[0]] + 3
            shown.append(names.pop(0))
            table.add_column(header_of(shown[-1]), justify="right", no_wrap=True)
        for method, row in cells.items():
            table.add_row(
                escape(method), *(row.get(name, "–") for name in shown), style="dim" if method in CEILINGS else None
            )
        console.print(table)


def _width(text: str) -> int:
    return len(text.replace("[bold]", "").replace("[/bold]", ""))
