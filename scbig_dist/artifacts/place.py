"""Where artefacts lie: a directory that nodes share, or anything that `pyarrow.fs` reaches."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from pyarrow import fs

from scbig_dist.artifacts.files import write_bytes
from scbig_dist.store.files import BLOCK, is_uri
from scbig_dist.store.remote import open_system, told


class Place(Protocol):
    """A folder. Names are relative, with `/` between; what is not there is no error."""

    name: str
    """As the user calls it."""

    def names(self, folder: str = "") -> list[str]:
        """Base names of the files and folders in a folder."""
        ...

    def read(self, file: str) -> bytes | None: ...

    def write(self, file: str, content: bytes) -> None:
        """Whole, or as it was before."""
        ...

    def remove(self, name: str) -> None:
        """A file, or a folder with all that is in it."""
        ...

    def size(self, folder: str) -> int:
        """Bytes of all files beneath a folder."""
        ...


class Disk:
    """A directory of this machine or of a file system that nodes share."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path)

    def names(self, folder: str = "") -> list[str]:
        with suppress(FileNotFoundError, NotADirectoryError):
            return sorted(os.listdir(self.path / folder))
        return []

    def read(self, file: str) -> bytes | None:
        with suppress(FileNotFoundError, NotADirectoryError):
            return (self.path / file).read_bytes()
        return None

    def write(self, file: str, content: bytes) -> None:
        path = self.path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, content)

    def create(self, file: str, content: bytes) -> bool:
        """Write a file that nobody has written; false where it is there. Of several callers on any nodes one is first."""
        path = self.path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(path, "xb") as stream:
                stream.write(content)
        except FileExistsError:
            return False
        return True

    def remove(self, name: str) -> None:
        path = self.path / name
        if path.is_dir() and not path.is_symlink():
            gone = path.with_name(f".gone-{uuid.uuid4().hex[:8]}")  # at one stroke, so that nobody finds half of it
            with suppress(FileNotFoundError):
                os.replace(path, gone)
            shutil.rmtree(gone, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)

    def size(self, folder: str) -> int:
        total = 0
        for file in (self.path / folder).rglob("*"):
            with suppress(FileNotFoundError):
                total += file.stat().st_size if file.is_file() else 0
        return total


class Bucket:
    """A folder behind a URI. Every error of the network or of the address is a UserError."""

    def __init__(self, uri: str) -> None:
        self.name = uri
        with self._told():
            self._system, self._root = open_system(uri)

    def names(self, folder: str = "") -> list[str]:
        with self._told():
            found = self._system.get_file_info(fs.FileSelector(self._at(folder), allow_not_found=True))
        return sorted(info.base_name for info in found)

    def read(self, file: str) -> bytes | None:
        with self._told(), suppress(FileNotFoundError, NotADirectoryError):
            return self._system.open_input_stream(self._at(file), compression=None).read()
        return None

    def blocks(self, file: str) -> Iterator[memoryview]:
        """A file from its beginning, block by block; nothing where it is absent."""
        stream = None
        with self._told(), suppress(FileNotFoundError):
            stream = self._system.open_input_stream(self._at(file), compression=None, buffer_size=0)
        if stream is None:
            return
        with stream:
            while True:
                with self._told():
                    block = stream.read_buffer(BLOCK)
                if not block.size:
                    return
                yield memoryview(block)

    def write(self, file: str, content: bytes) -> None:
        with self._told(), self._system.open_output_stream(self._at(file), compression=None) as stream:
            stream.write(content)

    def upload(self, path: Path, file: str) -> None:
        """A file of this machine. One that breaks off may leave a part: checksums tell."""
        with (
            self._told(),
            self._system.open_output_stream(self._at(file), compression=None) as stream,
            open(path, "rb") as source,
        ):
            while block := source.read(BLOCK):
                stream.write(block)

    def remove(self, name: str) -> None:
        with self._told():
            info = self._system.get_file_info(self._at(name))
            if info.type == fs.FileType.File:
                self._system.delete_file(self._at(name))
            elif info.type == fs.FileType.Directory:
                self._system.delete_dir(self._at(name))

    def size(self, folder: str) -> int:
        with self._told():
            selector = fs.FileSelector(self._at(folder), recursive=True, allow_not_found=True)
            return sum(info.size or 0 for info in self._system.get_file_info(selector) if info.type == fs.FileType.File)

    def _at(self, name: str) -> str:
        return f"{self._root}/{name}".rstrip("/")

    def _told(self) -> AbstractContextManager[None]:
        return told(f"artifacts {self.name}", self.name)


def open_place(root: str | Path) -> Disk | Bucket:
    """The place that a path or a URI names; `file://` is a path."""
    if not is_uri(root):
        return Disk(Path(root).expanduser().absolute())
    if str(root).startswith("file://"):
        return Disk(Path(unquote(urlsplit(str(root)).path)))
    return Bucket(str(root))


def settled_root(root: str) -> str:
    """A root as every process on every node can use it: a URI as it is, a path absolute. UserError where it cannot be reached."""
    place = open_place(root)
    place.names()
    return place.name
