"""A sweep as a Ray job: it runs on the cluster's head and outlives the machine that sent it."""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import os
import shlex
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import ray
from ray.job_submission import JobDetails, JobSubmissionClient

from scbig_dist.cluster.plan import FILES
from scbig_dist.cluster.probe import find_token
from scbig_dist.cluster.storage import refuse_password
from scbig_dist.errors import UserError
from scbig_dist.settings import parse_set
from scbig_dist.store.files import is_uri, refuse_secrets
from scbig_dist.store.remote import ELSEWHERE
from scbig_dist.train.experiment import STAND_INS

DEFAULT = "http://127.0.0.1:8265"  # the dashboard on the head, or the end of an SSH tunnel to it
SECONDS = 4.0  # a user waits no more than five for an address that does not answer
GIVE_UP_S = 60.0  # of asking again after the connection was lost
# What a project has that a cluster does not need, in .gitignore's words; .gitignore itself counts as well.
EXCLUDED = [".git", ".venv", "/runs", "/stores", "/data", "/build", "*.h5ad", "__pycache__", ".*_cache", ".hypothesis"]
ENVIRONMENT = {
    "RAY_JOB_STOP_SIGNAL": "SIGINT",  # `scbig stop` is the Ctrl-C of a sweep, after which --resume goes on
    "RAY_JOB_STOP_WAIT_TIME_S": "60",
}
MINE = "scbig"  # key of a job's metadata: the words that it was asked with
ENDED = ("STOPPED", "SUCCEEDED", "FAILED")
HIDDEN = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")  # they would silently win over the address given here


@dataclass(frozen=True)
class Job:
    """What is known of a job; times are Unix seconds, `exit_code` that of the sweep once it has ended."""

    id: str
    state: str
    words: str
    began: float | None
    ended: float | None
    message: str
    exit_code: int | None

    @property
    def over(self) -> bool:
        return self.state.upper() in ENDED


class Jobs:
    """The jobs of the cluster whose dashboard answers at `address`."""

    def __init__(self, address: str | None) -> None:
        """UserError where nothing answers within 5 s, or the token is missing or wrong."""
        self.url = _url(address)
        self._headers = _headers(self.url)
        for name in ("ray", "ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk"):
            logging.getLogger(name).setLevel(logging.ERROR)  # what a person should know is said by us
        with _direct():
            self._client = JobSubmissionClient(self.url, headers=dict(self._headers))

    def submit(self, project: Path, words: Sequence[str]) -> str:
        """Upload `project` and begin `scbig WORDS…` there; the job's id. Returns before it has begun."""
        name = f"scbig-{Path(words[1]).stem}-{time.strftime('%m%d-%H%M%S')}-{uuid.uuid4().hex[:4]}"
        environment = {"working_dir": str(project), "excludes": EXCLUDED, "env_vars": ENVIRONMENT}
        entrypoint = shlex.join(["python", "-m", "scbig_dist", *words])
        try:
            return self._client.submit_job(
                entrypoint=entrypoint,
                submission_id=name,
                runtime_env=environment,
                metadata={MINE: shlex.join(words)},
            )
        except (RuntimeError, ValueError) as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise UserError(f"--address {self.url}: {project} could not be sent: {lines[0][:200]}") from None

    def all(self) -> list[Job]:
        """Jobs of ours, the newest first."""
        found = [_job(details) for details in self._client.list_jobs() if MINE in (details.metadata or {})]
        return sorted(found, key=lambda job: -(job.began or 0.0))

    def get(self, job: str) -> Job:
        try:
            return _job(self._client.get_job_info(job))
        except RuntimeError:
            known = ", ".join(each.id for each in self.all()[:3]) or "none"
            raise UserError(f"no job '{job}' at {self.url}; the newest: {known}") from None

    def log(self, job: str) -> str:
        return self._client.get_job_logs(job)

    def stop(self, job: str) -> Job:
        """Ask a job to end as Ctrl-C would; returns once it has, or after GIVE_UP_S."""
        if not self.get(job).over:
            self._client.stop_job(job)
        until = time.monotonic() + GIVE_UP_S
        while not self.get(job).over and time.monotonic() < until:
            time.sleep(0.5)
        return self.get(job)

    def follow(self, job: str) -> Iterator[str]:
        """The job's output from its beginning, as it comes, until it has ended.

        A lost connection (a laptop that slept) is taken up again; after GIVE_UP_S of trying, ConnectionError.
        """
        shown, lost = 0, None
        with asyncio.Runner() as runner:
            while True:
                stream, position = self._tail(job), 0
                try:
                    while (text := runner.run(_next(stream))) is not None:
                        lost, fresh = None, text[max(0, shown - position) :]
                        position += len(text)
                        shown = max(shown, position)
                        yield fresh
                    if self.get(job).over:
                        return
                except (TimeoutError, aiohttp.ClientError, OSError):
                    lost = lost or time.monotonic()
                    if time.monotonic() - lost > GIVE_UP_S:
                        raise ConnectionError(f"{self.url} does not answer any more") from None
                time.sleep(1.0)

    async def _tail(self, job: str) -> AsyncIterator[str]:
        # Ray's own client has no heartbeat: after a sleep of this machine it would wait for ever.
        async with (
            aiohttp.ClientSession(headers=self._headers) as session,
            session.ws_connect(f"{self.url}/api/jobs/{job}/logs/tail", heartbeat=20.0) as socket,
        ):
            async for message in socket:
                if message.type == aiohttp.WSMsgType.TEXT:
                    yield message.data


