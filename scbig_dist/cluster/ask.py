"""One question to every node of the cluster, answered by a task on each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray import cloudpickle
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from scbig_dist.cluster import on_node

cloudpickle.register_pickle_by_value(on_node)  # a node without this package can still say so
SECONDS = 60.0  # for a node to start a process and answer


@dataclass(frozen=True)
class Node:
    """A living node in Ray's words."""

    id: str
    address: str
    is_head: bool
    resources: dict[str, float]


class Unanswered(str):
    """Why a node gave no answer."""


def living_nodes() -> list[Node]:
    """Every living node, the head first."""
    found = [
        Node(
            node["NodeID"],
            node["NodeManagerAddress"],
            "node:__internal_head__" in node["Resources"],
            dict(node["Resources"]),
        )
        for node in ray.nodes()
        if node["Alive"]
    ]
    return sorted(found, key=lambda node: (not node.is_head, node.address, node.id))


def ask(nodes: Sequence[Node], function: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
    """{node id: what the function of `on_node` returned there, or Unanswered}."""
    return ask_each(nodes, function, {node.id: arguments for node in nodes})


def ask_each(
    nodes: Sequence[Node], function: Callable[..., Any], arguments: dict[str, tuple[Any, ...]]
) -> dict[str, Any]:
    """`ask` with arguments of each node's own."""
    if not nodes:
        return {}
    task = ray.remote(num_cpus=0, max_retries=0)(function)
    sent = {
        node.id: task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False)).remote(
            *arguments[node.id]
        )
        for node in nodes
    }
    done, late = ray.wait(list(sent.values()), num_returns=len(sent), timeout=SECONDS)
    for each in late:
        ray.cancel(each, force=True)
    return {
        name: _answer(each) if each in done else Unanswered(f"no answer in {SECONDS:g} s")
        for name, each in sent.items()
    }


def _answer(task: ray.ObjectRef) -> Any:
    try:
        return ray.get(task)
    except Exception as error:  # whatever it is, the other nodes' answers still count
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return Unanswered(lines[-1][:160])
