"""`scbig doctor`: what every node says of itself, gathered and judged."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import scbig_dist
from scbig_dist.cluster import on_node
from scbig_dist.cluster.ask import Node, Unanswered, ask, living_nodes
from scbig_dist.cluster.diagnosis import Finding, Report, diagnose, read_lock
from scbig_dist.cluster.resources import local_node
from scbig_dist.cluster.session import ray_session
from scbig_dist.cluster.shared import HERE, Sight, look

LOCK = Path(scbig_dist.__file__).resolve().parents[1] / "requirements.lock"
PLACES = ("/tmp", "~/.cache/scbig")  # where Ray keeps its session and a node its copies of remote stores
ROUNDS = 3  # of asking the time; the quickest answer is the surest


@dataclass(frozen=True)
class Examination:
    """All nodes, this machine first where Ray does not run, and what is wrong."""

    reports: list[Report]
    findings: list[Finding]
    lock: str


def examine(address: str | None, storage: Path | None) -> Examination:
    """This machine alone, or every node of the Ray at `address`. UserError as `ray_session`."""
    lock = read_lock(LOCK) if LOCK.is_file() else {}
    places = [*PLACES, *([str(storage)] if storage else [])]
    names = sorted({*lock, "ray", "torch"})
    here = on_node.facts(names, places)
    against = lock or here["packages"]
    if address is None:
        reports, extra = [Report(HERE, here, resources={"CPU": local_node()["CPU"]})], []
        if storage is not None:
            extra = _storage(look(storage, {}, []), storage)
    else:
        with ray_session(address) as session:
            nodes = living_nodes()
            reports = _reports(nodes, names, places)
            extra = _open(session.dashboard) + (_storage(look(storage, {}, nodes), storage) if storage else [])
    findings = [*diagnose(reports, here, against), *extra]
    return Examination(reports, findings, str(LOCK) if lock else "this machine's versions (no requirements.lock here)")


def _reports(nodes: Sequence[Node], names: Sequence[str], places: Sequence[str]) -> list[Report]:
    answers = ask(nodes, on_node.facts, names, places)
    reports = []
    for node in nodes:
        name, answer = _name(node), answers[node.id]
        if isinstance(answer, Unanswered):
            reports.append(Report(name, None, str(answer), node.resources))
            continue
        skew, rtt = _skew(node)
        reports.append(Report(name, answer, "", node.resources, skew, rtt))
    return reports


def _skew(node: Node) -> tuple[float, float]:
    """(seconds that the node's clock is ahead of ours, seconds that this may be wrong by)."""
    best = (0.0, float("inf"))
    for _ in range(ROUNDS):
        before = time.time()
        answer = ask([node], on_node.clock)[node.id]
        took = time.time() - before
        if not isinstance(answer, Unanswered) and took < best[1]:
            best = (answer - before - took / 2, took)
    return best


def _name(node: Node) -> str:
    return f"{node.address} (head)" if node.is_head else node.address


def _open(dashboard: str | None) -> list[Finding]:
    """What stands open: a cluster without a token is everybody's who reaches its ports."""
    if os.environ.get("RAY_AUTH_MODE") == "token":
        return []
    what = "asks for no token: whoever reaches its ports runs code as its user"
    found = [Finding("cluster", False, what, "set RAY_AUTH_MODE=token before 'ray start' on every node (SECURITY.md)")]
    host = (dashboard or "").removeprefix("http://").rpartition(":")[0]
    if dashboard and host not in ("127.0.0.1", "localhost"):
        what = f"the dashboard listens at {host} without a token"
        found.append(Finding("cluster", False, what, "start the head with --dashboard-host=127.0.0.1"))
    return found


def _storage(sights: Sequence[Sight], storage: Path) -> list[Finding]:
    found, remedy = [], "mount one file system under this path on every node, writable by Ray's user"
    for sight in sights:
        if sight.unwritable:
            found.append(Finding(sight.node, True, f"cannot write in {storage} ({sight.unwritable})", remedy))
        elif sight.unseen:
            what = f"does not see what {len(sight.unseen)} of the others write in {storage}"
            found.append(Finding(sight.node, True, what, remedy))
    return found
