"""What a Ray cluster says of itself, over HTTP with its token: asked beside the page, so that no reader waits for it.

Ray's state API is served by its dashboard (port 8265). The token goes to the address that the
person named, and to this machine; never to one that merely stands in a study's files.
"""

from __future__ import annotations

import json
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from scbig_dist.cluster.ray_token import find_token
from scbig_dist.dashboard.files import number, text, whole
from scbig_dist.dashboard.security import is_loopback
from scbig_dist.dashboard.study import Snapshot
from scbig_dist.errors import UserError

ASK_SECONDS = 5.0  # between two questions, while somebody looks
WAIT_SECONDS = 3.0  # for an answer
MOST_BYTES = 20_000_000
HEAD_PORT, PAGE_PORT = 6379, 8265


@dataclass(frozen=True)
class Node:
    """A node; memory in bytes, None where Ray does not say."""

    name: str
    ip: str
    alive: bool
    why: str = ""
    cpu_percent: float | None = None
    memory: tuple[float, float] | None = None
    """(used, total)."""
    store: tuple[float, float] | None = None
    """Object store: (used, total)."""
    gpus: tuple[str, ...] = ()
    resources: Mapping[str, float] = field(default_factory=dict)
    id: str = ""


@dataclass(frozen=True)
class Actor:
    """A process that trains, or did."""

    name: str
    state: str
    node: str
    pid: int | None
    resources: Mapping[str, float]
    why: str = ""


@dataclass(frozen=True)
class Cluster:
    """`problem` says why nothing is known; `usage` is {resource: (used, total)}."""

    address: str = ""
    problem: str = ""
    nodes: tuple[Node, ...] = ()
    actors: tuple[Actor, ...] = ()
    usage: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    pending: tuple[str, ...] = ()
    """Resources that Ray could not place yet, in its words."""
    at: float = 0.0

    @property
    def answers(self) -> bool:
        return bool(self.address) and not self.problem and self.at > 0


def page_address(given: str) -> str:
    """The URL of Ray's state API for what a person wrote: its page, or the head's own HOST:6379."""
    parts = urlsplit(given if "://" in given else f"http://{given}")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise UserError(
            f"--address {given}: write HOST:PORT or http://HOST:{PAGE_PORT}, the address of Ray's dashboard"
        )
    try:
        port = parts.port or PAGE_PORT
    except ValueError:
        raise UserError(f"--address {given}: the port is no number; write HOST:{PAGE_PORT}") from None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{PAGE_PORT if port == HEAD_PORT else port}"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the token elsewhere."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)


def ask(address: str, path: str, token: str | None) -> Any:
    """The JSON at a path of Ray's API; OSError or ValueError where there is none."""
    request = urllib.request.Request(address + path, headers={"Authorization": f"Bearer {token}"} if token else {})
    with _opener.open(request, timeout=WAIT_SECONDS) as answer:
        return json.loads(answer.read(MOST_BYTES))


class ClusterReader:
    """The newest answer of each cluster. `state` returns at once; a thread asks where the answer is old."""

    def __init__(self, address: str | None = None) -> None:
        self._given = None if address is None else page_address(address)
        self._states: dict[str, Cluster] = {}
        self._asked: dict[str, float] = {}
        self._lock = threading.Lock()

    def address_of(self, study: Snapshot) -> str:
        """What was given, or what the study's own sweep left where that is this machine and the sweep is at work."""
        if self._given is not None:
            return self._given
        named = text(study.cluster.get("dashboard"))
        if not named or not study.sweep.at_work:
            return ""
        try:
            address = page_address(named)
        except UserError:
            return ""
        return address if is_loopback(urlsplit(address).hostname or "") else ""

    def state(self, study: Snapshot) -> Cluster:
        address = self.address_of(study)
        if not address:
            said = "no address was given (--address), and no sweep of this machine is at work"
            return Cluster(problem=said)
        with self._lock:
            if time.monotonic() - self._asked.get(address, -ASK_SECONDS) >= ASK_SECONDS:
                self._asked[address] = time.monotonic()
                threading.Thread(target=self._refresh, args=(address,), daemon=True).start()
            return self._states.get(address, Cluster(address, "being asked"))

    def _refresh(self, address: str) -> None:
        self._states[address] = read_cluster(address, find_token(os.environ, Path.home()))


