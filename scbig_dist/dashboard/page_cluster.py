"""Where trials run, what is free, and why each waiting trial waits."""

from __future__ import annotations

from scbig_dist.dashboard.beside import trial_href
from scbig_dist.dashboard.blocks import Block, Cell, Heading, Link, Table, Text, Tile, Tiles
from scbig_dist.dashboard.cluster import Cluster, Node
from scbig_dist.dashboard.figures import setting_text
from scbig_dist.dashboard.leases import held_up
from scbig_dist.dashboard.links import tools
from scbig_dist.dashboard.progress import stage_progress
from scbig_dist.dashboard.view import View
from scbig_dist.dashboard.waiting import MOST_LISTED, waiting_trials

GB = 1e9
SHOWN = (
    ("CPU", "CPUs", 1.0),
    ("GPU", "GPUs", 1.0),
    ("memory", "memory for trials, GB", GB),
    ("objectStoreMemory", "object store, GB", GB),
)


def cluster_page(view: View) -> list[Block]:
    cluster = view.cluster
    state = f"as {cluster.address} says" if cluster.answers else ""
    return [
        Heading("Cluster", state),
        Text("cluster-problem", "" if cluster.answers else f"Nothing is known of a cluster: {cluster.problem}. What stands below comes from the study's files.", "note"),
        Tiles("tiles", _tiles(view)),
        Heading("Waiting", f"{view.study.n_waiting} trials" if view.study.n_waiting else ""),
        Text("held-up", "\n".join(held_up(view.study, view.now)), "warn"),
        _waiting(view),
        Heading("Running"),
        _running(view),
        Heading("Nodes"),
        _nodes(cluster),
        Text("dead-actors", _dead(cluster), "warn"),
        Heading("Beside this page"),
        _tools(view),
    ]  # fmt: skip


def _tiles(view: View) -> tuple[Tile, ...]:
    cluster = view.cluster
    sweep = Tile("sweep", "at work" if view.study.sweep.at_work else "not at work", view.study.sweep.basis)
    if not cluster.answers:
        return (sweep, Tile("trials running", str(len(view.study.of("running"))), f"{view.study.n_waiting} wait"))
    tiles = [sweep]
    alive = sum(node.alive for node in cluster.nodes)
    dead = len(cluster.nodes) - alive
    tiles.append(Tile("nodes", str(alive), f"{dead} dead" if dead else "none dead", "bad" if dead else ""))
    for name, label, unit in SHOWN:
        used, total = cluster.usage.get(name, (0.0, 0.0))
        if total:
            tiles.append(Tile(label, f"{used / unit:.3g} of {total / unit:.3g}", f"{(total - used) / unit:.3g} free"))
    return tuple(tiles)


def _waiting(view: View) -> Block:
    study = view.study
    waits = waiting_trials(study, view.cluster)
    if not waits:
        return Text("waiting", "No trial waits.", "empty")
    rows: list[tuple[Cell, ...]] = []
    for each in waits:
        settings = (setting_text(each.values[a]) if each.values and a in each.values else "–" for a in study.axes)
        rows.append((each.id + (f" ({each.name})" if each.name else ""), each.why, *settings))
    more = study.n_waiting - len(waits)
    caption = f"The next {MOST_LISTED}; {more} more wait behind them." if more else ""
    return Table(
        "waiting",
        ("trial", "why it waits", *study.axes),  # in sight, however many axes there are
        tuple(rows),
        frozenset(range(2, len(study.axes) + 2)),
        caption=caption,
    )


def _running(view: View) -> Block:
    study, rows = view.study, list[tuple[Cell, ...]]()
    by_pid = {actor.pid: actor for actor in view.cluster.actors if actor.pid and actor.state == "ALIVE"}
    for trial in study.of("running"):
        share, words = stage_progress(study, trial)
        actor = by_pid.get(trial.pid) if trial.pid else None
        where = trial.node or (actor.node if actor else "") or "not recorded"
        rows.append((
            Link(trial.id, trial_href(study, trial.id)), where, trial.gpus or "–", str(trial.pid or "–"),
            "–" if trial.restarts is None else str(trial.restarts), words if share is None else f"{share:.0%}  {words}",
        ))  # fmt: skip
    if not rows:
        return Text("running", "No trial is running.", "empty")
    return Table("running", ("trial", "node", "GPU", "process", "restarts", "at"), tuple(rows), frozenset({3, 4}))


def _nodes(cluster: Cluster) -> Block:
    if not cluster.nodes:
        return Text(
            "nodes", "CPUs, GPUs, memory and object store of every node appear here while a cluster answers.", "empty"
        )
    rows = tuple(_node(node) for node in cluster.nodes)
    columns = ("node", "address", "state", "CPUs", "CPU busy", "memory, GB", "object store, GB", "GPUs")
    return Table("nodes", columns, rows, frozenset({3, 4, 5, 6}))


def _node(node: Node) -> tuple[str, ...]:
    def pair(value: tuple[float, float] | None) -> str:
        return "–" if value is None else f"{value[0] / GB:.1f} of {value[1] / GB:.1f}"

    busy = "–" if node.cpu_percent is None else f"{node.cpu_percent:.0f}%"
    state = "alive" if node.alive else f"dead: {node.why}"
    cpus = f"{node.resources['CPU']:g}" if "CPU" in node.resources else "–"
    return (node.name, node.ip, state, cpus, busy, pair(node.memory), pair(node.store), "; ".join(node.gpus) or "none")


def _dead(cluster: Cluster) -> str:
    lost = [
        actor
        for actor in cluster.actors
        if actor.state == "DEAD" and actor.why and "ray.kill" not in actor.why and "out of scope" not in actor.why
    ]
    lines = [
        f"a process of {actor.name}{' on ' + actor.node if actor.node else ''} died: {actor.why}" for actor in lost[:8]
    ]
    return "\n".join(lines + [f"waits for room: {each}" for each in cluster.pending[:8]])


def _tools(view: View) -> Block:
    rows: list[tuple[Cell, ...]] = []
    for tool in tools(view.study, view.cluster):
        rows.append((tool.name, tool.what, Link(tool.url, tool.url) if tool.url else "does not run here", tool.command))
    return Table("tools", ("tool", "shows", "open", "start it"), tuple(rows))
