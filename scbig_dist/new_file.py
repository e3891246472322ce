"""An .h5ad file that appears whole or not at all, and that HDF5 can always close, even on a full disk."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scbig_dist.errors import UserError

PAGE = 1 << 16


@contextmanager
def new_file(out: Path, force: bool) -> Iterator[Path]:
    """A name beside `out` to write under; it becomes `out` only if the block ends well."""
    check_out(out, force)
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        yield part
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.replace(out)
    except OSError as error:
        raise UserError(
            f"{out}: cannot be written ({error.strerror or error}); free some room or choose another place"
        ) from None
    finally:
        part.unlink(missing_ok=True)


def check_out(out: Path, force: bool) -> None:
    """Raise where `out` cannot or should not be written."""
    if out.suffix != ".h5ad":
        raise UserError(f"{out}: the name of the file ends with .h5ad")
    if out.is_dir():
        raise UserError(f"{out}: a directory; give a file name that ends with .h5ad")
    if not out.parent.is_dir():
        raise UserError(f"{out}: no directory {out.parent}; make it first")
    if out.exists() and not force:
        raise UserError(f"{out}: exists; choose another name or write over it with --force")


class PatientFile(io.FileIO):
    """A new file for `h5py.File(file, "w")` that keeps its first failed write as `error`.

    HDF5 that meets a full disk by itself prints tracebacks and crashes as Python exits,
    for it cannot flush what it must. From the first failure on, this file therefore holds
    what it is given in memory, so that HDF5 reads back what it wrote and closes in peace.
    The writer calls `check` every so often and stops there.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+")
        self.error: OSError | None = None
        self.pages: dict[int, bytearray] = {}
        self.end = 0

    def check(self) -> None:
        """Raise the write that failed, if one did."""
        if self.error is not None:
            raise self.error

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        start, done = self.tell(), 0
        while done < len(view) and self.error is None:
            try:
                done += super().write(view[done:])
            except OSError as error:
                self._give_up(error)
        if self.error is not None and len(view):
            for page, here, there in self._pieces(start, len(view)):
                page[here] = view[there]
            self.end = max(self.end, start + len(view))
            super().seek(start + len(view))
        return len(view)

    def readinto(self, buffer: Any) -> int:
        if self.error is None:
            return super().readinto(buffer)
        view = memoryview(buffer).cast("B")
        start = self.tell()
        for page, here, there in self._pieces(start, len(view)):
            view[there] = page[here]
        super().seek(start + len(view))
        return len(view)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if self.error is not None and whence == os.SEEK_END:
            return super().seek(self.end + offset)
        return super().seek(offset, whence)

    def truncate(self, size: int | None = None) -> int:
        size = self.tell() if size is None else size
        if self.error is None:
            try:
                return super().truncate(size)
            except OSError as error:
                self._give_up(error)
        self.end = size
        return size

    def _give_up(self, error: OSError) -> None:
        self.error = error
        self.end = os.fstat(self.fileno()).st_size

    def _pieces(self, start: int, size: int) -> Iterator[tuple[bytearray, slice, slice]]:
        """(page, place in it, place in the caller's buffer) for every page that a range touches."""
        done = 0
        while done < size:
            number, offset = divmod(start + done, PAGE)
            n = min(PAGE - offset, size - done)
            if number not in self.pages:
                self.pages[number] = bytearray(os.pread(self.fileno(), PAGE, number * PAGE).ljust(PAGE, b"\0"))
            yield self.pages[number], slice(offset, offset + n), slice(done, done + n)
            done += n
