"""What lies in a place of artefacts, who made and who uses it, and what may go."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from scbig_dist.artifacts import claims, owners
from scbig_dist.artifacts.contents import MANIFEST, decode
from scbig_dist.artifacts.place import Bucket, Disk
from scbig_dist.artifacts.shelf import MAKING, USES

UNFINISHED = "unfinished"
NAMED = re.compile(r"[a-z]+-[0-9a-f]{16}")  # KIND-KEY; a folder of any other name is somebody else's


@dataclass(frozen=True)
class Entry:
    """An artefact, or what a maker left of one."""

    name: str
    """Beneath the root."""
    kind: str
    key: str
    n_bytes: int
    at: float | None
    """When it was finished, in seconds since the epoch; None where it is not, or damaged."""
    maker: str
    runs: tuple[str, ...]
    """Runs that use it and are still there, as far as this node can see."""
    busy: str
    """Who makes or reads it now; empty where nobody does."""
    state: str
    """`whole`, `leftover` (its maker is gone) or `damaged` (its manifest is)."""


def list_place(place: Disk | Bucket) -> list[Entry]:
    """Every artefact in a root, ordered by name, and no folder that is none; contents are not read, sizes and manifests are."""
    entries, top = [], place.names()
    for name in top:
        if not NAMED.fullmatch(name):
            continue
        content = place.read(f"{name}/{MANIFEST}")
        if content is None and not place.names(name):
            continue
        entries.append(_entry(place, name, content))
    halves = [(name, name.removeprefix(f"{MAKING}-")) for name in top if name.startswith(MAKING)]
    halves += [(f"{UNFINISHED}/{name}", name) for name in place.names(UNFINISHED)]
    for name, rest in halves:
        if not NAMED.match(rest):
            continue
        kind, key = rest.split("-")[:2]
        maker = _claimant(place, f"{kind}-{key}")
        entries.append(Entry(name, kind, key, place.size(name), None, "", (), maker, "leftover"))
    return entries


def was_used(place: Disk | Bucket) -> bool:
    """Whether runs have ever left artefacts in a root: their signs stay when all that they made is pruned."""
    return not {UNFINISHED, USES, owners.FOLDER, claims.FOLDER}.isdisjoint(place.names())


def _entry(place: Disk | Bucket, name: str, content: bytes | None) -> Entry:
    kind, _, key = name.partition("-")
    found = None if content is None else decode(content)
    runs, readers = _uses(place, name)
    busy = _claimant(place, name) or readers
    if found is None:
        state = "leftover" if content is None else "damaged"
        return Entry(name, kind, key, place.size(name), None, "", runs, busy, state)
    maker = f"{found.maker.get('run') or 'a command'} on {found.maker.get('host')}"
    return Entry(name, kind, key, found.n_bytes, found.at, maker, runs, busy, "whole")


def _uses(place: Disk | Bucket, name: str) -> tuple[tuple[str, ...], str]:
    """Runs that use an artefact, and one that is reading it now."""
    runs, reader = [], ""
    for file in place.names(f"{USES}/{name}"):
        try:
            record = json.loads(place.read(f"{USES}/{name}/{file}") or b"")
        except ValueError:
            continue
        reads = owners.seems_alive(place, record["owner"])
        # A run of another machine may lie on a disk that this one does not see: it counts as there.
        if reads or record["host"] != socket.gethostname() or Path(record["run"], "config.yaml").is_file():
            runs.append(record["run"])
        reader = record["run"] if reads else reader
    return tuple(sorted(runs)), reader


def _claimant(place: Disk | Bucket, name: str) -> str:
    """The run that holds or waits for the claim to an artefact."""
    if isinstance(place, Disk):
        files = [each for each in place.names(claims.FOLDER) if each.startswith(f"{name}.")]
        ids = [(place.read(f"{claims.FOLDER}/{file}") or b"").decode(errors="replace") for file in files]
    else:
        ids = [each.split("-")[1] for each in place.names(f"{claims.FOLDER}/{name}") if "-" in each]
    for owner in ids:
        if owner and owner != claims.RELEASED and owners.seems_alive(place, owner):
            return (owners.read_owner(place, owner) or {}).get("run") or "a command"
    return ""


def may_go(
    entry: Entry,
    *,
    older_s: float | None = None,
    kinds: Collection[str] = (),
    unused: bool = False,
    leftovers: bool = False,
) -> bool:
    """Whether an entry is asked for by every condition that is given, and nobody is making or reading it."""
    if entry.busy or not (older_s is not None or kinds or unused or leftovers):
        return False
    if leftovers and entry.state == "whole":
        return False
    if unused and entry.runs:
        return False
    if older_s is not None and (entry.at is None or time.time() - entry.at < older_s):
        return False
    return not kinds or entry.kind in kinds


def remove(place: Disk | Bucket, entry: Entry) -> bool:
    """Take an entry away, unless somebody has begun to make or read it since it was listed."""
    name = f"{entry.kind}-{entry.key}"
    if _claimant(place, name) or _uses(place, name)[1]:
        return False
    place.remove(entry.name)
    if entry.name == name:
        place.remove(f"{USES}/{name}")
    return True


def sweep_signs(place: Disk | Bucket) -> int:
    """Take away the signs and claims of processes that are gone; how many."""
    dead = [file for file in place.names(owners.FOLDER) if not owners.seems_alive(place, file.removesuffix(".json"))]
    for file in dead:
        place.remove(f"{owners.FOLDER}/{file}")
    for file in place.names(claims.FOLDER):
        name = file.split(".")[0]
        if not _claimant(place, name):
            place.remove(f"{claims.FOLDER}/{file}")
    return len(dead)
