"""One process at a time trains into a run: what a dead driver left running must not write beside its successor."""

from __future__ import annotations

import errno
import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scbig_dist.errors import UserError

WAIT_S = 120.0  # Ray ends the workers of a dead driver within seconds, those of a dead head within a minute
NO_LOCKS = (
    errno.ENOLCK,
    errno.ENOSYS,
    errno.EOPNOTSUPP,
)  # a file system without locks: as it was before there were any


@contextmanager
def sole_writer(run: Path, wait_s: float = WAIT_S) -> Iterator[None]:
    """Hold the run for the block. The kernel's lock ends with its process, however that ends; it is waited for."""
    with open(run / ".lock", "a") as file:
        end = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise UserError(
                        f"{run}: another process has been training there for {wait_s:.0f} s; "
                        "stop it, or name another directory with -o"
                    ) from None
                time.sleep(0.2)
            except OSError as error:
                if error.errno not in NO_LOCKS:
                    raise
                break
        yield
