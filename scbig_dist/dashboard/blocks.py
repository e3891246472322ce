"""What a page is made of, before it is drawn: by Dash in a browser that follows a sweep, or into one HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Figure = dict[str, Any]


@dataclass(frozen=True)
class Link:
    """A cell, or a word in a text, that leads somewhere."""

    text: str
    href: str


Cell = str | Link


@dataclass(frozen=True)
class Tile:
    """One figure that is read at a glance."""

    label: str
    value: Cell
    note: str = ""
    tone: str = ""
    """`good`, `warn` or `bad`; it is always said in words too."""


@dataclass(frozen=True)
class Heading:
    text: str
    note: str = ""


@dataclass(frozen=True)
class Tiles:
    id: str
    tiles: tuple[Tile, ...]


@dataclass(frozen=True)
class Segment:
    label: str
    n: int
    tone: str


@dataclass(frozen=True)
class Progress:
    """A bar of counted parts with its legend beneath."""

    id: str
    segments: tuple[Segment, ...]
    total: int


@dataclass(frozen=True)
class Text:
    id: str
    text: str
    kind: str = "plain"
    """`plain`, `note`, `warn`, or `empty`: what will appear here."""


@dataclass(frozen=True)
class Table:
    """A small table; `numeric` columns stand at the right, `strong` rows are marked."""

    id: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    numeric: frozenset[int] = frozenset()
    strong: frozenset[int] = frozenset()
    caption: str = ""


@dataclass(frozen=True)
class Chart:
    """`figure` None: there is nothing to draw yet, and the caption says what will be."""

    id: str
    title: str
    figure: Figure | None
    caption: str = ""
    height: int = 320


@dataclass(frozen=True)
class Code:
    id: str
    title: str
    text: str
    copy: bool = False
    tall: bool = False


@dataclass(frozen=True)
class Column:
    """A column of a grid; `kind`: `text`, `score`, `number`, `count`, `seconds`, `trial` or `status`."""

    field: str
    title: str
    kind: str = "text"
    width: int = 120
    help: str = ""
    pinned: bool = False
    hidden: bool = False


@dataclass(frozen=True)
class Grid:
    """A large table: sorts, filters, searches, exports. `rows` are told apart by `id`."""

    id: str
    columns: tuple[Column, ...]
    rows: Sequence[Mapping[str, Any]] = field(default_factory=tuple)


@dataclass(frozen=True)
class Choice:
    """What a reader may set; its value stands in the URL under `name`."""

    name: str
    label: str
    options: tuple[tuple[str, str], ...]
    value: Any
    many: bool = False


@dataclass(frozen=True)
class Choices:
    id: str
    choices: tuple[Choice, ...]


@dataclass(frozen=True)
class Columns:
    """Blocks side by side where there is room."""

    blocks: tuple[Block, ...]


Block = Heading | Tiles | Progress | Text | Table | Chart | Code | Grid | Choices | Columns


def flat(blocks: Sequence[Block]) -> list[Block]:
    """All blocks, those side by side one after the other."""
    found: list[Block] = []
    for block in blocks:
        found += flat(block.blocks) if isinstance(block, Columns) else [block]
    return found
