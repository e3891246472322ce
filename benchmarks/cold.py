"""How fast cells come from a disk: what a store larger than memory costs, and how well it is shuffled.

    python -m benchmarks.cold [--rounds 5]

Before every timing the maps are dropped and the shards' pages are evicted (`posix_fadvise`, DONTNEED).
"""

from __future__ import annotations

import argparse
import gc
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.common import Timing, in_turn, table, write_section
from benchmarks.large_screen import large_screen
from benchmarks.readers import BATCH, BLOCK, POOL
from scbig_dist.store.reader import Store, open_store
from scbig_dist.train.order import FullOrder, PoolOrder

GOAL = 100_000  # cells/s
READ = 256 << 20  # bytes of the plain read
N_POOLS = 6  # read in a timing that asks ahead; the first of them cannot be asked for early


@dataclass(frozen=True)
class Cost:
    seconds: float
    bytes: int  # from the disk


def evict(path: Path) -> None:
    """The shards' pages leave the page cache; nothing may have them mapped."""
    gc.collect()
    for file in path.glob("*.arrow"):
        handle = os.open(file, os.O_RDONLY)
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def disk_bytes() -> int:
    """Bytes that this process has had read from storage."""
    return next(int(line.split()[1]) for line in Path("/proc/self/io").read_text().splitlines() if "read_bytes" in line)


def read_cells(
    path: Path, order: FullOrder | PoolOrder, n_cells: int, ahead: bool, expect_random: bool
) -> Callable[[], Cost]:
    """A call that evicts, opens and reads `n_cells` as dense log-normalised batches; what the reading cost."""

    def run() -> Cost:
        evict(path)
        store = open_store(path)
        store.expect_random(expect_random)
        out = np.empty((BATCH, len(store.genes)), dtype=np.float32)
        before, began = disk_bytes(), time.perf_counter()
        for start in range(0, n_cells, BATCH):
            if ahead:
                order.read_ahead(store, 0, start, start + BATCH, 0, 1)
            store.dense(np.sort(order.cells(0, start, start + BATCH)), out=out)
        return Cost(time.perf_counter() - began, disk_bytes() - before)

    return run


def read_plainly(path: Path) -> Callable[[], Cost]:
    """A call that evicts, then reads shards from end to end; what the reading cost."""

    def run() -> Cost:
        evict(path)
        left, began = READ, time.perf_counter()
        for file in sorted(path.glob("*.arrow")):
            with open(file, "rb", buffering=0) as handle:
                while left > 0 and (part := handle.read(4 << 20)):
                    left -= len(part)
        assert left <= 0
        return Cost(time.perf_counter() - began, READ)

    return run


def costs(calls: dict[str, Callable[[], Cost]], rounds: int) -> dict[str, list[Cost]]:
    """Like `in_turn`, for calls that time themselves: what they evict and open is not of the reading."""
    found: dict[str, list[Cost]] = {name: [] for name in calls}

    def keep(name: str, call: Callable[[], Cost]) -> Callable[[], object]:
        return lambda: found[name].append(call())

    in_turn({name: keep(name, call) for name, call in calls.items()}, rounds)
    return {name: values[1:] for name, values in found.items()}


