"""One progress bar per stage of a build, on stderr where that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from scbig_dist.store.moments import Advance


class Progress:
    """Silent where `shown` is false, and in a log; cleared before an error, which is one line."""

    def __init__(self, shown: bool) -> None:
        columns = (TextColumn("{task.description:<22}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bar = Bar(
            *columns, console=Console(markup=False, stderr=True), disable=not (shown and sys.stderr.isatty())
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        if self._bar.tasks:  # else a terminal gets an empty line before the error that came first
            self._bar.live.transient = kind is not None
            self._bar.stop()

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Advance]:
        """A stage of `total` cells (or bytes, or files); the yielded function is told how many more are done."""
        self._bar.start()
        task = self._bar.add_task(name, total=total)
        yield lambda n_done: self._bar.advance(task, n_done)
        self._bar.update(task, completed=total)
