"""What a report is made of: a title and a list of blocks, written as Markdown or HTML."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Heading:
    text: str


@dataclass(frozen=True)
class Text:
    """A paragraph; `emphasis` sets it apart: a `note` for what is missing, a `label` for what the data are."""

    text: str
    emphasis: Literal["plain", "note", "label"] = "plain"


@dataclass(frozen=True)
class Table:
    """Cells are text already; `numeric` names the columns that are set flush right."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: frozenset[str] = frozenset()
    caption: str = ""
    strong: frozenset[int] = frozenset()
    """Rows that stand out, such as the best trial."""


@dataclass(frozen=True)
class Picture:
    """A figure and the file name (without ending) that it is kept under."""

    name: str
    figure: Figure
    caption: str


@dataclass(frozen=True)
class Code:
    """Text shown as it is; `title` is what it folds under."""

    title: str
    text: str


Block = Heading | Text | Table | Picture | Code


@dataclass
class Document:
    title: str
    blocks: list[Block] = field(default_factory=list)

    def add(self, *blocks: Block | None) -> None:
        """Append blocks; None, where there is nothing to show, is left out."""
        self.blocks += [block for block in blocks if block is not None]