async def _next(stream: AsyncIterator[str]) -> str | None:
    return await anext(stream, None)


def check_words(values: Mapping[str, Any]) -> None:
    """UserError where a sweep's options name something that the cluster cannot have, this machine's relative paths, or
    hold what a job's record must not: a secret."""
    if values.get("output") is None:
        raise UserError(
            "submit: name the study's directory on storage that the cluster's nodes share, -o /mnt/shared/runs/mine"
        )
    study = Path(values["study"])
    if study.is_absolute() or ".." in study.parts or not study.is_file():
        raise UserError(f"submit: {study} is not a file of the project in this directory, which is what is uploaded")
    given = parse_set(values.get("set_") or [])
    named = {"-o": str(values["output"]), "--store": values.get("store"), "--artifacts": values.get("artifacts")}
    named |= {f"--set {address}": given[address] for address in FILES if address in given}
    if storage := values.get("storage"):
        refuse_password(storage)
        if storage.startswith("sqlite:") and not storage.startswith("sqlite:////"):
            raise UserError(
                f"--storage {storage}: a path of this machine; give the one on the cluster, sqlite:////PATH.db"
            )
    for option, value in named.items():
        if value and is_uri(value):
            refuse_secrets(value, option, ELSEWHERE)
        if value and value not in STAND_INS and not is_uri(value) and not Path(str(value)).is_absolute():
            raise UserError(
                f"{option} {value}: a path of this machine; give the path that it has on the cluster, or a URI"
            )


def split_handle(which: str | None, address: str | None) -> tuple[str | None, str | None]:
    """(address, job) of `ADDRESS/JOB`, `ADDRESS` or `JOB`."""
    if which is None:
        return address, None
    if ":" not in which and "/" not in which:
        return address, which
    scheme, _, rest = which.rpartition("://")
    host, _, job = rest.partition("/")
    return (f"{scheme}://{host}" if scheme else host), job or None


def _url(address: str | None) -> str:
    if address in (None, "auto"):
        return os.environ.get("RAY_API_SERVER_ADDRESS", DEFAULT).rstrip("/")
    if address.startswith("ray://"):
        raise UserError(
            f"--address {address}: Ray Client takes no jobs; give the dashboard's address, http://HOST:8265"
        )
    return (address if "://" in address else f"http://{address}").rstrip("/")


def _headers(url: str) -> dict[str, str]:
    """What the dashboard wants to see, found out by asking it once without and once with the token."""
    state, version = _ask(url, {})
    headers: dict[str, str] = {}
    if state in (401, 403):
        token = find_token(os.environ, Path.home())
        if token is None:
            raise UserError(
                f"--address {url}: the cluster asks for a token; copy the head's to ~/.ray/auth_token (mode 0600)"
            )
        headers = {"Authorization": f"Bearer {token}"}
        state, version = _ask(url, headers)
        if state in (401, 403):
            raise UserError(
                f"--address {url}: the token is not the head's; compare 'ray get-auth-token' here and there"
            )
    if version is None:
        raise UserError(
            f"--address {url}: no Ray dashboard answers there; jobs go to its port (8265, on the head alone: open a tunnel "
            "with 'ray dashboard cluster.yaml'), not to Ray's own (6379)"
        )
    if version != ray.__version__:
        raise UserError(
            f"--address {url}: the cluster runs Ray {version}, this is {ray.__version__}; install the same on both"
        )
    return headers


def _ask(url: str, headers: dict[str, str]) -> tuple[int, str | None]:
    """(HTTP status or 0, Ray's version there)."""
    try:
        request = urllib.request.Request(f"{url}/api/version", headers=headers)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=SECONDS) as answer:
            return answer.status, json.load(answer).get("ray_version")
    except urllib.error.HTTPError as error:
        return error.code, None
    except (OSError, ValueError, http.client.HTTPException):
        return 0, None


def _job(details: JobDetails) -> Job:
    return Job(
        id=details.submission_id or details.job_id or "",
        state=str(details.status.value).lower(),
        words=(details.metadata or {}).get(MINE, details.entrypoint),
        began=None if details.start_time is None else details.start_time / 1000,
        ended=None if not details.end_time else details.end_time / 1000,
        message=" ".join((details.message or "").split()),
        exit_code=details.driver_exit_code,
    )


@contextmanager
def _direct() -> Iterator[None]:
    """Without the variables by which Ray's client would go to another address than the one it is given."""
    kept = {name: os.environ.pop(name) for name in HIDDEN if name in os.environ}
    try:
        yield
    finally:
        os.environ |= kept