def disk(store: Store, rounds: int) -> str:
    """The table of cold reading, and whether the goal is met."""
    cells, path = np.arange(store.n_cells), store.path
    bytes_of_cell = store.bytes_of_rows / store.n_cells
    del store
    pools = PoolOrder(cells, 0, BLOCK, POOL)
    ours, plain = "**both: as `data.shuffle=pools` trains**", "plain read, end to end"
    cases = {
        "random cells": (FullOrder(cells, 0), 4 * BATCH, False, False),
        f"blocks of {BLOCK}, pools of {POOL:,}, nothing asked for": (pools, POOL, False, False),
        "the same, maps marked as random": (pools, POOL, False, True),
        "the same, the next pool asked for": (pools, N_POOLS * POOL, True, False),
        ours: (pools, N_POOLS * POOL, True, True),
    }
    found = costs({name: read_cells(path, *case) for name, case in cases.items()} | {plain: read_plainly(path)}, rounds)
    rates = [READ / cost.seconds for cost in found[plain]]
    lines, speeds = [], {}
    for name, (_, n_cells, _, _) in cases.items():
        speeds[name] = Timing([n_cells / cost.seconds for cost in found[name]])
        share = Timing([one * bytes_of_cell / rate for one, rate in zip(speeds[name].seconds, rates, strict=True)])
        excess = np.median([cost.bytes / (n_cells * bytes_of_cell) for cost in found[name]])
        rate = f"{speeds[name].median * bytes_of_cell / 1e6:,.0f}"
        lines.append([name, speeds[name].spread(1e-3), rate, share.spread(digits=2), f"{excess:.1f}"])
    lines.append([plain, "", Timing(rates).spread(1e-6), "1", "1"])
    best = speeds[ours].median
    said = f"Goal ≥ {GOAL:,} cells/s: {'met' if best >= GOAL else 'not met'}, {best:,.0f}."
    header = [
        "cold, 10,000 genes, log-normalised",
        "thousand cells/s",
        "MB/s of rows",
        "÷ plain read",
        "disk bytes ÷ rows' bytes",
    ]
    return f"{said}\n\n{table(header, lines)}"


def entropy(labels: np.ndarray) -> float:
    """Bits."""
    share = np.bincount(labels) / len(labels)
    share = share[share > 0]
    return float(-(share * np.log2(share)).sum())


def shuffling(store: Store) -> str:
    """Entropy of the labels of a batch, by order of cells."""
    cells, obs = np.arange(store.n_cells), store.obs
    orders = {
        "as stored": lambda start, stop: cells[start:stop],
        "random permutation (`full`)": lambda start, stop: FullOrder(cells, 0).cells(0, start, stop),
    }
    for block, pool in ((BLOCK, POOL), (256, POOL), (1024, POOL), (BLOCK, 4 * POOL), (BLOCK, BATCH)):
        orders[f"blocks of {block:,}, pools of {pool:,}"] = lambda start, stop, order=PoolOrder(cells, 0, block, pool): (
            order.cells(0, start, stop)
        )
    labels = {name: obs[name].cat.codes.to_numpy() for name in ("condition", "batch")}
    lines = []
    for name, order in orders.items():
        line = [name]
        for codes in labels.values():
            for size in (256, 1024):
                starts = range(0, store.n_cells - size, store.n_cells // 60)
                values = [entropy(codes[order(start, start + size)]) for start in starts]
                line.append(f"{np.mean(values):.2f} ± {np.std(values):.2f}")
        lines.append(line)
    header = ["order", *(f"{name} labels, batch of {size:,}" for name in labels for size in (256, 1024))]
    counts = " and ".join(f"{len(np.unique(codes))} {name}" for name, codes in labels.items())
    return (
        f"**Shuffling.** Entropy in bits of the labels in a batch (mean ± sd over 60 batches of an epoch; {counts} labels; "
        "the store is sorted by condition, so its order is the worst case, and a block holds one condition).\n\n"
        f"{table(header, lines)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    began = time.perf_counter()
    _, store = large_screen()
    path, mixed = store.path, shuffling(store)
    del store
    body = (
        "A store of 200,000 cells × 10,000 genes read from local disk after its pages were evicted (maps dropped, then "
        "`posix_fadvise` DONTNEED; what the host of a virtual machine keeps is out of reach); `python -m benchmarks.cold`. "
        f"One thread asks ahead and reads.\n\n{disk(open_store(path), options.rounds)}\n\n{mixed}"
    )
    write_section("11-cold", "Cells from disk", body, time.perf_counter() - began)


if __name__ == "__main__":
    main()
