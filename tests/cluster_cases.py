"""Clusters of Ray for tests: a head that asks for a token, and a node that has one folder for itself."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scbig_dist.cluster.probe import check_address
from scbig_dist.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
SMALL = "--object-store-memory=100000000"


@dataclass(frozen=True)
class Head:
    """A head on loopback. `env` holds its HOME, its token's mode, and this Python first on PATH."""

    address: str
    dashboard: str
    env: dict[str, str]
    token_file: Path


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@dataclass(frozen=True)
class TwoNodes:
    """A head that trains nothing and a node with two CPUs, which has `private` for itself where the system allows it."""

    head: Head
    private: Path
    isolated: bool


@contextmanager
def two_nodes(folder: Path) -> Iterator[TwoNodes]:
    private = folder / "private"
    private.mkdir()
    with (
        head(folder, "--num-cpus=0") as made,
        node_with_its_own(private, made, "--num-cpus=2") as isolated,
    ):
        wait_for(lambda: _n_nodes(made) == 2)
        yield TwoNodes(made, private, isolated)


@contextmanager
def head(folder: Path, *options: str, dashboard: bool = True) -> Iterator[Head]:
    """`ray start --head` with a token of its own, ports of its own and a temporary directory of its own."""
    home = folder / "home"
    (home / ".ray").mkdir(parents=True)
    token_file = home / ".ray" / "auth_token"
    token_file.write_text("a1" * 32)
    token_file.chmod(0o600)
    kept = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
    env = {name: value for name, value in os.environ.items() if name not in kept} | {
        "HOME": str(home),
        "RAY_AUTH_MODE": "token",
        "RAY_USAGE_STATS_ENABLED": "0",
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }
    port, dashboard_port = free_port(), free_port()
    temporary = tempfile.mkdtemp(prefix="scbig-ray-", dir="/tmp")  # short: a socket's path has 107 characters at most
    command = [
        str(BIN / "ray"), "start", "--head", "--block", f"--port={port}", "--node-ip-address=127.0.0.1",
        f"--temp-dir={temporary}", f"--include-dashboard={str(dashboard).lower()}", "--dashboard-host=127.0.0.1",
        f"--dashboard-port={dashboard_port}", f"--dashboard-agent-listen-port={free_port()}",
        f"--ray-client-server-port={free_port()}", SMALL, *options,
    ]  # fmt: skip
    with running(command, env) as process:
        try:
            wait_for(lambda: _answers(f"127.0.0.1:{port}", home), process)
            yield Head(f"127.0.0.1:{port}", f"http://127.0.0.1:{dashboard_port}", env, token_file)
        finally:
            stop(process)
            shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def node_with_its_own(folder: Path, of: Head, *options: str) -> Iterator[bool]:
    """A second node, for which `folder` is another disk than for everybody else; False where the system forbids that."""
    probe = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", str(folder)]
    able = shutil.which("unshare") is not None and subprocess.run(probe, capture_output=True).returncode == 0
    start = f"exec ray start --block --address={of.address} --node-ip-address=127.0.0.1 {SMALL} {' '.join(options)}"
    start += f" --dashboard-agent-listen-port={free_port()}"
    # Two nodes unpack an uploaded project over each other in one temporary directory.
    temporary = tempfile.mkdtemp(prefix="scbig-ray-", dir="/tmp")
    start += f" --temp-dir={temporary}"
    own = ["unshare", "--mount", "sh", "-c", f"mount -t tmpfs none '{folder}' && {start}"]
    try:
        with running(own if able else ["sh", "-c", start], of.env):
            yield able
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def running(command: list[str], env: dict[str, str]) -> Iterator[subprocess.Popen]:
    """A program in a session of its own, ended by its own process group whatever happens."""
    process = subprocess.Popen(
        command, env=env, stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def scbig(head: Head | None, *words: str, timeout: float = 120) -> subprocess.CompletedProcess:
    """The command line in a process of its own, as a user beside the head would run it."""
    env = os.environ | {"PYTHONPATH": str(ROOT)} if head is None else head.env
    command = [sys.executable, "-c", "from scbig_dist.cli import main; main()", *words]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=timeout)


def wait_for(happened, process: subprocess.Popen | None = None, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert process is None or process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end, "not within the time"
        time.sleep(0.1)


def _answers(address: str, home: Path) -> bool:
    before = os.environ.get("HOME")
    os.environ["HOME"] = str(home)
    try:
        return check_address(address)
    except UserError:
        return False
    finally:
        if before is not None:
            os.environ["HOME"] = before


def _n_nodes(of: Head) -> int:
    """Living nodes, as the dashboard counts them."""
    bearer = {"Authorization": f"Bearer {of.token_file.read_text()}"}
    request = urllib.request.Request(f"{of.dashboard}/api/v0/nodes?detail=1", headers=bearer)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            nodes = json.load(answer)["data"]["result"]["result"]
    except OSError:
        return 0
    return sum(node["state"] == "ALIVE" for node in nodes)
