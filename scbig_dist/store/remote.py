"""A store behind a URI of `pyarrow.fs`: s3://, gs://, abfs://, hdfs://, or file:// for a disk that nodes share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from urllib.parse import urlsplit

import pyarrow as pa
from pyarrow import fs

from scbig_dist.errors import UserError
from scbig_dist.store.files import BLOCK, only_batch, refuse_secrets

SCHEMES = "s3, gs, abfs, hdfs, file"
CONNECT_S, SILENCE_S, ATTEMPTS = 5.0, 10.0, 3  # a dead S3 endpoint is known after half a minute at most
ELSEWHERE = "leave it out: credentials come from the environment or the node's role (AWS_ACCESS_KEY_ID and the like)"
GCS_S = 30  # Google's client would go on trying for a quarter of an hour


class RemoteFiles:
    """The files under a URI. Every error of the network or of the address is a UserError."""

    def __init__(self, uri: str) -> None:
        self.name = uri
        with self._told():
            self._system, self._root = open_system(uri)

    def sizes(self) -> dict[str, int] | None:
        with self._told():
            found = self._system.get_file_info(fs.FileSelector(self._root, allow_not_found=True))
        return {info.base_name: info.size for info in found if info.type == fs.FileType.File} or None

    def read(self, file: str) -> bytes | None:
        with self._told():
            try:
                with self._system.open_input_stream(f"{self._root}/{file}") as stream:
                    return stream.read()
            except (FileNotFoundError, NotADirectoryError):
                return None

    def blocks(self, file: str) -> Iterator[memoryview]:
        with self._told():
            stream = self._system.open_input_stream(f"{self._root}/{file}", buffer_size=0)
        with stream:
            while True:
                with self._told():  # what the caller does with a block fails in its own words
                    block = stream.read_buffer(BLOCK)
                if not block.size:
                    return
                yield memoryview(block)

    def batch(self, file: str) -> pa.RecordBatch:
        with self._told():
            return only_batch(self._system.open_input_file(f"{self._root}/{file}"))

    def _told(self) -> AbstractContextManager[None]:
        return told(f"store {self.name}", self.name)


@contextmanager
def told(what: str, uri: str) -> Iterator[None]:
    """Errors of the file system in one line each, which begins with `what`."""
    try:
        yield
    except pa.ArrowInvalid as error:
        text = " ".join(str(error).split())
        if "filesystem type" in text:
            scheme = urlsplit(uri).scheme
            raise UserError(f"{what}: unknown scheme '{scheme}'; choices: {SCHEMES}, or a path") from None
        if "URI" in text or "parameter" in text:
            raise UserError(f"{what}: not a URI that can be opened ({text[:150]})") from None
        raise
    except OSError as error:
        raise UserError(f"{what}: {_reason(str(error), error)}") from None


def open_system(uri: str) -> tuple[fs.FileSystem, str]:
    """The file system of a URI and the path in it; UserError for one with a secret in it."""
    refuse_secrets(uri, "URI", ELSEWHERE)
    if uri.startswith("gs://") and "retry_limit_seconds" not in uri:
        uri += f"{'&' if '?' in uri else '?'}retry_limit_seconds={GCS_S}"
    system, root = fs.FileSystem.from_uri(uri)
    if isinstance(system, fs.S3FileSystem):
        # A URI cannot say how long to wait, and without these a silent endpoint is waited for 100 s per call.
        (given,) = system.__reduce__()[1]
        given = {name: value for name, value in given.items() if value not in ("", None, -1.0)}
        given.pop("proxy_options", None)  # a URI has none
        system = fs.S3FileSystem(
            **given
            | {
                "connect_timeout": CONNECT_S,
                "request_timeout": SILENCE_S,
                "retry_strategy": fs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
            }
        )
    return system, root.rstrip("/")


def _end(text: str, most: int = 120) -> str:
    """The end of a long text, where the cause stands, from a whole word on."""
    return text if len(text) <= most else "… " + text[-most:].partition(" ")[2]


def _reason(text: str, error: OSError) -> str:
    """What went wrong and what to do, from what a file system says."""
    text = " ".join(text.split())
    if isinstance(error, FileNotFoundError) or any(word in text for word in ("NO_SUCH_BUCKET", "NO_SUCH_KEY")):
        return f"not found there ({text[:120]}); look at the bucket and the folder in the URI"
    if any(
        word in text
        for word in ("ACCESS_DENIED", "INVALID_ACCESS_KEY", "SIGNATURE", "credential", "OAuth2", "HTTP status 403")
    ):
        known = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" if "AWS" in text else "the credentials of the cloud"
        return f"access is refused ({text[:120]}); set {known} on every node"
    if any(word in text for word in ("NETWORK_CONNECTION", "CURL", "curlCode", "UNAVAILABLE")):
        return f"the file system does not answer, or stopped ({_end(text)}); try again: what was copied stays"
    return f"{os.strerror(error.errno) if error.errno else 'not readable'} ({text[:150]})"
