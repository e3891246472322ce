"""Batches of the coming steps, made in a thread while the step runs."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any

AHEAD = 2  # batches made and not yet taken, the one in the making included


class _End:
    """After the last batch of a step."""


@dataclass(frozen=True)
class _Failure:
    error: BaseException


class Feeder:
    """The batches of `make(step)` for each step in turn, at most `AHEAD` of them waiting.

    `make` depends on the step alone, so what is made ahead is what would have been made then, and a run that stops
    and resumes sees the same. The thread spends its time in compiled loops that do not hold Python's lock. It ends
    with the `with` block; its errors surface in the step that wanted the batch. On a GPU it works on the stream
    of the step: the device then needs no word about which came first.
    """

    def __init__(self, make: Callable[[int], Iterable[Any]], steps: range) -> None:
        self.waited = 0.0
        """Seconds that the caller has waited for batches."""
        self._make, self._steps = make, steps
        self._ready: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._room = threading.Semaphore(AHEAD)
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="feeder", daemon=True)

    def __enter__(self) -> Feeder:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        self._room.release()
        self._thread.join()

    def step(self) -> Iterator[Any]:
        """The batches of the next step."""
        while True:
            began = time.perf_counter()
            item = self._ready.get()
            self.waited += time.perf_counter() - began
            if isinstance(item, _End):
                return
            if isinstance(item, _Failure):
                raise item.error
            self._room.release()
            yield item
            item = None  # the caller is done with it: its buffers may go back

    def _run(self) -> None:
        try:
            for step in self._steps:
                batches = iter(self._make(step))
                while True:
                    self._room.acquire()
                    if self._closed:
                        return
                    batch = next(batches, None)
                    if batch is None:
                        self._room.release()
                        break
                    self._ready.put(batch)
                    batch = None
                self._ready.put(_End())
        except BaseException as error:
            self._ready.put(_Failure(error))
