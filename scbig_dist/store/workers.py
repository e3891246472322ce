"""Who does the parts of a build: threads here, Ray tasks in `cluster/build.py`; the bytes are the same."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, Protocol

MAX_THREADS = 8  # each holds one part of the source: more would cost memory, and HDF5 reads one at a time
AHEAD = 4  # parts begun per worker before the oldest is asked for


class Run(Protocol):
    """`function(shared, item)` for every item, results in the order of the items.

    `function` lives at the top of a module and works on files; `shared` and items are plain
    data, so that they can travel. Few items are in flight: their results may be large.
    """

    def __call__(self, function: Callable[[Any, Any], Any], shared: Any, items: Iterable[Any]) -> Iterator[Any]: ...


@contextmanager
def threads(n_threads: int | None = None) -> Iterator[Run]:
    """Workers in this process, by default one per core at hand; the kernels run without the GIL."""
    n_workers = n_threads or min(len(os.sched_getaffinity(0)), MAX_THREADS)
    pool = ThreadPoolExecutor(n_workers, thread_name_prefix="store")

    def run(function: Callable[[Any, Any], Any], shared: Any, items: Iterable[Any]) -> Iterator[Any]:
        waiting: deque[Future[Any]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, shared, item))
                if len(waiting) > AHEAD * n_workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
            wait(waiting)  # a part that still writes would write into a folder that is being removed

    try:
        yield run
    finally:
        pool.shutdown(cancel_futures=True)
