"""The pages of a study in one HTML file that needs no server and no internet: to send, to keep, to read later."""

from __future__ import annotations

import html
import os
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import plotly

from scbig_dist.dashboard import blocks as b
from scbig_dist.dashboard.pages import TITLES, Pages, Place
from scbig_dist.dashboard.study import Snapshot
from scbig_dist.errors import UserError

ASSETS = Path(__file__).parent / "assets"
MOST_TRIALS = 60  # with a page of their own: the best, the failed, the running
COMPARED = 3


def write_export(pages: Pages, out: Path) -> Path:
    """Write every study's pages to `out`, whole or not at all."""
    if out.is_dir() or not out.resolve().parent.is_dir():
        raise UserError(
            f"--export {out}: {'a folder' if out.is_dir() else 'its folder does not exist'}; name a file such as study.html"
        )
    inside = [reader.path for reader in pages.readers.values() if out.resolve().is_relative_to(reader.path)]
    if inside:
        raise UserError(
            f"--export {out}: lies inside the study {inside[0]}, which is only read; name a place outside it"
        )
    beside = out.with_name(f".{out.name}-{uuid.uuid4().hex[:8]}")
    try:
        beside.write_text(document(pages), encoding="utf-8")
        os.replace(beside, out)
    finally:
        beside.unlink(missing_ok=True)
    return out


def document(pages: Pages) -> str:
    """The file's text. Whatever comes from a study is escaped; figures are data, never code."""
    sections, figures = list[str](), dict[str, Any]()
    for name in pages.readers:
        study = pages.readers[name].snapshot()
        for place, query, title in _places(study):
            blocks = pages.blocks(place, query)
            page = f"{name}/{place.page}" + (f"/{place.trial}" if place.trial else "")
            inner = "".join(_block(block, page, figures) for block in blocks)
            sections.append(
                f'<section id="{_e(page)}" data-title="{_e(title)}" data-study="{_e(name)}" hidden>{inner}</section>'
            )
    moment = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    nav = "".join(_nav(name) for name in pages.readers)
    # `<` inside JSON would end the script element: a trial's name may hold anything.
    data = (
        orjson.dumps(figures).decode().replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    )
    plotly_js = (Path(plotly.__file__).parent / "package_data" / "plotly.min.js").read_text(encoding="utf-8")
    script = "".join((ASSETS / name).read_text(encoding="utf-8") for name in ("a_theme.js", "export.js"))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>scbig dashboard</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{(ASSETS / 'page.css').read_text(encoding='utf-8')}</style></head><body>"
        f'<header class="top"><nav><span class="brand">scbig</span>{nav}</nav><div class="right"><span class="live">as of {moment}</span></div></header>'
        f'<main id="page">{"".join(sections)}</main><script type="application/json" id="figures">{data}</script>'
        f"<script>{plotly_js}</script><script>{script}</script></body></html>"
    )


def _places(study: Snapshot) -> list[tuple[Place, Mapping[str, str], str]]:
    """Every page but Trial once, then a page per trial: all of a small study, of a large one those that matter."""
    ranked = [t.id for group in study.groups for t in group.trials]
    first = [*ranked[:MOST_TRIALS], *(t.id for t in study.of("failed", "running", "unreadable"))]
    rest = [name for name in study.trials if name not in first]
    chosen = list(dict.fromkeys([*first, *rest]))[:MOST_TRIALS]
    places: list[tuple[Place, Mapping[str, str], str]] = []
    for page, title in TITLES.items():
        if page != "trial":
            places.append(
                (Place(study.id, page), {"trials": ",".join(ranked[:COMPARED])} if page == "compare" else {}, title)
            )
    return places + [(Place(study.id, "trial", name), {}, f"Trial {name}") for name in chosen]


def _nav(name: str) -> str:
    links = "".join(f'<a href="#{_e(name)}/{page}">{title}</a>' for page, title in TITLES.items() if page != "trial")
    return f'<span class="study">{_e(name)}</span><span class="links">{links}</span>'


def _block(block: b.Block, page: str, figures: dict[str, Any]) -> str:
    match block:
        case b.Heading(text, note):
            return f"<h2>{_e(text)}{f'<small>{_e(note)}</small>' if note else ''}</h2>"
        case b.Columns(blocks):
            return f'<div class="columns">{"".join(_block(each, page, figures) for each in blocks)}</div>'
        case b.Tiles(_, tiles):
            return f'<div class="tiles">{"".join(_tile(tile) for tile in tiles)}</div>'
        case b.Progress():
            return _progress(block)
        case b.Text(_, text, kind):
            lines = "".join(f"<p>{_e(line)}</p>" for line in text.split("\n"))
            return f'<div class="text {kind}">{lines}</div>' if text else ""
        case b.Table():
            return _table(block.columns, block.rows, block.numeric, block.strong, block.caption)
        case b.Grid():
            return _grid(block)
        case b.Code():
            return f'<div class="code"><div class="code-head">{_e(block.title)}</div><pre class="{"tall" if block.tall else ""}">{_e(block.text)}</pre></div>'
        case b.Choices():
            said = "; ".join(
                f"{c.label}: {c.value if not isinstance(c.value, list) else ', '.join(c.value)}" for c in block.choices
            )
            return f'<p class="caption">{_e(said)}</p>'
        case b.Chart():
            return _chart(block, page, figures)
    raise AssertionError(f"no export of {type(block).__name__}")


