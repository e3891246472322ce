"""The HTML that a browser gets first: the two large scripts, Plotly and AG Grid, do not stand in a page's way.

Plotly is fetched while the page is being asked for. AG Grid stands in the first HTML only where the page has a
table; elsewhere `assets/b_scripts.js` fetches it once the page is drawn.
"""

from __future__ import annotations

import re
from pathlib import Path

import flask
import plotly
from dash import Dash
from dash.fingerprint import build_fingerprint

PLOTLY = "package_data/plotly.min.js"
GRID_SCRIPT = re.compile(r'<script src="([^"]*/dash_ag_grid/dash_ag_grid[^"]*)"></script>\n?')
GRID_PAGES = ("/trials",)


class Page(Dash):
    """Dash, but for its first HTML."""

    def interpolate_index(
        self, metas: str = "", title: str = "", css: str = "", config: str = "", scripts: str = "",
        app_entry: str = "", favicon: str = "", renderer: str = "",
    ) -> str:  # fmt: skip
        grid = GRID_SCRIPT.search(scripts)
        metas += f'\n<meta name="scbig-plotly" content="{PLOTLY_URL}">'
        if not flask.request.path.endswith(GRID_PAGES):
            metas += f'\n<link rel="preload" as="script" href="{PLOTLY_URL}">'
            if grid is not None:
                metas += f'\n<meta name="scbig-grid" content="{grid[1]}">'
                scripts = GRID_SCRIPT.sub("", scripts)
        return super().interpolate_index(metas, title, css, config, scripts, app_entry, favicon, renderer)


def _plotly_url() -> str:
    """An address that changes with the file, so that browsers may keep it."""
    made = int((Path(plotly.__file__).parent / PLOTLY).stat().st_mtime)
    return f"/_dash-component-suites/plotly/{build_fingerprint(PLOTLY, plotly.__version__, made)}"


PLOTLY_URL = _plotly_url()
