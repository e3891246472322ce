"""A document as Markdown, its pictures as PNG files beside it."""

from __future__ import annotations

from scbig_dist.report.document import Block, Code, Document, Heading, Picture, Table, Text


def to_markdown(document: Document) -> str:
    """The whole document; pictures are linked by file name."""
    return "\n\n".join([f"# {document.title}", *(_block(block) for block in document.blocks)]) + "\n"


def _block(block: Block) -> str:
    match block:
        case Heading(text):
            return f"## {text}"
        case Text(text, "plain"):
            return _escape(text)
        case Text(text, "label"):
            return f"> **{_escape(text)}**"
        case Text(text, _):
            return f"> {_escape(text)}"
        case Picture(name, _, caption):
            return f"![{caption}]({name}.png)\n\n*{_escape(caption)}*"
        case Code(title, text):
            return f"<details><summary>{title}</summary>\n\n```yaml\n{text.rstrip()}\n```\n\n</details>"
        case Table():
            return _table(block)


def _table(table: Table) -> str:
    if not table.rows:
        return f"{table.caption}: nothing to show."
    rule = ["---:" if column in table.numeric else ":---" for column in table.columns]
    lines = [[_escape(c) for c in table.columns], rule]
    for i, row in enumerate(table.rows):
        lines.append([f"**{_escape(cell)}**" if i in table.strong and cell else _escape(cell) for cell in row])
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"{text}\n\n{_escape(table.caption)}" if table.caption else text


def _escape(text: str) -> str:
    for mark in ("\\", "|", "*", "_", "<", "`"):
        text = text.replace(mark, "\\" + mark)
    return " ".join(text.split())