def _e(text: str) -> str:
    return html.escape(str(text), quote=True)


def _cell(cell: b.Cell) -> str:
    if isinstance(cell, str):
        return _e(cell)
    if cell.href.startswith("/study/"):
        study, _, rest = cell.href.removeprefix("/study/").partition("/")
        return f'<a href="#{_e(study)}/{_e(rest.partition("?")[0])}">{_e(cell.text)}</a>'
    return _e(cell.text)


def _tile(tile: b.Tile) -> str:
    return (
        f'<div class="tile {tile.tone}"><div class="label">{_e(tile.label)}</div><div class="value">{_cell(tile.value)}</div>'
        f'<div class="note">{_e(tile.note)}</div></div>'
    )


def _progress(block: b.Progress) -> str:
    total = max(block.total, 1)
    parts = "".join(
        f'<span class="part {p.tone}" style="width:{100 * p.n / total:.3f}%"></span>' for p in block.segments if p.n
    )
    legend = "".join(f'<span><i class="key {p.tone}"></i>{p.n} {_e(p.label)}</span>' for p in block.segments)
    return f'<div class="progress"><div class="bar">{parts}</div><div class="legend">{legend}</div></div>'


def _table(
    columns: Sequence[str],
    rows: Sequence[Sequence[b.Cell]],
    numeric: frozenset[int],
    strong: frozenset[int],
    caption: str,
) -> str:
    if not columns:
        return f'<div class="inline">{"".join(f"<span>{_cell(cell)}</span>" for row in rows for cell in row)}</div>'
    kinds = ["n" if i in numeric else "" for i in range(len(columns))]
    head = "".join(f'<th class="{kind}">{_e(column)}</th>' for kind, column in zip(kinds, columns, strict=True))
    body = "".join(
        f'<tr class="{"strong" if r in strong else ""}">'
        + "".join(
            f'<td class="{"n" if i in numeric else "long" if _is_long(cell) else ""}">{_cell(cell)}</td>'
            for i, cell in enumerate(row)
        )
        + "</tr>"
        for r, row in enumerate(rows)
    )
    said = f'<p class="caption">{_e(caption)}</p>' if caption else ""
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{said}'


def _is_long(cell: b.Cell) -> bool:
    return len(cell.text if isinstance(cell, b.Link) else cell) > 44


def _grid(block: b.Grid) -> str:
    """Sorted as the page has it; a click on a heading sorts by it."""
    shown = [c for c in block.columns if not c.hidden and any(row.get(c.field) not in (None, "") for row in block.rows)]
    rows = sorted(block.rows, key=lambda row: (row.get("order") is None, row.get("order") or 0))
    body = []
    for row in rows:
        href = f"{row['href']}{row['id']}"
        body.append(
            [
                b.Link(_value(row.get(c.field), c.kind), href)
                if c.kind == "trial"
                else _value(row.get(c.field), c.kind)
                for c in shown
            ]
        )
    numeric = frozenset(i for i, c in enumerate(shown) if c.kind in ("score", "number", "count", "seconds"))
    return f'<div class="sortable">{_table([c.title for c in shown], body, numeric, frozenset(), "")}</div>'


def _value(value: Any, kind: str) -> str:
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    return {"score": f"{value:.4f}", "seconds": f"{value:,.0f}", "count": f"{value:,.0f}"}.get(kind, f"{value:,.4g}")


def _chart(block: b.Chart, page: str, figures: dict[str, Any]) -> str:
    graph = ""
    if block.figure is not None:
        name = f"figure-{len(figures)}"
        figures[name] = block.figure
        graph = f'<div class="graph" id="{name}" style="height:{block.height}px"></div>'
    tools = '<div class="tools"><button class="save" data-save="png">PNG</button><button class="save" data-save="svg">SVG</button></div>'
    return (
        f'<figure class="chart"><div class="chart-head"><h3>{_e(block.title)}</h3>{tools if graph else ""}</div>{graph}'
        f"<figcaption>{_e(block.caption)}</figcaption></figure>"
    )
