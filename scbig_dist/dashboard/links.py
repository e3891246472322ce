"""Other pages that may run beside this one: asked for on this machine, at their usual ports."""

from __future__ import annotations

import http.client
import shlex
import threading
import time
from dataclasses import dataclass

from scbig_dist.dashboard.cluster import Cluster
from scbig_dist.dashboard.study import Snapshot

ASK_SECONDS = 30.0
WAIT_SECONDS = 0.4


@dataclass(frozen=True)
class Tool:
    """`url` empty: it does not run, and `command` starts it."""

    name: str
    what: str
    url: str
    command: str


_known: dict[int, tuple[float, bool]] = {}
_lock = threading.Lock()


def tools(study: Snapshot, cluster: Cluster) -> list[Tool]:
    trials = study.path / "trials"
    search = str(study.asked.get("storage") or f"sqlite:///{study.path / 'study.db'}")
    board = "http://127.0.0.1:6006" if _answers(6006, "/data/environment") else ""
    optuna = "http://127.0.0.1:8080" if _answers(8080, "/api/meta") else ""
    return [
        Tool(
            "Ray Dashboard",
            "nodes, tasks, logs of the cluster",
            cluster.address if cluster.answers else "",
            "it comes with the sweep's Ray",
        ),
        Tool("TensorBoard", "every curve of every trial", board, f"tensorboard --logdir {shlex.quote(str(trials))}"),
        Tool("optuna-dashboard", "the search as Optuna sees it", optuna, f"optuna-dashboard {shlex.quote(search)}"),
    ]


def _answers(port: int, path: str) -> bool:
    """Whether the tool answers on loopback; what was found out holds for half a minute."""
    with _lock:
        now = time.monotonic()
        when, known = _known.get(port, (-ASK_SECONDS, False))
        if now - when < ASK_SECONDS:
            return known
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_SECONDS)
        try:
            connection.request("GET", path)
            found = connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            found = False
        finally:
            connection.close()
        _known[port] = (now, found)
        return found
