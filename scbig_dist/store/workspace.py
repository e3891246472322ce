"""Where a store grows: a folder beside it that is renamed when it is whole."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scbig_dist.errors import UserError
from scbig_dist.store.disk import replace_content, sync_directory
from scbig_dist.store.schema import CHECKSUM, MANIFEST

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
READ_ONLY = {errno.EACCES, errno.EPERM, errno.EROFS}


def require_free(out: Path, force: bool) -> None:
    """UserError where `out` exists and may not be replaced. `force` replaces a store, never anything else."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not ((out / MANIFEST).is_file() and (out / CHECKSUM).is_file()):
        raise UserError(f"{out}: exists and is no cell store; name another STORE (it is never overwritten)")
    if not force:
        raise UserError(f"{out}: a cell store is there already; name another STORE, or replace it with --force")


@contextmanager
def workspace(out: Path, force: bool) -> Iterator[Path]:
    """A fresh folder `.NAME.tmp-…` beside `out`; the caller fills it, then calls `publish`.

    Whatever ends the block early (an error, Ctrl-C), the folder goes, and so do parents that
    were made for it. One build of a store at a time holds the lock, so that every other
    `.NAME.tmp-…` is the leftover of a killed build and is removed. A full disk is a UserError.
    """
    made = [parent for parent in out.parents if not parent.exists()]
    done = False
    try:
        with _faults_of_the_disk(out):
            out.parent.mkdir(parents=True, exist_ok=True)
            with _lock(out):
                for leftover in [*out.parent.glob(f".{out.name}.tmp-*"), *_replaced(out)]:
                    shutil.rmtree(leftover)
                require_free(out, force)
                folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.tmp-", dir=out.parent))
                try:
                    yield folder
                    done = True
                finally:
                    shutil.rmtree(folder, ignore_errors=True)
    finally:
        if not done:
            for parent in made:
                if parent.is_dir() and not any(parent.iterdir()):
                    parent.rmdir()


@contextmanager
def annexe(store: Path) -> Iterator[Path]:
    """A fresh folder inside a store for what is appended to it, under the store's lock.

    Leftovers of a killed append go first. Whatever ends the block, the folder goes.
    """
    with _faults_of_the_disk(store), _lock(store):
        for leftover in store.glob(".append-*"):
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        folder = Path(tempfile.mkdtemp(prefix=".append-", dir=store))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def replace_file(path: Path, text: str) -> None:
    """The old text or the new for whoever reads, and the new on disk when this returns."""
    replace_content(path, text.encode(), path.with_name(f".append-{path.name}"))
    sync_directory(path.parent)


@contextmanager
def _faults_of_the_disk(out: Path) -> Iterator[None]:
    """A full disk, or a place that cannot be written, as a UserError."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise UserError(
                f"{out}: the disk is full ({error.strerror}); free space or name a STORE elsewhere; nothing was kept"
            ) from None
        if error.errno in READ_ONLY:
            raise UserError(
                f"{out}: cannot write there ({error.strerror}); name a STORE in a folder of yours"
            ) from None
        if error.errno in (errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG):
            raise UserError(f"{out}: no folder can be made there ({error.strerror}); name another STORE") from None
        raise


def publish(folder: Path, out: Path) -> None:
    """Give the finished folder its name, after everything in it is on disk. An old store goes last."""
    folder.chmod(0o777 & ~_umask())  # mkdtemp makes it private
    sync_directory(folder)
    old = out.parent / f".{out.name}.old-{folder.name.rsplit('-', 1)[-1]}"
    if out.exists():
        os.rename(out, old)
    try:
        os.rename(folder, out)
    except BaseException:
        if old.exists():
            os.rename(old, out)
        raise
    sync_directory(out.parent)
    shutil.rmtree(old, ignore_errors=True)


def _replaced(out: Path) -> list[Path]:
    """Stores that a killed `--force` had moved away; put back where none took their place."""
    old = sorted(out.parent.glob(f".{out.name}.old-*"))
    if old and not out.exists():
        os.rename(old.pop(), out)
    return old


@contextmanager
def _lock(out: Path) -> Iterator[None]:
    path = out.parent / f".{out.name}.lock"
    while True:
        handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise UserError(
                f"{out}: another build of this store is running, or an append to it; wait for it or name another STORE"
            ) from None
        if path.exists() and os.stat(path).st_ino == os.fstat(handle).st_ino:
            break
        os.close(handle)  # its former holder removed it meanwhile
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
