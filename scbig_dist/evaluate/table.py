"""A run's scores as a table on the terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from scbig_dist.evaluate.references import CEILING, LATENT_CEILING
from scbig_dist.metrics.summary import HIGHER_IS_BETTER, METRICS, best

CEILINGS = (CEILING, LATENT_CEILING)
SCALE = {"mse": (1e3, " ×10³")}  # else every value would print as 0.00


def print_scores(
    scores: Mapping[str, Mapping[str, float | None]],
    data_label: str = "real or unknown",
    title: str = "test",
    console: Console | None = None,
) -> None:
    """Methods as rows, metrics as columns with the direction that is better; `*` marks the best of each.

    Ceilings compete with nobody; '–' is undefined. On a narrow terminal the
    columns continue in further tables, none is cut.
    """
    console = console or Console()
    label = "" if data_label == "real or unknown" else f", {data_label} data"
    console.print(f"{title}: mean over conditions{label} (* best)", highlight=False)
    names = [name for name in METRICS if any(name in row for row in scores.values())]
    n_method = max(len(method) for method in scores)
    while names:
        table = Table(pad_edge=False)
        table.add_column("method", no_wrap=True)
        free = console.width - n_method - 4
        shown: list[str] = []
        while names and (not shown or free >= len(_header(names[0])) + 3):
            free -= len(_header(names[0])) + 3
            shown.append(names.pop(0))
            table.add_column(_header(shown[-1]), justify="right", no_wrap=True)
        rivals = {method: row for method, row in scores.items() if method not in CEILINGS}
        winners = {name: best({m: row.get(name) for m, row in rivals.items()}, name) for name in shown}
        for method, row in scores.items():
            cells = [_cell(row.get(name), name, len(rivals) > 1 and method in winners[name]) for name in shown]
            table.add_row(method, *cells, style="dim" if method in CEILINGS else None)
        console.print(table)


def _header(metric: str) -> str:
    return f"{metric}{SCALE.get(metric, (1, ''))[1]} {'↑' if HIGHER_IS_BETTER[metric] else '↓'}"


def _cell(value: float | None, metric: str, is_best: bool) -> str:
    if value is None:
        return "–"
    text = f"{value * SCALE.get(metric, (1, ''))[0]:.3f}"
    return f"[bold]{text}*[/bold]" if is_best else text
