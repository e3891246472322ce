"""A table of a page, on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table as Drawn

from scbig_dist.report.document import Table
from scbig_dist.report.module_figures import shorten

BETWEEN = 3  # characters that a column's border and padding take


def print_table(table: Table, most: int) -> None:
    """The first rows, with what is left out counted; on a narrow terminal the last column, of words, is cut."""
    console = Console(markup=False, highlight=False)
    drawn, rows = Drawn(pad_edge=False), [list(row) for row in table.rows[:most]]
    widths = [max(map(len, column)) for column in zip(table.columns, *rows, strict=True)]
    if table.columns[-1] not in table.numeric:
        room = max(console.width - sum(widths[:-1]) - BETWEEN * len(widths), len(table.columns[-1]))
        for row in rows:
            row[-1] = shorten(row[-1], room)
    for column in table.columns:
        drawn.add_column(column, justify="right" if column in table.numeric else "left", no_wrap=True)
    for row in rows:
        drawn.add_row(*row)
    console.print(drawn)
    if len(table.rows) > most:
        console.print(f"… {len(table.rows) - most} more rows in the files")