def read_cluster(address: str, token: str | None) -> Cluster:
    """Everything that is shown, or a sentence that says why not."""
    try:
        summary = ask(address, "/nodes?view=summary", token)
        status = ask(address, "/api/cluster_status?format=0", token)
        listed = ask(address, "/api/v0/nodes?detail=1&limit=1000", token)
        actors = ask(address, "/api/v0/actors?detail=1&limit=1000", token)
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            said = (
                "it asks for a token that is not this one"
                if token
                else "it asks for a token (~/.ray/auth_token, RAY_AUTH_TOKEN)"
            )
            return Cluster(address, f"{address}: {said}")
        return Cluster(address, f"{address} answers with HTTP {error.code}: is it Ray's dashboard?")
    except (OSError, ValueError):
        return Cluster(address, f"no Ray dashboard answers at {address}")
    try:
        nodes = _nodes(summary, listed)
        names = {node.id: node.name for node in nodes}
        load = (((status.get("data") or {}).get("clusterStatus") or {}).get("loadMetricsReport")) or {}
        usage = {
            str(k): (number(v[0]) or 0.0, number(v[1]) or 0.0)
            for k, v in (load.get("usage") or {}).items()
            if isinstance(v, list) and len(v) == 2
        }
        pending = [
            f"{n} × {bundle}" for bundle, n in [*(load.get("resourceDemand") or []), *(load.get("pgDemand") or [])]
        ]
        return Cluster(address, "", nodes, _actors(actors, names), usage, tuple(pending[:20]), time.time())
    except (AttributeError, KeyError, TypeError, ValueError, IndexError):
        return Cluster(address, f"{address} answers, but not as Ray 2.60 does")


def _rows(answer: Any) -> list[dict[str, Any]]:
    return [row for row in answer["data"]["result"]["result"] if isinstance(row, dict)]


def _nodes(summary: Any, listed: Any) -> tuple[Node, ...]:
    live = {}
    for each in summary["data"]["summary"]:
        live[text((each.get("raylet") or {}).get("nodeId"))] = each
    found = []
    for row in _rows(listed):
        each = live.get(text(row.get("node_id")), {})
        raylet, mem = each.get("raylet") or {}, each.get("mem") or []
        used, free = number(raylet.get("objectStoreUsedMemory")), number(raylet.get("objectStoreAvailableMemory"))
        alive = row.get("state") == "ALIVE"
        found.append(
            Node(
                name=text(each.get("hostname") or row.get("node_name") or row.get("node_ip")),
                ip=text(row.get("node_ip")),
                alive=alive,
                why="" if alive else text(row.get("state_message") or "it is dead"),
                cpu_percent=number(each.get("cpu")),
                memory=(mem[3], mem[0])
                if len(mem) >= 4 and number(mem[3]) is not None and number(mem[0]) is not None
                else None,
                store=(used or 0.0, (used or 0.0) + (free or 0.0)) if used is not None or free is not None else None,
                gpus=tuple(_gpu(gpu) for gpu in each.get("gpus") or [] if isinstance(gpu, dict)),
                resources={
                    str(k): v
                    for k, each in (row.get("resources_total") or {}).items()
                    if (v := number(each)) is not None
                },
                id=text(row.get("node_id")),
            )
        )
    return tuple(sorted(found, key=lambda node: (not node.alive, node.name)))


def _gpu(gpu: Mapping[str, Any]) -> str:
    used, total = number(gpu.get("memoryUsed")), number(gpu.get("memoryTotal"))
    memory = "" if used is None or total is None else f", {used / 1e3:.1f} of {total / 1e3:.1f} GB"
    busy = number(gpu.get("utilizationGpu"))
    return f"{gpu.get('index')}: {gpu.get('name')}" + ("" if busy is None else f", {busy:.0f}% busy") + memory


def _actors(answer: Any, nodes: Mapping[str, str]) -> tuple[Actor, ...]:
    found = []
    for row in _rows(answer):
        cause = row.get("death_cause") or {}
        context = (
            next((each for each in cause.values() if isinstance(each, dict)), {}) if isinstance(cause, dict) else {}
        )
        needs = {
            str(k): v for k, each in (row.get("required_resources") or {}).items() if (v := number(each)) is not None
        }
        found.append(
            Actor(
                name=text(row.get("repr_name") or row.get("class_name")),
                state=text(row.get("state")),
                node=nodes.get(text(row.get("node_id")), ""),
                pid=whole(row.get("pid")) or None,
                resources={k.split("_group_")[0]: v for k, v in needs.items() if "bundle" not in k},
                why=text(context.get("error_message")).split("\n")[0][:200],
            )
        )
    return tuple(found)
