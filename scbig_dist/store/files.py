"""The files of a store, in a folder of this machine or anywhere that `pyarrow.fs` reaches."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qsl, urlsplit

import pyarrow as pa

from scbig_dist.errors import UserError

BLOCK = 8 << 20  # bytes of a file read at once
SECRET = re.compile(
    r"passw|secret|token|(access|account)_?key|credential|^sig", re.IGNORECASE
)  # names in a URI's query


class Files(Protocol):
    """What may be asked of the folder of a store."""

    name: str
    """As the user calls the store."""

    def sizes(self) -> dict[str, int] | None:
        """{file: bytes}; None where there is no such folder."""
        ...

    def read(self, file: str) -> bytes | None:
        """The whole of a small file; None where it is absent."""
        ...

    def blocks(self, file: str) -> Iterator[memoryview]:
        """The file from its beginning, block by block."""
        ...

    def batch(self, file: str) -> pa.RecordBatch:
        """A shard's one record batch; ArrowInvalid or OSError where it is damaged."""
        ...


class Folder:
    """Files of this machine; a record batch is a view of the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path)

    def sizes(self) -> dict[str, int] | None:
        if not self.path.exists():
            return None
        return {file.name: file.stat().st_size for file in self.path.glob("*") if file.is_file()}

    def read(self, file: str) -> bytes | None:
        path = self.path / file
        return path.read_bytes() if path.is_file() else None

    def blocks(self, file: str) -> Iterator[memoryview]:
        block = memoryview(bytearray(BLOCK))
        with open(self.path / file, "rb", buffering=0) as stream:
            while n_read := stream.readinto(block):
                yield block[:n_read]

    def batch(self, file: str) -> pa.RecordBatch:
        return only_batch(pa.memory_map(str(self.path / file)))


def only_batch(file: pa.NativeFile) -> pa.RecordBatch:
    """The record batch of a shard; ArrowInvalid where there is another number of them."""
    reader = pa.ipc.open_file(file)
    if reader.num_record_batches != 1:
        raise pa.ArrowInvalid(f"{reader.num_record_batches} record batches in place of 1")
    return reader.get_batch(0)


def is_uri(place: str | Path) -> bool:
    """Whether a store is named by a URI (`s3://…`) and not by a path."""
    return isinstance(place, str) and re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", place) is not None


def refuse_secrets(uri: str, what: str, remedy: str) -> None:
    """UserError, in which it is not repeated, for a URI that holds a password or an access key: it would be kept on disk."""
    try:
        parts = urlsplit(uri)
        named = [name for name, value in parse_qsl(parts.query) if value and SECRET.search(name)]
        hidden = "a password" if parts.password else f"'{named[0]}'" if named else None
        host = parts.netloc.rpartition("@")[2]
    except ValueError:  # no URI that can be taken apart; whoever opens it says so
        return
    if hidden is not None:
        raise UserError(
            f"{what} {parts.scheme}://{host}{parts.path}: holds {hidden}, which files and logs would keep; {remedy}"
        )
