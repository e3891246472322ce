"""From studies to a page that answers: the address, the token, and a server of a few threads."""

from __future__ import annotations

import errno
import logging
import os
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import waitress
from dash import Dash

from scbig_dist.dashboard.answers import share_answers
from scbig_dist.dashboard.app import make_app
from scbig_dist.dashboard.cluster import ClusterReader
from scbig_dist.dashboard.pages import Pages
from scbig_dist.dashboard.security import is_loopback, protect, read_token
from scbig_dist.dashboard.study import name_studies
from scbig_dist.errors import UserError

THREADS = 4
NICE = 10  # the sweep comes first: on a busy machine readers wait, not trials
TRIED = 50  # ports after a busy one


@dataclass(frozen=True)
class Served:
    app: Dash
    url: str
    token: str | None
    sockets: tuple[socket.socket, ...]

    def run(self) -> None:
        """Answer until the process is interrupted."""
        waitress.serve(
            self.app.server, sockets=list(self.sockets), threads=THREADS, ident=None, clear_untrusted_proxy_headers=True
        )


def make_pages(studies: Sequence[Path], address: str | None) -> Pages:
    return Pages(name_studies(studies), ClusterReader(address))


def prepare(studies: Sequence[Path], host: str, port: int, address: str | None, token_file: Path | None) -> Served:
    """Everything that can be wrong is a UserError here, before anybody reads."""
    pages = make_pages(studies, address)
    open_to_others = not is_loopback(host)
    token = read_token(token_file) if open_to_others or token_file is not None else None
    sockets = _bind(host, port)
    app = make_app(pages)
    protect(app.server, token, app.csp_hashes())
    share_answers(app.server, pages)
    threading.Thread(target=pages.warm_up, daemon=True).start()
    shown = f"[{host}]" if ":" in host else host
    return Served(app, f"http://{shown}:{sockets[0].getsockname()[1]}/", token, sockets)


def be_polite() -> None:
    logging.getLogger("waitress").setLevel(logging.ERROR)
    if hasattr(os, "nice"):
        os.nice(NICE)


def _bind(host: str, port: int) -> tuple[socket.socket, ...]:
    try:
        return (_listen(host, port),)
    except socket.gaierror:
        raise UserError(f"--host {host}: no such address; give one of this machine, e.g. 127.0.0.1") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            free = _first_free(host, port, _listen)
            remedy = f"--port {free} is free" if free else "name another one"
            raise UserError(f"--port {port}: busy on {host}; {remedy}") from None
        if error.errno in (errno.EACCES, errno.EADDRNOTAVAIL):
            raise UserError(
                f"--host {host} --port {port}: {error.strerror}; take a port above 1023 and an address of this machine"
            ) from None
        raise


def _first_free(host: str, port: int, listen: Callable[[str, int], socket.socket]) -> int | None:
    for each in range(port + 1, min(port + TRIED, 65536)):
        try:
            listen(host, each).close()
            return each
        except OSError:
            continue
    return None


def _listen(host: str, port: int) -> socket.socket:
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        made.listen(64)
    except OSError:
        made.close()
        raise
    return made
