"""Directories found again by a key of what went in; complete or not there at all."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from scbig_dist.store.disk import sync_directory

# Raised where the meaning or the layout of an artefact changes; old ones are then made anew.
SCHEMA = {"pca": 1, "modules": 1, "autoencoder": 1, "de": 1}


def content_key(kind: str, inputs: Mapping[str, Any]) -> str:
    """A name for the artefact that these inputs determine: 16 hex digits."""
    text = json.dumps({"kind": kind, "schema": SCHEMA[kind], **inputs}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def find(root: Path, kind: str, key: str) -> Path | None:
    """The finished artefact, or None."""
    path = root / f"{kind}-{key}"
    return path if (path / "inputs.json").is_file() else None


def make(root: Path, kind: str, key: str, inputs: Mapping[str, Any], write: Callable[[Path], None]) -> Path:
    """Write an artefact beside its place and rename it there; the first of several makers wins."""
    path = root / f"{kind}-{key}"
    beside = root / f".{kind}-{key}-{uuid.uuid4().hex[:8]}"
    beside.mkdir(parents=True)
    try:
        write(beside)
        (beside / "inputs.json").write_text(json.dumps(dict(inputs), indent=1, sort_keys=True, default=str))
        sync_tree(beside)
        try:
            os.replace(beside, path)
        except OSError:
            if find(root, kind, key) is None:
                raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    sync_directory(root)
    return path


@contextmanager
def claim(root: Path, kind: str, key: str) -> Iterator[None]:
    """Hold the right to make an artefact; a second maker waits here, and then finds it made.

    The claim is the kernel's lock on a file: it ends with the process that holds it.
    """
    root.mkdir(parents=True, exist_ok=True)
    with open(root / f".{kind}-{key}.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def save_tensors(tensors: Mapping[str, Tensor | np.ndarray], path: Path) -> None:
    """Write a safetensors file; a full disk is an OSError here as everywhere."""
    try:
        save_file({name: torch.as_tensor(value).detach().cpu().contiguous() for name, value in tensors.items()}, path)
    except SafetensorError as error:
        if found := re.search(r"os error (\d+)", str(error)):
            number = int(found[1])
            raise OSError(number, os.strerror(number), str(path)) from None
        raise


def write_text(path: Path, text: str) -> None:
    """Replace a file in one step: a reader sees the old text or the new, never half of it."""
    beside = path.with_name(f".{path.name}-{uuid.uuid4().hex[:8]}")
    try:
        with open(beside, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def sync_tree(path: Path) -> None:
    """Flush a directory's files and the directory itself to disk."""
    for file in sorted(path.rglob("*")):
        if file.is_file():
            with open(file, "rb") as handle:
                os.fsync(handle.fileno())
    sync_directory(path)
