"""How fast batches of 1,024 cells leave a store as dense float32, beside a bare loop and beside the peers.

    python -m benchmarks.reading [--rounds 7]

One thread, warm page cache, all in turn in one process; Ray Data alone uses processes of its own on both cores.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import torch

from benchmarks import readers
from benchmarks.common import Timing, in_turn, peak_memory, ratios, table, write_section
from benchmarks.large_screen import large_screen
from benchmarks.readers import BATCH, BLOCK, POOL, Screen
from benchmarks.waiting import waiting

REFERENCE = "bare numba scatter over memory-mapped CSR, raw"
RANDOM: dict[str, tuple[Callable[[Screen, int], readers.Read], int]] = {  # and batches per round
    REFERENCE: (readers.bare, 8),
    "**Store.dense, raw**": (readers.ours, 8),
    "**Store.dense, normalised + log1p**": (readers.ours_log, 8),
    "Store.sparse: CSR rows for a GPU, not dense": (readers.ours_sparse, 8),
    "scipy CSR in RAM, `X[rows][:, genes].toarray()`": (readers.scipy_in_memory, 1),
    "pyarrow `RecordBatch.take`, then the bare scatter": (readers.arrow_take, 1),
    "anndata backed .h5ad": (readers.backed_h5ad, 1),
}
SCDATASET_RANDOM = "scDataset 0.3.0 on the .h5ad, block 1, fetch 4"
SCDATASET, RAY = "scDataset 0.3.0 on the .h5ad, block 64, fetch 16", "Ray Data on Parquet, local shuffle of 16,384 rows"
GOALS = {"**Store.dense, raw**": 0.9, "**Store.dense, normalised + log1p**": 0.55}


class Contest:
    """Contestants of one width: made one by one, their memory watched, then timed in turn; seconds per cell."""

    def __init__(self, rounds: int) -> None:
        self._rounds = rounds
        self._calls: dict[str, tuple[Callable[[], object], int]] = {}
        self.memory: dict[str, str] = {}

    def add(
        self,
        name: str,
        make: Callable[[], Callable[[], object] | None],
        n_batches: int,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """`make` gives a call that reads one batch, None where the peer is not installed; `check` comes after it."""
        with peak_memory() as peak:
            call = make()
            if call is not None:
                call()
        if call is None:
            self.memory[name] = "not run: not installed"
            return
        check()
        self.memory[name] = f"{1e3 * peak.over:,.0f}"

        def several() -> None:
            for _ in range(n_batches):
                call()

        self._calls[name] = (several, n_batches * BATCH)

    def run(self) -> dict[str, Timing]:
        timed = in_turn({name: call for name, (call, _) in self._calls.items()}, self._rounds)
        return {name: Timing([value / self._calls[name][1] for value in each.seconds]) for name, each in timed.items()}


def speed(timing: Timing) -> str:
    """Thousand cells/s: median (lowest to highest)."""
    return Timing([1e-3 / value for value in timing.seconds]).spread(digits=0 if timing.median < 1e-4 else 1)


def random_cells(screen: Screen, n_genes: int, rounds: int) -> dict[str, tuple[Timing | None, str]]:
    rng, contest = np.random.default_rng(n_genes), Contest(rounds)
    check = rng.integers(0, screen.store.n_cells, BATCH)
    expected = readers.bare(screen, n_genes)(check).copy()

    def add(name: str, make: Callable[[Screen, int], readers.Read], n_batches: int) -> None:
        made: list[readers.Read] = []

        def call() -> Callable[[], object]:
            made.append(make(screen, n_genes))
            return lambda: made[0](rng.integers(0, screen.store.n_cells, BATCH))

        def same() -> None:
            found = made[0](check)
            if make is readers.ours_log:
                np.testing.assert_allclose(found, np.log1p(expected * screen.store.scales(check)[:, None]), rtol=1e-6)
            elif make is not readers.ours_sparse:
                assert np.array_equal(found, expected), name

        contest.add(name, call, n_batches, same)

    for name, (make, n_batches) in RANDOM.items():
        add(name, make, n_batches)
    contest.add(SCDATASET_RANDOM, lambda: following(readers.scdataset_batches(screen, n_genes, 1, 4)), 4)
    timed = contest.run()
    return {name: (timed.get(name), memory) for name, memory in contest.memory.items()}


def pooled_cells(screen: Screen, n_genes: int, rounds: int) -> dict[str, tuple[Timing | None, str]]:
    contest = Contest(rounds)
    for name, make in (
        (REFERENCE, readers.bare),
        ("**Store.dense, raw**", readers.ours),
        ("**Store.dense, normalised + log1p**", readers.ours_log),
    ):
        contest.add(
            name, lambda make=make: following(readers.blocks_of_store(screen, make(screen, n_genes))), POOL // BATCH
        )
    contest.add(SCDATASET, lambda: following(readers.scdataset_batches(screen, n_genes, BLOCK, 16)), POOL // BATCH)
    contest.add(RAY, lambda: following(readers.ray_batches(screen, n_genes)), POOL // BATCH)
    timed = contest.run()
    return {name: (timed.get(name), memory) for name, memory in contest.memory.items()}


def following(batches: Iterator[np.ndarray] | None) -> Callable[[], object] | None:
    return None if batches is None else lambda: next(batches)


def rows(results: list[dict[str, tuple[Timing | None, str]]]) -> list[list[str]]:
    """A row per contestant: speed, ratio to the reference and memory at each width."""
    lines = []
    for name in results[0]:
        line = [name]
        for result in results:
            timing, memory = result[name]
            reference = result[REFERENCE][0]
            if timing is None or reference is None:
                line += [memory, "", ""]
                continue
            line += [speed(timing), ratios(reference, timing).spread(digits=2 if timing.median < 1e-4 else 3), memory]
        lines.append(line)
    return lines


def goals(results: list[dict[str, tuple[Timing | None, str]]], widths: list[int]) -> str:
    """Whether the ratios of random cells reach what was asked."""
    said = []
    for name, goal in GOALS.items():
        for result, width in zip(results, widths, strict=True):
            timing, reference = result[name][0], result[REFERENCE][0]
            assert timing is not None and reference is not None
            ratio = ratios(reference, timing).median
            said.append(
                f"{name.strip('*')}, {width:,} genes: {ratio:.2f} (goal ≥ {goal}: {'met' if ratio >= goal else 'not met'})"
            )
    return "; ".join(said) + "."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    pa.set_cpu_count(1)
    began = time.perf_counter()
    screen = Screen(*large_screen())
    widths = [2048, 10_000]
    random = [random_cells(screen, width, options.rounds) for width in widths]
    waits = waiting(screen.store)
    pooled = [pooled_cells(screen, width, options.rounds) for width in widths]  # last: Ray's processes stay
    columns = [
        f"{width:,} genes: {what}" for width in widths for what in ("thousand cells/s", "÷ reference", "memory, MB")
    ]
    body = (
        f"Batches of {BATCH:,} cells of a simulated screen ({screen.store.n_cells:,} cells × {len(screen.store.genes):,} genes, "
        f"{screen.store.manifest.n_entries / 1e6:.0f} M counts) to dense float32, warm, one thread; `python -m benchmarks.reading`. "
        "Memory is the anonymous peak of making a reader and reading one batch; mapped pages do not count.\n\n"
        f"**Random cells.** {goals(random, widths)}\n\n{table(['reader', *columns], rows(random))}\n\n"
        f"**Blocks of {BLOCK} neighbours in pools of {POOL:,}.** Ray Data reads a third of the cells, in processes of its own.\n\n"
        f"{table(['reader', *columns], rows(pooled))}\n\n{waits}"
    )
    write_section("10-reading", "Reading cells", body, time.perf_counter() - began)


if __name__ == "__main__":
    main()
