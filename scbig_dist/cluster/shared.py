"""Storage that every node sees: proven by files that each writes and all the others find."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scbig_dist.cluster import on_node
from scbig_dist.cluster.ask import Node, Unanswered, ask, ask_each, living_nodes
from scbig_dist.cluster.plan import FILES
from scbig_dist.config import Config
from scbig_dist.errors import UserError
from scbig_dist.store.files import is_uri
from scbig_dist.store.schema import MANIFEST
from scbig_dist.train.experiment import STAND_INS

HERE = "this machine"
LEAVE_S = 10.0  # until Ray knows of a node that died that it did


@dataclass(frozen=True)
class Sight:
    """What one node (or this machine) makes of a folder; both empty where all is well."""

    node: str
    unwritable: str
    unseen: tuple[str, ...]


def look(folder: Path, files: Mapping[str, int], nodes: Sequence[Node]) -> list[Sight]:
    """Each node writes a file in `folder`, then all look for all of them and for `files` ({path: bytes, -1 for any})."""
    key = uuid.uuid4().hex[:8]
    names = {node.id: f".scbig-seen-{key}-{node.id[:12]}" for node in nodes}
    own = f".scbig-seen-{key}-driver"
    try:
        error = on_node.write_probe(str(folder), own)
        written = ask_each(nodes, on_node.write_probe, {node.id: (str(folder), names[node.id]) for node in nodes})
        # A probe that could not be written is missed by nobody.
        there = [names[node.id] for node in nodes if written[node.id] is None] + ([] if error else [own])
        seen = ask(nodes, on_node.unseen, str(folder), there, dict(files))
        sights = [Sight(HERE, error or "", tuple(on_node.unseen(str(folder), there, {})))]
        for node in nodes:
            silent = next((each for each in (written[node.id], seen[node.id]) if isinstance(each, Unanswered)), None)
            if silent is not None:
                if not _has_left(node):  # one that has just died is in nobody's way
                    sights.append(Sight(node.address, str(silent), ()))
            else:
                sights.append(Sight(node.address, written[node.id] or "", tuple(seen[node.id])))
        return sights
    finally:
        for name in (own, *names.values()):
            (folder / name).unlink(missing_ok=True)
        # A node that has the folder for itself keeps its probe: only it can take that away.
        ask_each(nodes, on_node.forget_probe, {node.id: (str(folder), names[node.id]) for node in nodes})


def require_shared_run(out: Path, config: Config) -> None:
    """`require_shared` for what a training with this config writes and reads."""
    named = {address: config.get(address) for address in FILES}
    local = {a: Path(value) for a, value in named.items() if value and value not in STAND_INS and not is_uri(value)}
    files = [path / MANIFEST if address == "store" else path for address, path in local.items()]
    require_shared(out, files, "the store, the priors and --output")


def require_shared(out: Path, files: Sequence[Path], what: str, nodes: Sequence[Node] | None = None) -> None:
    """UserError where a node cannot write beside `out`, or does not see what others write there, or not the files.

    `nodes` None asks all. Nothing is asked of a cluster of one node.
    """
    living = living_nodes()
    if len(living) < 2:
        return
    folder = next(parent for parent in (out, *out.parents) if parent.is_dir())
    expected = {str(file.absolute()): file.stat().st_size if file.is_file() else -1 for file in files}
    for sight in look(folder, expected, living if nodes is None else nodes):
        remedy = f"{what} must lie on storage that all nodes share (NFS or the like), under the same path"
        if sight.unwritable:
            raise UserError(f"{folder}: {_named(sight)} cannot write there ({sight.unwritable}); {remedy}")
        for path in sight.unseen:
            if os.path.basename(path).startswith(".scbig-seen-"):
                raise UserError(f"{folder}: {_named(sight)} does not see what another node writes there; {remedy}")
            raise UserError(f"--address: {_named(sight)} does not see {path}; {remedy}")


def _has_left(node: Node) -> bool:
    end = time.monotonic() + LEAVE_S
    while any(each.id == node.id for each in living_nodes()):
        if time.monotonic() > end:
            return False
        time.sleep(0.5)
    return True


def _named(sight: Sight) -> str:
    return sight.node if sight.node == HERE else f"node {sight.node}"
