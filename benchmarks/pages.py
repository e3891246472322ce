"""A page of tables written anew in part: rows that were not measured again stay as they stand."""

from __future__ import annotations

from collections.abc import Sequence


def with_kept_rows(old: str, new: str, order: Sequence[str]) -> str:
    """`new` with the sections, tables and rows that only `old` has; blocks are parted by blank lines.

    A section goes by its heading up to the first comma, a table by the text before it, a row by its first cell, or
    its first two where the second column is `metric`. Rows named in `order` come in that order, others behind them.
    """
    sections = _sections(old)
    for heading, blocks in _sections(new).items():
        kept = sections.get(heading, {})
        sections[heading] = kept | {text: _merged(kept.get(text, ""), table, order) for text, table in blocks.items()}
    parts = [block for blocks in sections.values() for pair in blocks.items() for block in pair if block]
    return "\n\n".join(parts)


def _sections(body: str) -> dict[str, dict[str, str]]:
    """Heading → text before a table → the table."""
    sections: dict[str, dict[str, str]] = {}
    text = heading = ""
    for block in body.strip().split("\n\n") if body.strip() else []:
        if block.startswith("|"):
            sections[heading][text] = block
        else:
            text = block
            if block.startswith("## "):
                heading = block.split(",")[0]
                sections[heading] = {}
            sections[heading].setdefault(text, "")
    return sections


def _merged(old: str, new: str, order: Sequence[str]) -> str:
    if not old or not new:
        return new or old
    head, rule, *_ = new.splitlines()
    n_keys = 2 if _cells(head)[1] == "metric" else 1
    rows = {tuple(_cells(line)[:n_keys]): line for table in (old, new) for line in table.splitlines()[2:]}
    place = {name: index for index, name in enumerate(order)}
    ordered = sorted(rows.items(), key=lambda item: place.get(item[0][0], len(place)))  # stable
    return "\n".join([head, rule, *(line for _, line in ordered)])


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]
