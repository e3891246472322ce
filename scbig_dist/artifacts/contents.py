"""What an artefact holds: its manifest, the checksums in it, and whether files are as they were written."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scbig_dist.store.disk import file_sha256
from scbig_dist.store.files import Folder
from scbig_dist.store.integrity import check_checksums, check_sizes
from scbig_dist.store.schema import Shard
from scbig_dist.store.verified import verify_once

MANIFEST = "artifact.json"  # written last: an artefact without it is not there
SMALL = 256_000_000  # bytes; below, every reader reads all; above, each machine once as long as the files stay the same


@dataclass(frozen=True)
class Contents:
    """The manifest of an artefact."""

    kind: str
    key: str
    schema: int
    inputs: dict[str, Any]
    files: dict[str, tuple[int, str]]
    """{name: (bytes, sha256)}."""
    seconds: float
    """What making it cost."""
    maker: dict[str, Any]
    """host, pid and run of the process that made it."""
    at: float
    """When it was finished, in seconds since the epoch."""
    folder: str = ""
    """On object storage: where its files are, beneath its own folder."""

    @property
    def n_bytes(self) -> int:
        return sum(size for size, _ in self.files.values())

    def encode(self) -> bytes:
        return json.dumps(asdict(self), indent=1, sort_keys=True, default=str).encode()


def decode(content: bytes) -> Contents | None:
    """A manifest, or None where it is damaged."""
    try:
        tree = json.loads(content)
        files = {str(name): (int(size), str(digest)) for name, (size, digest) in tree.pop("files").items()}
        found = Contents(files=files, **tree)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return None if any("/" in name or name.startswith(".") for name in files) else found


def sums_of(folder: Path) -> dict[str, tuple[int, str]]:
    """Size and sha256 of every file of a folder."""
    return {file.name: (file.stat().st_size, file_sha256(file)) for file in sorted(folder.iterdir())}


def damage(folder: Path, contents: Contents, cache: Path) -> str | None:
    """What differs between the files of a folder and what was written; None where nothing does."""
    files = [
        Shard(file=name, n_cells=0, n_entries=0, bytes=size, sha256=digest)
        for name, (size, digest) in contents.files.items()
    ]
    try:
        problems = check_sizes(Folder(folder), files)
        if not problems and contents.n_bytes < SMALL:
            problems = check_checksums(Folder(folder), files)
        elif not problems:
            problems = verify_once(folder, f"{contents.kind}-{contents.key}-{contents.at}", files, cache)
    except OSError as error:
        return f"{Path(error.filename or folder).name} cannot be read ({error.strerror})"
    return problems[0] if problems else None
