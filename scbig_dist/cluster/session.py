"""A connection to Ray: one that we start on this machine and end, or one that is there already."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import ray
from ray._private.services import canonicalize_bootstrap_address
from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]  # compiled, unannotated

from scbig_dist.cluster.probe import check_address
from scbig_dist.errors import UserError

OBJECT_STORE_BYTES = 200_000_000  # cells are read from the store, never through Ray's
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # report() waits for a poll of the controller: 2 s by default
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "120",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # paths in a config mean what they meant where the study was started
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # RUN has our own log
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is ours
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
}


@dataclass(frozen=True)
class Session:
    """What a person may want to know of the Ray in use."""

    started_here: bool
    dashboard: str | None


@contextmanager
def ray_session(
    address: str | None = None, cpus: int | None = None, gpus: float | None = None, dashboard: bool = False
) -> Iterator[Session]:
    """Ray for the time of the block; what was started here is ended here, and only that.

    `address` None starts Ray on this machine, reachable from it alone, with `cpus` CPUs
    (default: all). Inside a process that is connected already the connection is used.
    An address that does not answer within 5 s, or wants a token that is not there, is a UserError.
    """
    if ray.is_initialized():
        yield Session(False, _dashboard_url())
        return
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    mode = os.environ.get("RAY_AUTH_MODE")
    AuthenticationTokenLoader.instance().reset_cache()  # an earlier session's token may have been another cluster's
    try:
        if address is None:
            _start(cpus, gpus, dashboard)
        else:
            _connect(address)
        for name in ("ray", "ray.tune", "ray.train", "ray.data"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # what fails has a row or an exception of ours
        yield Session(address is None, _dashboard_url())
    finally:
        ray.shutdown()
        _restore("RAY_AUTH_MODE", mode)
        Config.initialize("")  # Ray keeps what it has read of the environment


def _start(cpus: int | None, gpus: float | None, dashboard: bool) -> None:
    _protect_token()
    # On one machine nothing needs to listen beyond loopback; Ray reads this when it starts.
    loopback = os.environ.get("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER")
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    try:
        ray.init(
            address="local",
            num_cpus=cpus,
            num_gpus=None if gpus is None else int(gpus),
            include_dashboard=dashboard,
            dashboard_host="127.0.0.1",
            object_store_memory=OBJECT_STORE_BYTES,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    finally:
        _restore("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", loopback)


def _connect(address: str) -> None:
    if address.startswith("ray://"):
        raise UserError(
            f"--address {address}: Ray Client cannot train; give the head's own address, HOST:6379, or 'auto' on a node"
        )
    try:
        found = canonicalize_bootstrap_address("auto", None) if address == "auto" else address
    except ConnectionError:
        found = None
    if found is None:
        raise UserError("--address auto: no Ray runs on this machine; start it, or leave --address out")
    if os.environ.get("RAY_USE_TLS") != "1" and check_address(found):
        os.environ["RAY_AUTH_MODE"] = "token"
        Config.initialize("")  # as Ray does itself where it turns tokens on: it has read the mode before
    try:
        ray.init(address=found, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # Ray raises ConnectionError, RuntimeError or its own, by the cause
        line = str(error).strip().splitlines()
        raise UserError(f"--address {address}: Ray refused: {line[0] if line else type(error).__name__}") from None


def _protect_token() -> None:
    """A token that this user alone can read: Ray's own is for all to read, and who has it can run code as this user."""
    path = Path.home() / ".ray" / "auth_token"
    path.parent.mkdir(exist_ok=True)
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
    except FileExistsError:
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)


def _dashboard_url() -> str | None:
    url = ray._private.worker.get_dashboard_url()
    return f"http://{url}" if url else None


def _restore(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
