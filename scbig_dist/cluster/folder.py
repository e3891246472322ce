"""A folder that a sweep is to write in, looked at before anything starts."""

from __future__ import annotations

import os
from pathlib import Path

from scbig_dist.errors import UserError


def require_folder(path: Path, option: str) -> None:
    """A UserError where `path` is no folder that can be written, nor could be made one."""
    there = next(each for each in (path, *path.parents) if os.path.lexists(each))
    if not there.is_dir():
        raise UserError(f"{option} {path}: {there} is no folder; name another place")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"{option} {path}: {there} cannot be written; name another place")


def make_folder(path: Path, option: str) -> None:
    """The folder, with those above it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{option} {path}: cannot be made ({error.strerror}); name another place") from None
