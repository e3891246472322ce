"""The table of trials in AG Grid's terms: formats, filters, and which rows have changed since a reader last saw them."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from scbig_dist.dashboard.blocks import Column

FORMATS = {
    "score": "params.value == null ? '–' : d3.format('.4f')(params.value)",
    "number": "params.value == null ? '–' : d3.format(',.4~g')(params.value)",
    "count": "params.value == null ? '–' : d3.format(',d')(params.value)",
    "seconds": "params.value == null ? '–' : d3.format(',.0f')(params.value)",
}


def column_defs(columns: Sequence[Column]) -> list[dict[str, Any]]:
    """Every column sorts and filters by its own kind; numbers stand right, their digits under each other."""
    found = []
    for column in columns:
        each: dict[str, Any] = {
            "field": column.field,
            "colId": column.field,
            "headerName": column.title,
            "headerTooltip": column.help or column.title,
            "width": column.width,
            "pinned": "left" if column.pinned else None,
            "hide": column.hidden,
            # A dot in a field means a path to AG Grid; addresses have dots.
            "valueGetter": {"function": f"params.data[{column.field!r}]"},
        }
        if column.field == "order":
            each |= {"sort": "asc", "sortIndex": 0}
        if column.kind in FORMATS:
            each |= {
                "type": "rightAligned",
                "filter": "agNumberColumnFilter",
                "valueFormatter": {"function": FORMATS[column.kind]},
                "comparator": {"function": "missingLast"},
            }
        else:
            each |= {"filter": "agTextColumnFilter", "tooltipField": None}
        if column.kind == "trial":
            each |= {"cellRenderer": "TrialLink"}
        if column.kind == "status":
            each |= {"cellRenderer": "Status"}
        found.append(each)
    return found


def grid_options() -> dict[str, Any]:
    return {
        "rowSelection": {"mode": "multiRow", "enableClickSelection": False, "headerCheckbox": False},
        "selectionColumnDef": {"pinned": "left", "width": 42},
        "animateRows": False,
        "suppressFieldDotNotation": True,
        "enableCellTextSelection": True,
        "ensureDomOrder": True,
        "rowHeight": 32,
        "headerHeight": 36,
        "multiSortKey": "ctrl",
        "suppressDragLeaveHidesColumns": True,
        "theme": {"function": "gridTheme(themeQuartz)"},
    }


class RowChanges:
    """Which rows of a table have changed since a version that a reader holds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: dict[str, dict[str, tuple[int, int, Mapping[str, Any]]]] = {}  # (came, changed, row)
        self._version: dict[str, int] = {}
        self._gone: dict[str, int] = {}

    def note(self, table: str, rows: Sequence[Mapping[str, Any]]) -> int:
        """The version of a table after taking in its rows."""
        with self._lock:
            known, version = self._rows.setdefault(table, {}), self._version.get(table, 0)
            changed = [row for row in rows if row["id"] not in known or known[row["id"]][2] != row]
            gone = known.keys() - {row["id"] for row in rows}
            if changed or gone:
                version += 1
            for row in changed:
                came = known[row["id"]][0] if row["id"] in known else version
                known[row["id"]] = (came, version, row)
            for name in gone:
                del known[name]
                self._gone[table] = version
            self._version[table] = version
            return version

    def all(self, table: str) -> list[Mapping[str, Any]]:
        with self._lock:
            return [row for _, _, row in self._rows.get(table, {}).values()]

    def since(self, table: str, seen: int) -> tuple[int, dict[str, list[Mapping[str, Any]]] | None]:
        """The version now, and rows to add and to update for who has seen `seen`; None: rows went away, set all anew."""
        with self._lock:
            version = self._version.get(table, 0)
            if seen < max(self._gone.get(table, 0), 1) or seen > version:
                return version, None
            newer = [kept for kept in self._rows.get(table, {}).values() if kept[1] > seen]
            add = [row for came, _, row in newer if came > seen]
            return version, {"add": add, "update": [row for came, _, row in newer if came <= seen]}
