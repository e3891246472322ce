"""Files written so that a reader sees the old content or the new, never half of it."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from scbig_dist.store.disk import replace_content, sync_directory

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


def save_tensors(tensors: Mapping[str, Tensor | np.ndarray], path: Path) -> None:
    """Write a safetensors file; a full disk is an OSError here as everywhere."""
    import torch  # seconds, which a command that lists artefacts is spared
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file({name: torch.as_tensor(value).detach().cpu().contiguous() for name, value in tensors.items()}, path)
    except SafetensorError as error:
        if found := re.search(r"os error (\d+)", str(error)):
            number = int(found[1])
            raise OSError(number, os.strerror(number), str(path)) from None
        raise


def write_text(path: Path, text: str) -> None:
    """Replace a file in one step: a reader sees the old text or the new, never half of it."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """`write_text` for bytes."""
    replace_content(path, content, path.with_name(f".{path.name}-{uuid.uuid4().hex[:8]}"))


def sync_tree(path: Path) -> None:
    """Flush a directory's files and the directory itself to disk."""
    for file in sorted(path.rglob("*")):
        if file.is_file():
            with open(file, "rb") as handle:
                os.fsync(handle.fileno())
    sync_directory(path)
