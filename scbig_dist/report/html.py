"""A document as one HTML file: styles and figures inside, no script, no network, light and dark."""

from __future__ import annotations

import io
import re
from html import escape

from matplotlib import rc_context
from matplotlib.figure import Figure

from scbig_dist.report.document import Block, Code, Document, Heading, Picture, Table, Text
from scbig_dist.report.page_style import CSS
from scbig_dist.report.style import INK


def to_html(document: Document) -> str:
    """The whole page; figures are inline SVG whose ink follows the reader's light or dark setting."""
    body = "\n".join(_block(block) for block in document.blocks)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark">\n<title>{escape(document.title)}</title>\n'
        f"<style>\n{CSS}</style>\n</head>\n<body>\n<main>\n<h1>{escape(document.title)}</h1>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _block(block: Block) -> str:
    match block:
        case Heading(text):
            return f"<h2>{escape(text)}</h2>"
        case Text(text, emphasis):
            return f'<p class="{emphasis}">{escape(text)}</p>'
        case Picture(name, figure, caption):
            return f"<figure>{_svg(figure, name, caption)}<figcaption>{escape(caption)}</figcaption></figure>"
        case Code(title, text):
            return f"<details><summary>{escape(title)}</summary><pre>{escape(text.rstrip())}</pre></details>"
        case Table():
            return _table(block)


def _table(table: Table) -> str:
    if not table.rows:
        return f'<p class="note">{escape(table.caption)}: nothing to show.</p>'
    align = [' class="n"' if column in table.numeric else "" for column in table.columns]
    head = "".join(f'<th scope="col"{a}>{escape(c)}</th>' for a, c in zip(align, table.columns, strict=True))
    rows = []
    for i, row in enumerate(table.rows):
        cells = "".join(f"<td{a}>{escape(cell)}</td>" for a, cell in zip(align, row, strict=True))
        rows.append(f'<tr class="best">{cells}</tr>' if i in table.strong else f"<tr>{cells}</tr>")
    caption = f"<caption>{escape(table.caption)}</caption>" if table.caption else ""
    return (
        f'<div class="wide"><table>{caption}<thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def _svg(figure: Figure, name: str, caption: str) -> str:
    buffer = io.StringIO()
    with rc_context({"svg.hashsalt": name, "svg.fonttype": "path"}):  # ids unlike those of the page's other figures
        figure.savefig(buffer, format="svg", bbox_inches="tight", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # Glyph definitions are named after the glyph alone: make them the figure's own.
    svg = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', _head(name, caption), svg, count=1, flags=re.DOTALL)
    return svg


def _head(name: str, caption: str):
    def replace(match: re.Match[str]) -> str:
        box = match.group(1)
        width = float(box.split()[2])
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="{box}" '
            f'style="max-width:{width:.0f}pt" role="img" aria-label="{escape(caption)}">'
        )

    return replace
