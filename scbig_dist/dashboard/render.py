"""Blocks as Dash components. What may change later has an id of its own, so that an update touches nothing else."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import dash_ag_grid as dag
from dash import dcc, html

from scbig_dist.dashboard import blocks as b
from scbig_dist.dashboard.grid import column_defs, grid_options

LONG = 44  # characters from which on a column of words may break its lines


def extra(attributes: dict[str, Any]) -> dict[str, Any]:
    """`aria-…` and `data-…`, which are no Python names."""
    return attributes


def mount(blocks: Sequence[b.Block]) -> list[Any]:
    """The components of a page."""
    return [_mount(block) for block in blocks]


def shape(blocks: Sequence[b.Block]) -> str:
    """What must be the same for an update in place; otherwise the page is drawn anew."""
    return _hash(
        repr([(type(block).__name__ if _is_live(block) else "", getattr(block, "id", "")) for block in b.flat(blocks)])
    )


def marks(blocks: Sequence[b.Block]) -> dict[str, str]:
    """{id: a hash of what is shown there}."""
    return {block.id: _hash(repr(block)) for block in b.flat(blocks) if not isinstance(block, b.Heading | b.Columns)}


def changes(block: b.Block) -> list[tuple[Any, dict[str, Any]]]:
    """(component, props) that bring a mounted block up to date; a grid's rows are the grid's own affair."""
    if isinstance(block, b.Chart):
        return [
            ({"part": "figure", "of": block.id}, {"data": block.figure}),
            ({"part": "caption", "of": block.id}, {"children": block.caption}),
        ]
    if isinstance(block, b.Choices):
        return [({"part": "choice", "of": each.name}, {"options": _options(each)}) for each in block.choices]
    if isinstance(block, b.Heading | b.Columns | b.Grid):
        return []
    return [({"part": "block", "of": block.id}, {"children": _inside(block)})]


def _hash(text: str) -> str:
    return f"{zlib.crc32(text.encode('utf-8', 'surrogatepass')):08x}"


def _is_live(block: b.Block) -> bool:
    return isinstance(block, b.Chart | b.Grid | b.Choices | b.Heading)


def _mount(block: b.Block) -> Any:
    match block:
        case b.Heading(text, note):
            return html.H2([text, html.Small(note)] if note else text)
        case b.Columns(blocks):
            return html.Div([_mount(each) for each in blocks], className="columns")
        case b.Chart():
            return _chart(block)
        case b.Grid():
            return _grid(block)
        case b.Choices():
            return html.Div([_choice(each) for each in block.choices], className="choices")
    return html.Div(
        _inside(block), id={"part": "block", "of": block.id}, className=f"block {type(block).__name__.lower()}-block"
    )


def _inside(block: b.Block) -> Any:
    match block:
        case b.Tiles():
            return html.Div([_tile(tile) for tile in block.tiles], className="tiles")
        case b.Progress():
            return _progress(block)
        case b.Text(_, text, kind):
            return html.Div([html.P(line) for line in text.split("\n")], className=f"text {kind}") if text else None
        case b.Table():
            return _table(block)
        case b.Code():
            return _code(block)
    raise AssertionError(f"no drawing of {type(block).__name__}")


def _cell(cell: b.Cell) -> Any:
    return dcc.Link(cell.text, href=cell.href) if isinstance(cell, b.Link) else cell


def _words(cell: b.Cell) -> str:
    return cell.text if isinstance(cell, b.Link) else cell


def _tile(tile: b.Tile) -> Any:
    return html.Div(
        [
            html.Div(tile.label, className="label"),
            html.Div(_cell(tile.value), className="value"),
            html.Div(tile.note, className="note"),
        ],
        className=f"tile {tile.tone}",
    )


def _progress(block: b.Progress) -> Any:
    total = max(block.total, 1)
    said = ", ".join(f"{part.n} {part.label}" for part in block.segments)
    parts = [
        html.Span(
            className=f"part {part.tone}",
            style={"width": f"{100 * part.n / total:.3f}%"},
            title=f"{part.n} {part.label}",
        )
        for part in block.segments
        if part.n
    ]
    legend = [html.Span([html.I(className=f"key {p.tone}"), f"{p.n} {p.label}"]) for p in block.segments]
    bar = html.Div(parts, className="bar", role="img", **extra({"aria-label": f"of {block.total} trials: {said}"}))
    return html.Div([bar, html.Div(legend, className="legend")], className="progress")


def _table(block: b.Table) -> Any:
    def kind(i: int) -> str:
        return "n" if i in block.numeric else "long" if any(len(_words(row[i])) > LONG for row in block.rows) else ""

    if not block.columns:
        return html.Div([html.Span(_cell(cell)) for row in block.rows for cell in row], className="inline")
    head = html.Thead(
        html.Tr([html.Th(column, className=kind(i), scope="col") for i, column in enumerate(block.columns)])
    )
    body = [
        html.Tr(
            [html.Td(_cell(cell), className=kind(i)) for i, cell in enumerate(row)],
            className="strong" if r in block.strong else "",
        )
        for r, row in enumerate(block.rows)
    ]
    table = html.Div(html.Table([head, html.Tbody(body)]), className="wide", tabIndex="0")
    return [table, html.P(block.caption, className="caption")] if block.caption else [table]


def _code(block: b.Code) -> Any:
    text = html.Pre(
        block.text or "–", id={"part": "code", "of": block.id}, className="tall" if block.tall else "", tabIndex="0"
    )
    copy = dcc.Clipboard(content=block.text, title="copy", className="copy") if block.copy else None
    return html.Div([html.Div([html.Span(block.title), copy], className="code-head"), text], className="code")


def _chart(block: b.Chart) -> Any:
    tools = [
        html.Button(
            kind.upper(),
            className="save",
            title=f"download {block.title} as {kind.upper()}",
            **extra({"data-save": kind}),
        )
        for kind in ("png", "svg")
    ]
    graph = dcc.Graph(
        id={"part": "chart", "of": block.id},
        figure={"data": [], "layout": {"height": block.height}},
        responsive=True,
        style={"height": f"{block.height}px"},
        config={
            "displaylogo": False,
            "displayModeBar": "hover",
            "modeBarButtonsToRemove": ["toImage", "lasso2d", "select2d"],
        },
    )
    return html.Figure(
        [
            html.Div([html.H3(block.title), html.Div(tools, className="tools")], className="chart-head"),
            dcc.Store(id={"part": "figure", "of": block.id}, data=block.figure),
            html.Div(graph, className="canvas"),
            html.Figcaption(block.caption, id={"part": "caption", "of": block.id}),
        ],
        className="chart",
    )


def _options(choice: b.Choice) -> list[dict[str, str]]:
    return [{"label": label, "value": value} for value, label in choice.options]


def _choice(choice: b.Choice) -> Any:
    picker = dcc.Dropdown(
        id={"part": "choice", "of": choice.name},
        options=_options(choice),
        value=choice.value,
        multi=choice.many,
        clearable=choice.many,
        persistence=False,
    )
    return html.Label([html.Span(choice.label), picker], className="choice many" if choice.many else "choice")


def _grid(block: b.Grid) -> Any:
    return html.Div(
        [
            html.Div(
                [
                    dcc.Input(
                        id="search", type="search", placeholder="search all columns", debounce=False, className="search"
                    ),
                    html.Button("download CSV", id="csv", className="button"),
                    html.A(
                        "compare selected",
                        id="compare-selected",
                        className="button off",
                        **extra({"aria-disabled": "true"}),
                    ),
                    html.Span(id="shown", className="quiet"),
                ],
                className="grid-tools",
            ),
            dag.AgGrid(
                id={"part": "grid", "of": block.id},
                columnDefs=column_defs(block.columns),
                rowData=list(block.rows),
                getRowId="params.data.id",
                dashGridOptions=grid_options(),
                csvExportParams={"fileName": "trials.csv", "allColumns": True},
                columnSize=None,
                className="ag-theme-quartz grid",
                persistence=False,
            ),
        ],
        className="grid-block",
    )
