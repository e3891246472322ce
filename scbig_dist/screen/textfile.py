"""The first look at a text table, plain or gzipped."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO

from scbig_dist.errors import UserError, no_file


@contextmanager
def open_text(path: Path, where: str) -> Iterator[IO[str]]:
    """The file as UTF-8 lines, gunzipped by its name; every way to fail is a UserError."""
    if path.is_dir():
        raise UserError(f"{where}: a directory; give a file")
    if not path.is_file():
        raise UserError(f"{where}: {no_file(path, 'check its name')}")
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
            yield lines
    except UnicodeDecodeError:
        raise UserError(f"{where}: not a text file") from None
    except (gzip.BadGzipFile, EOFError) as error:
        raise UserError(f"{where}: not a whole gzip file ({error})") from None
    except OSError as error:
        raise UserError(f"{where}: cannot be read ({error.strerror or error})") from None


def read_first_lines(path: Path, where: str, n: int = 2) -> list[str]:
    """The first non-empty lines, at least one."""
    with open_text(path, where) as lines:
        first = list(islice((line.rstrip("\r\n") for line in lines if line.strip()), n))
    if not first:
        raise UserError(f"{where}: the file is empty")
    return first


def split_fields(line: str, separator: str) -> list[str]:
    """Lower-case fields of a line; a `#` before the first is a header's mark."""
    return [field.strip().lower().lstrip("#") for field in re.split(separator, line)]


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
