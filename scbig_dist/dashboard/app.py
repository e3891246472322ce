"""The application: a page per address, and one update that changes only what has changed since the reader saw it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import flask
from dash import (
    ALL,
    MATCH,
    ClientsideFunction,
    Dash,
    Input,
    Output,
    State,
    callback_context,
    dcc,
    html,
    no_update,
    set_props,
)

from scbig_dist.dashboard.index import Page
from scbig_dist.dashboard.pages import Pages, Place, place_of
from scbig_dist.dashboard.render import changes, extra, mount

ASSETS = Path(__file__).parent / "assets"


def make_app(pages: Pages) -> Dash:
    """A Dash application over the studies; every asset comes from this machine."""
    app = Page(
        __name__,
        assets_folder=str(ASSETS),
        assets_ignore="export.js",
        serve_locally=True,
        title="scbig dashboard",
        update_title=None,  # type: ignore[arg-type]  # None: the title stays while an update runs
        suppress_callback_exceptions=True,
        meta_tags=[{"name": "viewport", "content": "width=device-width, initial-scale=1"}],
    )
    app.layout = _layout()
    _add_pulse(app.server, pages)

    @app.callback(
        Output("page", "children"), Output("nav", "children"), Output("seen", "data"), Output("title", "data"),
        Input("url", "pathname"), State("url", "search"),
    )  # fmt: skip
    def open_page(path: str | None, search: str | None) -> tuple[Any, ...]:
        place = place_of(path or "/", pages)
        query = dict(parse_qsl((search or "").removeprefix("?")))
        drawn = pages.drawn(place, query)
        return mount(drawn.blocks), _nav(pages, place), {**drawn.marks, **drawn.grids}, _title(place)

    @app.callback(
        Output("seen", "data", allow_duplicate=True),
        Input("pulse", "data"), Input({"part": "choice", "of": ALL}, "value"), State("url", "pathname"), State("url", "search"), State("seen", "data"),
        prevent_initial_call=True,
    )  # fmt: skip
    def update(
        _pulse: Any, _values: list[Any], path: str | None, search: str | None, seen: Mapping[str, Any] | None
    ) -> Any:
        place = place_of(path or "/", pages)
        query = dict(parse_qsl((search or "").removeprefix("?")))
        choices = callback_context.inputs_list[1]
        for each in choices:
            value = each.get("value")
            query[each["id"]["of"]] = (
                ",".join(value) if isinstance(value, list) else "" if value is None else str(value)
            )
        if not seen:
            return no_update  # the page itself is still under way
        drawn = pages.drawn(place, query)
        now = drawn.marks
        if seen.get("") != now[""]:
            set_props("page", {"children": mount(drawn.blocks)})
            return {**now, **drawn.grids}
        changed = [
            block
            for block in pages.flat(drawn.blocks)
            if now.get(getattr(block, "id", "")) != seen.get(getattr(block, "id", ""))
        ]
        if not changed:
            return no_update
        grids = pages.send_grid_changes(place, changed, seen)
        for block in changed:
            for component, props in changes(block):
                set_props(component, props)
        return {**seen, **now, **grids}

    _add_browser_side(app)
    return app


def _layout() -> Any:
    return html.Div(
        [
            html.A("to the content", href="#page", className="skip"),
            dcc.Location(id="url", refresh="callback-nav"),
            dcc.Store(id="seen"),
            dcc.Store(id="pulse"),
            dcc.Store(id="title"),
            dcc.Store(id="theme"),
            dcc.Store(id="void"),
            html.Header(
                [
                    html.Div(id="nav"),
                    html.Div(
                        [
                            html.Span("", id="live", className="live", role="status"),
                            html.Button(
                                "◐",
                                id="theme-button",
                                className="icon",
                                title="light or dark",
                                **extra({"aria-label": "light or dark"}),
                            ),
                        ],
                        className="right",
                    ),
                ],
                className="top",
            ),
            html.Main(id="page", tabIndex="-1"),
        ]
    )


def _nav(pages: Pages, place: Place) -> Any:
    names = list(pages.readers)
    if place.study is None:
        return html.Nav([dcc.Link("scbig", href="/", className="brand")])
    studies = dcc.Link(place.study, href="/" if len(names) > 1 else f"/study/{place.study}", className="study",
                       title="all studies" if len(names) > 1 else "the study")  # fmt: skip
    links = [
        dcc.Link(
            title,
            href=f"/study/{place.study}" + (f"/{page}" if page else ""),
            className="on" if page == place.page else "",
        )
        for page, title in pages.titles.items()
        if page != "trial" or place.page == "trial"
    ]
    return html.Nav(
        [dcc.Link("scbig", href="/", className="brand"), studies, html.Span(links, className="links")],
        **extra({"aria-label": "pages"}),
    )


def _title(place: Place) -> str:
    parts = [place.trial and f"trial {place.trial}", place.page, place.study, "scbig"]
    return " · ".join(part for part in parts if part)


def _add_pulse(server: flask.Flask, pages: Pages) -> None:
    @server.get("/pulse")
    def pulse() -> flask.Response:
        """A short text that changes when there is something new to draw, so that waiting costs next to nothing."""
        place = place_of(flask.request.args.get("path", "/"), pages)
        return flask.jsonify(pages.pulse(place, time.time()))


def _add_browser_side(app: Dash) -> None:
    """What runs in the browser (assets/page.js)."""

    def of(name: str) -> ClientsideFunction:
        return ClientsideFunction("scbig", name)

    app.clientside_callback(
        of("figure"),
        Output({"part": "chart", "of": MATCH}, "figure"), Output({"part": "chart", "of": MATCH}, "style"),
        Input({"part": "figure", "of": MATCH}, "data"), Input("theme", "data"), State({"part": "chart", "of": MATCH}, "style"), State({"part": "chart", "of": MATCH}, "figure"),
    )  # fmt: skip
    app.clientside_callback(
        of("remember"),
        Output("void", "data"),
        Input({"part": "choice", "of": ALL}, "value"),
        Input({"part": "choice", "of": ALL}, "id"),
    )
    app.clientside_callback(
        of("title"), Output("void", "data", allow_duplicate=True), Input("title", "data"), prevent_initial_call=True
    )
    app.clientside_callback(
        of("restoreGrid"),
        Output({"part": "grid", "of": "trials"}, "filterModel"), Output({"part": "grid", "of": "trials"}, "columnState"), Output("search", "value"),
        Input({"part": "grid", "of": "trials"}, "id"),
    )  # fmt: skip
    app.clientside_callback(
        of("rememberGrid"),
        Output("shown", "children"), Output("compare-selected", "href"), Output("compare-selected", "className"),
        Input({"part": "grid", "of": "trials"}, "filterModel"), Input({"part": "grid", "of": "trials"}, "columnState"), Input("search", "value"),
        Input({"part": "grid", "of": "trials"}, "selectedRows"), Input({"part": "grid", "of": "trials"}, "virtualRowData"), State("url", "pathname"),
    )  # fmt: skip
    app.clientside_callback(
        of("search"), Output({"part": "grid", "of": "trials"}, "dashGridOptions"), Input("search", "value"), State({"part": "grid", "of": "trials"}, "dashGridOptions"),
    )  # fmt: skip
    app.clientside_callback(
        of("csv"),
        Output({"part": "grid", "of": "trials"}, "exportDataAsCsv"),
        Input("csv", "n_clicks"),
        prevent_initial_call=True,
    )
