"""A PostgreSQL server of a test's own, where one is installed."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cluster_cases import free_port

PASSWORD = "a secret of this test"


def _binaries() -> Path | None:
    """The newest server's programs; Debian keeps them off the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda file: float(file.parts[-3]))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else None if on_path is None else Path(on_path).parent


@dataclass(frozen=True)
class Server:
    url: str
    """Of an empty database on loopback that asks for PASSWORD."""
    start: Callable[[], None]
    stop: Callable[[], None]


@contextmanager
def postgres_server() -> Iterator[Server]:
    """A server that runs; skips where none is installed."""
    programs = _binaries()
    if programs is None:
        pytest.skip("no PostgreSQL server is installed (apt-get install postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="scbig-pg-", dir="/tmp"))  # short, and open to another user
    user = None
    if os.geteuid() == 0:  # the server refuses to run as root
        user = next(name for name in ("postgres", "nobody") if _exists(name))
        shutil.chown(folder, user)
    port = free_port()

    def call(program: str, *words: str) -> None:
        subprocess.run(
            [str(programs / program), *words], check=True, user=user, cwd=folder, stdout=subprocess.DEVNULL, timeout=60
        )

    try:
        (folder / "password").write_text(PASSWORD)
        data = str(folder / "data")
        call("initdb", "-D", data, "-U", "scbig", "-A", "scram-sha-256", f"--pwfile={folder / 'password'}", "--no-sync")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
        server = Server(
            f"postgresql://scbig@127.0.0.1:{port}/postgres",
            lambda: call("pg_ctl", "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start"),
            lambda: call("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop"),
        )
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
