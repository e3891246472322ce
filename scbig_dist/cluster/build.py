"""A store built, or appended to, by Ray tasks: the parts of `store/` on many machines, the same bytes as result."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ray
from ray.exceptions import RayError

from scbig_dist.cluster.ask import living_nodes
from scbig_dist.cluster.session import ray_session
from scbig_dist.cluster.shared import require_shared
from scbig_dist.config import Config
from scbig_dist.errors import UserError
from scbig_dist.store.append import append_store
from scbig_dist.store.build import build_store
from scbig_dist.store.inputs import find_files
from scbig_dist.store.schema import Manifest

AHEAD = 2  # tasks per CPU in flight: their results are small, and one is ready when another ends

CANCEL_S = 10  # for tasks in flight to end once one has failed


class Failed(NamedTuple):
    """What a task could not do: a fault that the driver has words for travels as it is."""

    error: Exception


def build_on_ray(
    sources: Sequence[Path], out: Path, config: Config, address: str, progress: bool = True, force: bool = False
) -> Manifest:
    """`build_store` with its parts as tasks on the Ray at `address` (`local`: one that is started here).

    Every node reads IN and writes STORE: UserError where one does not see their folders.
    """
    with ray_session(None if address == "local" else address):
        _require_shared(find_files([Path(path) for path in sources]), Path(os.path.realpath(out)))
        return build_store(sources, out, config, progress=progress, force=force, run=run_on_ray)


def append_on_ray(store: Path, sources: Sequence[Path], address: str, progress: bool = True) -> Manifest:
    """`append_store` likewise."""
    with ray_session(None if address == "local" else address):
        _require_shared(find_files([Path(path) for path in sources]), Path(os.path.realpath(store)))
        return append_store(store, sources, progress=progress, run=run_on_ray)


def run_on_ray(function: Callable[[Any, Any], Any], shared: Any, items: Iterable[Any]) -> Iterator[Any]:
    """A `Run` of store/workers.py: one task per item, results in the order of the items."""
    n_ahead = max(1, int(AHEAD * ray.cluster_resources().get("CPU", 1)))
    common, cwd = ray.put(shared), os.getcwd()
    waiting: deque[ray.ObjectRef] = deque()
    try:
        for item in items:
            waiting.append(_task.remote(function, common, item, cwd))
            if len(waiting) >= n_ahead:
                yield _result(waiting.popleft())
        while waiting:
            yield _result(waiting.popleft())
    finally:
        for task in waiting:
            ray.cancel(task, force=True)
        if waiting:  # a part that still writes would write into a folder that is being removed
            ray.wait(list(waiting), num_returns=len(waiting), timeout=CANCEL_S)


def _result(task: ray.ObjectRef) -> Any:
    try:
        found = ray.get(task)
    except RayError as error:
        lines = str(error).strip().splitlines()
        raise UserError(
            f"--address: a task of the build was lost ({lines[0][:120] if lines else type(error).__name__});"
            " nothing was kept: begin again, or leave --address out"
        ) from error
    if isinstance(found, Failed):
        raise found.error
    return found


@ray.remote(num_cpus=1, max_retries=0)  # a part that a dead task had begun is not begun twice at one place
def _task(function: Callable[[Any, Any], Any], shared: Any, item: Any, cwd: str) -> Any:
    os.chdir(cwd)  # paths mean what they meant where the build was started
    try:
        return function(shared, item)
    except (UserError, OSError) as error:
        return Failed(error)


def _require_shared(files: Sequence[Path], out: Path) -> None:
    """UserError where a node with CPUs does not see the files, this directory, or the folder that the store grows in."""
    nodes = [node for node in living_nodes() if node.resources.get("CPU")]
    require_shared(out, [*files, Path.cwd()], "IN and STORE", nodes)
