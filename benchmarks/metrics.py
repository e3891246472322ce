"""Scoring: every metric of 400 conditions × 5,000 genes × 200 cells, on two threads.

    python -m benchmarks.metrics [--conditions N]

Counts are Poisson with gamma gene means, a tenth of the genes shifted per condition; predicted
cells have seven tenths of the shift. Differential expression is timed apart: it is kept between
evaluations. Times are of single calls, in this process.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from rich.progress import track

from benchmarks.common import table, write_section
from scbig_dist.conditions import Condition
from scbig_dist.evaluate.ground import Ground, side_by_side
from scbig_dist.evaluate.truth import Truth, from_cells, score
from scbig_dist.metrics import profiles
from scbig_dist.metrics.de import index_control, rank_sum_p, significant_genes
from scbig_dist.metrics.distribution import e_dist, wasserstein, wasserstein_exact
from scbig_dist.metrics.statistics import estimates
from scbig_dist.nn.pca import fit_pca

N_GENES, N_CELLS, N_CONTROL, N_COMPONENTS = 5_000, 200, 2_000, 50
THREADS = 2
GOAL_S = 60


class World:
    """Cells on demand: the same ones at every question, none kept."""

    def __init__(self, n_conditions: int) -> None:
        rng = np.random.default_rng(0)
        self.base = np.log(rng.gamma(0.4, 1.0, N_GENES) + 1e-3)
        self.shifts = rng.normal(0, 0.5, (n_conditions, N_GENES)) * (rng.random((n_conditions, N_GENES)) < 0.1)
        self.names = [Condition("all", f"c{row:03d}") for row in range(n_conditions)]

    def cells(self, row: int | None, n: int, strength: float = 1.0) -> np.ndarray:
        rng = np.random.default_rng([0 if row is None else row + 1, int(10 * strength)])
        shift = 0.0 if row is None else strength * self.shifts[row]
        return np.log1p(rng.poisson(np.exp(self.base + shift), (n, N_GENES))).astype(np.float32)


class Clock:
    """Seconds inside its blocks."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._began


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    clock = Clock()
    with clock:
        result = work()
    return clock.seconds, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--conditions", type=int, default=400)
    n = parser.parse_args().conditions
    began = time.perf_counter()
    world = World(n)
    control = world.cells(None, N_CONTROL)
    pca = fit_pca(lambda: [control], N_GENES, N_COMPONENTS, np.random.default_rng(0))
    # A store is asked for nothing here: cells are made on the way.
    ground = Ground(None, N_GENES, N_CELLS, 0, pca, N_CONTROL, {}, THREADS)  # type: ignore[arg-type]
    warm_up(ground, control)

    indexed_control, means, clouds, p = index_control(control), np.empty((n, N_GENES)), [], np.empty((n, N_GENES))
    de = Clock()
    for row in track(range(n), "true cells", transient=True):
        cells = world.cells(row, N_CELLS)
        means[row] = cells.mean(0, dtype=np.float64)
        clouds.append(ground.project(cells))
        with de:
            p[row] = rank_sum_p(cells, indexed_control)
    controls = np.broadcast_to(control.mean(0, dtype=np.float64), means.shape)
    s_top, top = timed(lambda: profiles.top_genes(means, controls))
    s_adjust, significant = timed(lambda: significant_genes(p))
    own = tuple(np.array([row % N_GENES]) for row in range(n))
    truth = Truth(tuple(world.names), means, controls, top, significant, own, tuple(clouds))

    making = Clock()

    def predicted() -> Iterator[np.ndarray]:
        for row in track(range(n), "predicted cells", transient=True):
            with making:
                cells = world.cells(row, N_CELLS, 0.7)
            yield cells

    s_cells, prediction = timed(lambda: from_cells(ground, predicted()))
    s_cells -= making.seconds
    s_score, scores = timed(lambda: score(prediction, truth, THREADS))
    s_intervals, _ = timed(lambda: estimates(scores, np.random.default_rng(0)))
    total = s_cells + s_top + s_score + s_intervals

    pairs = list(zip(prediction.clouds, clouds, strict=True))
    given = prediction.means
    rows: list[list[str]] = [
        ["mean profiles and 50 components of the predicted cells", f"{s_cells:.1f}"],
        ["top genes", f"{s_top:.1f}"],
    ]
    for name, work in {
        "pearson_delta, acc (all genes, top 20), l2, mse, mae, discr_cos": lambda: (
            profiles.pearson_delta(given, means, controls),
            profiles.pearson_delta_de(given, means, controls, top),
            profiles.acc(given, means, controls),
            profiles.acc_de(given, means, controls, top),
            profiles.l2(given, means),
            profiles.mse(given, means),
            profiles.mae(given, means),
            profiles.discr_cos(given, means, controls),
        ),
        "des": lambda: profiles.des(given, means, controls, significant),
        "pds": lambda: profiles.pds(given, means, own),
        "e_dist": lambda: side_by_side(THREADS, lambda pair: e_dist(*pair), pairs),
        "wasserstein (entropic)": lambda: side_by_side(THREADS, lambda pair: wasserstein(*pair), pairs),
        "wasserstein_exact (POT)": lambda: side_by_side(THREADS, lambda pair: wasserstein_exact(*pair), pairs),
    }.items():
        rows.append([name, f"{timed(work)[0]:.1f}"])
    rows += [
        ["bootstrap intervals of all metrics (10,000 resamples)", f"{s_intervals:.1f}"],
        ["**a method, all of it in one go**", f"**{total:.1f}**"],
        ["not in it: differential expression (numba-mwu) against 2,000 control cells, one thread, once per store", f"{de.seconds + s_adjust:.1f}"],
    ]  # fmt: skip
    body = (
        f"`python -m benchmarks.metrics`: {n} conditions × {N_GENES:,} genes × {N_CELLS} predicted and as many true cells, "
        f"{THREADS} threads for distances between clouds, one for the rest; median {int(np.median(significant.sum(axis=1)))} "
        "significant genes per condition. Single calls.\n\n"
        + table(["what", "s"], rows)
        + (f"\n\nGoal ≤ {GOAL_S} s: {'met' if total <= GOAL_S else 'not met'} ({total:.1f} s)." if n == 400 else "")
    )
    write_section("70-metrics", "Scoring", body, time.perf_counter() - began)


def warm_up(ground: Ground, control: np.ndarray) -> None:
    """Everything that is compiled, once."""
    few = control[:20]
    truth = Truth(
        (Condition("all", "a"), Condition("all", "b")), *([np.stack([few.mean(0, dtype=np.float64)] * 2)] * 2),
        np.zeros((2, 5), dtype=np.int64), np.ones((2, N_GENES), dtype=bool), (np.zeros(0, dtype=np.int64),) * 2,
        (ground.project(few),) * 2,
    )  # fmt: skip
    score(from_cells(ground, [few, few + 1]), truth)
    rank_sum_p(few, index_control(few))


if __name__ == "__main__":
    main()
