"""Which page an address names, and what stands on it now; many readers of one page cost as much as one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from dash import set_props

from scbig_dist.dashboard import blocks as b
from scbig_dist.dashboard.cluster import ClusterReader
from scbig_dist.dashboard.curves import Logs
from scbig_dist.dashboard.grid import RowChanges
from scbig_dist.dashboard.important import Importances
from scbig_dist.dashboard.page_axes import axes_page
from scbig_dist.dashboard.page_cluster import cluster_page
from scbig_dist.dashboard.page_compare import compare_page
from scbig_dist.dashboard.page_home import home_page
from scbig_dist.dashboard.page_scaling import scaling_page
from scbig_dist.dashboard.page_study import study_page
from scbig_dist.dashboard.page_trial import trial_page
from scbig_dist.dashboard.page_trials import trials_page
from scbig_dist.dashboard.render import marks, shape
from scbig_dist.dashboard.study import StudyReader
from scbig_dist.dashboard.view import View

TITLES = {
    "": "Study", "trials": "Trials", "trial": "Trial", "axes": "Axes", "compare": "Compare", "scaling": "Scaling",
    "cluster": "Cluster",
}  # fmt: skip
PAGES: dict[str, Callable[[View], list[b.Block]]] = {
    "": study_page, "trials": trials_page, "axes": axes_page, "compare": compare_page, "scaling": scaling_page,
    "cluster": cluster_page,
}  # fmt: skip
CLOCK_SECONDS = 8.0  # while a sweep runs, what only moves on (steps, times) is shown so often
SLOW_SECONDS = 16.0  # the same in the table of all trials
STILL = ("axes", "scaling")  # pages that show ended trials alone
MOST_DRAWN = 24  # pages in memory; one of 1,000 trials takes some MB


@dataclass(frozen=True)
class Place:
    """What an address names; `study` None: the list of studies. Names are looked up, never joined to a path."""

    study: str | None = None
    page: str = ""
    trial: str = ""
    missing: str = ""


def place_of(path: str, pages: Pages) -> Place:
    parts = [unquote(part) for part in path.split("/") if part]
    if not parts:
        return Place(next(iter(pages.readers)) if len(pages.readers) == 1 else None)
    if parts[0] != "study" or len(parts) < 2 or parts[1] not in pages.readers:
        return Place(missing=path)
    study, page = parts[1], parts[2] if len(parts) > 2 else ""
    if page == "trial" and len(parts) == 4:
        return Place(study, "trial", parts[3])
    return Place(study, page) if page in PAGES and len(parts) <= 3 else Place(missing=path)


@dataclass(frozen=True)
class Drawn:
    """A page's blocks, the marks that updates go by, and the versions of its grids' rows: worked out once for all readers."""

    blocks: list[b.Block]
    marks: Mapping[str, Any]
    grids: Mapping[str, int]


class Pages:
    """The pages of some studies, and of the cluster where one answers."""

    titles = TITLES
    flat = staticmethod(b.flat)

    def __init__(self, readers: Mapping[str, StudyReader], cluster: ClusterReader) -> None:
        self.readers, self.cluster, self.logs = dict(readers), cluster, Logs()
        self.importances, self.rows = Importances(), RowChanges()
        self._drawn: dict[Any, tuple[str, Drawn]] = {}
        self._lock = threading.Lock()

    def blocks(self, place: Place, query: Mapping[str, str]) -> list[b.Block]:
        return self.drawn(place, query).blocks

    def drawn(self, place: Place, query: Mapping[str, str]) -> Drawn:
        key = (place, tuple(sorted(query.items())))
        with self._lock:  # the second reader waits for what the first is drawing
            state = self.pulse(place, time.time())
            kept = self._drawn.pop(key, None)
            if kept is not None and kept[0] == state:
                self._drawn[key] = kept  # last in line
                return kept[1]
            blocks = self._draw(place, query)
            drawn = Drawn(blocks, marks(blocks) | {"": shape(blocks)}, self._grid_versions(place, blocks))
            self._drawn[key] = (state, drawn)
            while len(self._drawn) > MOST_DRAWN:
                self._drawn.pop(next(iter(self._drawn)))
            return drawn

    def warm_up(self) -> None:
        """Read every study before the first reader comes."""
        for name in self.readers:
            self.drawn(Place(name), {})

    def _draw(self, place: Place, query: Mapping[str, str]) -> list[b.Block]:
        if place.missing:
            return [
                b.Heading("Nothing is here"),
                b.Text("missing", f"{place.missing} names no page; the studies are at /.", "note"),
            ]
        if place.study is None:
            return home_page({name: reader.snapshot() for name, reader in self.readers.items()})
        view = self.view(place.study, query)
        return trial_page(view, place.trial) if place.page == "trial" else PAGES[place.page](view)

    def view(self, study: str, query: Mapping[str, str]) -> View:
        snapshot = self.readers[study].snapshot()
        studies = {name: reader.snapshot for name, reader in self.readers.items()}
        return View(
            snapshot, studies, self.logs, time.time(), dict(query), self.importances, self.cluster.state(snapshot)
        )

    def pulse(self, place: Place, now: float) -> str:
        """A text that is another one when the page would be."""
        names = [place.study] if place.study else list(self.readers)
        parts = []
        for name in names:
            snapshot = self.readers[name].snapshot()
            moves = snapshot.sweep.at_work and place.page not in STILL
            clock = int(now // (SLOW_SECONDS if place.page == "trials" else CLOCK_SECONDS))
            still = snapshot.rows_version if place.page in STILL else snapshot.version
            parts.append(f"{snapshot.rows_version}.{clock}+" if moves else f"{still}")
        if place.page == "axes":
            parts.append(str(self.importances.version))
        if place.page == "cluster":
            parts.append(str(int(now // CLOCK_SECONDS)))
        return "-".join(parts)

    def _grid_versions(self, place: Place, blocks: Sequence[b.Block]) -> dict[str, int]:
        """{rows of a grid: the version that a reader gets with these blocks}."""
        grids = [block for block in b.flat(blocks) if isinstance(block, b.Grid)]
        return {f"rows of {grid.id}": self.rows.note(f"{place.study} {grid.id}", grid.rows) for grid in grids}

    def send_grid_changes(self, place: Place, changed: Sequence[b.Block], seen: Mapping[str, Any]) -> dict[str, int]:
        """Send a reader the rows that are new to it; the versions that it then has."""
        versions = {}
        for block in changed:
            if isinstance(block, b.Grid):
                before = seen.get(f"rows of {block.id}")
                version, rows = self.rows.since(f"{place.study} {block.id}", before if isinstance(before, int) else -1)
                versions[f"rows of {block.id}"] = version
                if rows is None:
                    set_props({"part": "grid", "of": block.id}, {"rowData": self.rows.all(f"{place.study} {block.id}")})
                else:
                    set_props({"part": "grid", "of": block.id}, {"rowTransaction": {**rows, "async": False}})
        return versions
