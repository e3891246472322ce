"""A store of three shards, and an S3-compatible server on this machine."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from pyarrow import fs
from store_cases import config, screen, write

from scbig_dist.store import shards
from scbig_dist.store.build import build_store

BUCKET = "cells"


def store_of_shards(folder: Path, n_cells: int = 240, n_per_shard: int = 100) -> Path:
    """Two contexts: A549 in the first shards, K562 in the last."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "SHARD_CELLS", n_per_shard)
        build_store(write(screen(n_cells), folder), folder / "s", config(data__context="line"), progress=False)
    return folder / "s"


@contextmanager
def s3_server() -> Iterator[int]:
    """The port of moto's server, which speaks S3."""
    from moto.server import ThreadedMotoServer

    with pytest.MonkeyPatch.context() as patch:
        for name, value in (
            ("ACCESS_KEY_ID", "test"),
            ("SECRET_ACCESS_KEY", "test"),
            ("EC2_METADATA_DISABLED", "true"),
        ):
            patch.setenv(f"AWS_{name}", value)
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        try:
            yield server.get_host_and_port()[1]
        finally:
            server.stop()


def upload(store: Path, port: int, name: str) -> str:
    """The URI of a copy of the store in the server's bucket."""
    uri = f"s3://{BUCKET}/{name}?endpoint_override=127.0.0.1:{port}&scheme=http"
    system, root = fs.FileSystem.from_uri(f"{uri}&allow_bucket_creation=true")
    system.create_dir(BUCKET)
    for file in store.iterdir():
        with system.open_output_stream(f"{root}/{file.name}") as stream:
            stream.write(file.read_bytes())
    return uri


class Relay:
    """A port that passes bytes to another until it is closed."""

    def __init__(self, to: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._to, self._open = to, [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._to))
            self._open += [near, far]
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pass, args=(one, other), daemon=True).start()

    @staticmethod
    def _pass(one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(1 << 16):
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def close(self) -> None:
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
