"""From what nodes say of themselves to what is wrong with them: each problem with its remedy. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

GB = 1e9
LEAST_FREE, LITTLE_FREE = 1 * GB, 10 * GB
LITTLE_SHM = 1 * GB  # NCCL and Ray's objects live there
LEAST_FILES, FEW_FILES = 1024, 4096
SKEW_S, MUCH_SKEW_S = 2.0, 60.0
LEADING = ("ray", "torch")  # what must be equal for one training to span nodes


@dataclass(frozen=True)
class Finding:
    """A problem. `stops`: a sweep would fail or give other results by it."""

    node: str
    stops: bool
    what: str
    remedy: str


@dataclass(frozen=True)
class Report:
    """One node: what it said (None: nothing), its resources in Ray's words, and how far its clock is off."""

    node: str
    facts: Mapping[str, Any] | None
    silence: str = ""
    resources: Mapping[str, float] = field(default_factory=dict)
    skew_s: float = 0.0
    rtt_s: float = 0.0


def read_lock(path: Path) -> dict[str, str]:
    """{package: version} of a lock file of `name==version` lines."""
    lines = (line.split("#")[0].strip() for line in path.read_text().splitlines())
    return {
        name.split("[")[0]: version for name, _, version in (line.partition("==") for line in lines if "==" in line)
    }


def diagnose(reports: Sequence[Report], here: Mapping[str, Any], lock: Mapping[str, str]) -> list[Finding]:
    """What is wrong with each node, in their order; `here`: facts of this machine, which all must match."""
    found = []
    for report in reports:
        if report.facts is None:
            what = f"does not answer ({report.silence})"
            found.append(Finding(report.node, True, what, "look at 'ray status' and the node's own logs; restart it"))
            continue
        for check in (_versions, _gpus, _token, _room):
            found += [Finding(report.node, *each) for each in check(report, here, lock)]
    return found


Problem = tuple[bool, str, str]


def _versions(report: Report, here: Mapping[str, Any], lock: Mapping[str, str]) -> list[Problem]:
    facts, found = report.facts or {}, []
    install = "pip install --requirement requirements.lock, then pip install --no-deps --editable . on that node"
    if facts["python"].split(".")[:2] != here["python"].split(".")[:2]:
        what = f"Python {facts['python']}, here {here['python']}"
        found.append((True, what, "use one minor version of Python on all machines"))
    if facts["code"] is None:
        found.append((True, "scbig_dist is not installed", install))
    elif facts["code"] != here["code"]:
        what = f"scbig_dist {facts['code']} is not the code here ({here['code']})"
        found.append(
            (True, what, "install the same commit on that node, or start with 'scbig submit', which uploads it")
        )
    packages = facts["packages"]
    leading = [name for name in LEADING if packages.get(name) != lock.get(name, packages.get(name))]
    for name in leading:
        found.append((True, f"{name} {packages.get(name, 'missing')}, the lock says {lock[name]}", install))
    others = [
        n for n, version in lock.items() if n not in LEADING and n in here["packages"] and packages.get(n) != version
    ]
    missing = [name for name in others if name not in packages]
    if missing:
        found.append((True, f"missing packages: {_few(missing)}", install))
    unlike = [f"{name} {packages[name]} (lock: {lock[name]})" for name in others if name in packages]
    if unlike:
        found.append((False, f"versions unlike the lock: {_few(unlike)}", install))
    return found


def _gpus(report: Report, here: Mapping[str, Any], lock: Mapping[str, str]) -> list[Problem]:
    facts, asked = report.facts or {}, report.resources.get("GPU", 0)
    if asked > len(facts["gpus"]):
        what = f"Ray counts {asked:g} GPUs, the driver shows {len(facts['gpus'])}"
        return [
            (
                True,
                what,
                "install NVIDIA's driver (in a container: --gpus all), or start the node with the right --num-gpus",
            )
        ]
    if asked and facts["torch_cuda"] == "":
        return [
            (True, "PyTorch is a CPU build", "install the CUDA build of the locked version (README: TORCH_INDEX_URL)")
        ]
    if facts["gpus"] and report.resources and not asked:
        return [(False, f"{len(facts['gpus'])} GPUs that Ray does not count", "restart the node without --num-gpus=0")]
    return []


def _token(report: Report, here: Mapping[str, Any], lock: Mapping[str, str]) -> list[Problem]:
    token = (report.facts or {})["token"]
    if token["mode"] is not None and token["mode"] & 0o077:
        what = f"the token {token['from']} has mode {token['mode']:04o}: others on that machine can read it"
        return [(False, what, f"chmod 600 {token['from']}")]
    return []


def _room(report: Report, here: Mapping[str, Any], lock: Mapping[str, str]) -> list[Problem]:
    facts, found = report.facts or {}, []
    for place, free in facts["free"].items():
        if free is None:
            found.append((True, f"{place} is not there", "mount it on that node, under the same path"))
        elif free < LITTLE_FREE:
            what = f"{free / GB:.1f} GB free at {place}"
            found.append((free < LEAST_FREE, what, "free some room or name another place (data.cache, --output)"))
    if facts["shm"] is not None and facts["shm"] < LITTLE_SHM:
        what = f"{facts['shm'] / GB:.2f} GB free in /dev/shm"
        found.append((False, what, "start the container with --shm-size=8g, or remove what fills it"))
    if 0 <= facts["open_files"] < FEW_FILES:
        what = f"{facts['open_files']} open files allowed"
        found.append((facts["open_files"] < LEAST_FILES, what, "'ulimit -n 65536' before 'ray start'"))
    off = abs(report.skew_s) - report.rtt_s
    if off > SKEW_S:
        what = f"the clock is {report.skew_s:+.1f} s off"
        found.append((off > MUCH_SKEW_S, what, "let chrony or ntpd set the clocks of all nodes"))
    return found


def _few(names: Sequence[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
