"""What a page is drawn from: a study's snapshot, the others, the cluster if one answers, and what the reader has set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from scbig_dist.dashboard.cluster import Cluster
from scbig_dist.dashboard.curves import Logs
from scbig_dist.dashboard.important import Importances
from scbig_dist.dashboard.study import Snapshot


@dataclass(frozen=True)
class View:
    study: Snapshot
    studies: Mapping[str, Callable[[], Snapshot]]
    """Every study by its name, each read when it is asked for."""
    logs: Logs
    now: float
    query: Mapping[str, str] = field(default_factory=dict)
    """What the reader has set, as it stands in the URL; never trusted."""
    importances: Importances = field(default_factory=Importances)
    cluster: Cluster = field(default_factory=Cluster)

    def chosen(self, name: str, allowed: list[str], default: str = "") -> str:
        """A choice of the reader's, or the default where it is none of those allowed."""
        value = self.query.get(name, "")
        return value if value in allowed else default if default or not allowed else allowed[0]
