"""What one node knows of itself. Sent to the node by value, so that it runs where this package is missing.

Only the standard library, and nothing of ours, is imported here; results are plain values.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import resource
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from importlib import metadata, util
from pathlib import Path
from typing import Any

PATIENCE_S = 3.0  # for a file that another node has just written to show here (NFS)


def facts(packages: Sequence[str], places: Sequence[str]) -> dict[str, Any]:
    """Versions, GPUs, token, limits and free room of this machine; `places`: directories to measure."""
    return {
        "host": socket.gethostname(),
        "python": platform.python_version(),
        "packages": {name: version for name in packages if (version := installed(name)) is not None},
        "code": code_hash(),
        "torch_cuda": torch_cuda(),
        "gpus": gpus(),
        "token": token(os.environ, Path.home()),
        "open_files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "free": {place: free_bytes(place) for place in places},
        "shm": free_bytes("/dev/shm"),
    }


def clock() -> float:
    return time.time()


def installed(name: str) -> str | None:
    try:
        return metadata.version(name).split("+")[0]  # a build for one CUDA is the same version
    except metadata.PackageNotFoundError:
        return None


def code_hash() -> str | None:
    """A hash of the package's sources, or None where it cannot be imported."""
    found = util.find_spec("scbig_dist")
    if found is None or found.origin is None:
        return None
    root, digest = Path(found.origin).parent, hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        digest.update(str(file.relative_to(root)).encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def torch_cuda() -> str | None:
    """The CUDA of the PyTorch that is installed, '' for a CPU build, None without PyTorch. Does not import it."""
    found = util.find_spec("torch")
    if found is None or found.origin is None:
        return None
    text = Path(found.origin).with_name("version.py").read_text()
    match = re.search(r"^cuda[^=]*= *['\"]([\d.]+)['\"]", text, re.MULTILINE)
    return match[1] if match else ""


def gpus() -> list[str]:
    """A line per GPU that NVIDIA's driver shows here."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return []
    query = [command, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    done = subprocess.run(query, capture_output=True, text=True, timeout=20)
    return done.stdout.strip().splitlines() if done.returncode == 0 else []


def token(environment: Mapping[str, str], home: Path) -> dict[str, Any]:
    """Where Ray's token comes from here and who may read it; never the token itself."""
    if environment.get("RAY_AUTH_TOKEN"):
        return {"from": "RAY_AUTH_TOKEN", "mode": None}
    path = Path(environment.get("RAY_AUTH_TOKEN_PATH") or home / ".ray" / "auth_token")
    return {
        "from": str(path) if path.is_file() else None,
        "mode": path.stat().st_mode & 0o777 if path.is_file() else None,
    }


def free_bytes(place: str) -> int | None:
    """Free room where `place` is or would be made; None where nothing of it is there."""
    wanted = Path(place).expanduser()
    for folder in (wanted, *wanted.parents):
        if folder.is_dir() and str(folder) != folder.anchor:
            return shutil.disk_usage(folder).free
    return None


def write_probe(folder: str, name: str) -> str | None:
    """Leave a file of this node in `folder`; why that was not possible, else None."""
    try:
        Path(folder, name).write_text(socket.gethostname())
    except OSError as error:
        return error.strerror or type(error).__name__
    return None


def unseen(folder: str, names: Sequence[str], files: Mapping[str, int]) -> list[str]:
    """Which probes, and which of the files with these sizes, this node does not see."""
    until = time.monotonic() + PATIENCE_S
    while True:
        missing = [str(Path(folder, name)) for name in names if not Path(folder, name).is_file()]
        if not missing or time.monotonic() > until:
            break
        time.sleep(0.2)
    for file, size in files.items():
        if not os.path.exists(file) or (size >= 0 and os.path.getsize(file) != size):
            missing.append(file)
    return missing


def forget_probe(folder: str, name: str) -> None:
    Path(folder, name).unlink(missing_ok=True)
