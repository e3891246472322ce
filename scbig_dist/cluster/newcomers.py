"""Nodes that join while a sweep runs: whether they see its files, asked without waiting for the answer."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from scbig_dist.cluster import on_node
from scbig_dist.cluster.ask import Node, living_nodes

WAIT_S = 600.0  # of a trial on a node whose storage may still be on its way
LOOK_S = 1.0


class Newcomers:
    """`known` nodes were looked at before the sweep began."""

    def __init__(self, study_dir: Path, known: Sequence[Node], say: Callable[[str], None]) -> None:
        self._file, self._say = study_dir / "study.yaml", say
        self._known = {node.id for node in known}
        self._asked: dict[ray.ObjectRef, Node] = {}

    def look(self) -> None:
        """Ask those that have come since the last look; say what those have answered that were asked before."""
        done = ray.wait(list(self._asked), num_returns=len(self._asked), timeout=0)[0] if self._asked else []
        for answer in done:
            node = self._asked.pop(answer)
            if line := self._wrong(node, answer):
                self._say(line)
        for node in living_nodes():
            if node.id not in self._known:
                self._known.add(node.id)
                self._asked[_ask(node, [self._file])] = node

    def _wrong(self, node: Node, answer: ray.ObjectRef) -> str | None:
        try:
            unseen = ray.get(answer)
        except ray.exceptions.RayError:
            return None  # it has left again
        if not unseen:
            return None
        return (
            f"node {node.address} has joined and does not see {unseen[0]}: trials that are placed there wait for it; "
            "mount the storage that the other nodes share, or take the node out"
        )


def _ask(node: Node, files: Sequence[Path]) -> ray.ObjectRef:
    task = ray.remote(num_cpus=0, max_retries=0)(on_node.unseen)
    placed = task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False))
    return placed.remote("", [], {str(file): -1 for file in files})


def await_storage(study_dir: Path, seconds: float = WAIT_S) -> None:
    """Wait until this node sees the study; what a trial writes elsewhere is lost to it. Raises OSError behind `seconds`."""
    end = time.monotonic() + seconds
    while not (study_dir / "study.yaml").is_file():
        if time.monotonic() > end:
            raise OSError(
                f"node {os.uname().nodename} does not see {study_dir}: mount the storage that all nodes share"
            )
        time.sleep(LOOK_S)
