"""What a sweep saves where its trials share their beginnings, and what sharing costs.

    python -m benchmarks.sharing [--quick]

Sixteen trials of the two alignment weights as a Ray sweep with one place, beside the same trainings one by one in
this process without Ray, four of them drawn by a seed, half before the sweep and half after. Then short trainings
in this process over K, M, HVGs and seeds, with one place of artefacts for all and with one for each.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import HERE, table, write_section
from scbig_dist.evaluate import evaluate_run
from scbig_dist.screen.simulate import simulate_screen
from scbig_dist.screen.simulate_truth import Recipe
from scbig_dist.settings import load_config
from scbig_dist.store.build import build_store
from scbig_dist.train.context import LocalContext
from scbig_dist.train.experiment import settle
from scbig_dist.train.run import train_run

SMALL = HERE.parent / "configs" / "cpu_small.yaml"
N_CELLS, N_GENES = 6000, 400
SIZE: dict[str, Any] = {"split.n_val": 4, "split.n_test": 4}  # all else is the preset's
QUICK = {"autoencoder.epochs": 1, "flow.steps": 60, "flow.validate_every": 30, "evaluate.n_cells": 32}
AXES = {"align.lambda_corr": [0.01, 0.1, 1.0, 10.0], "align.lambda_path": [0.01, 0.1, 1.0, 10.0]}
POINTS = [dict(zip(AXES, values, strict=True)) for values in itertools.product(*AXES.values())]  # as a grid goes
N_APART, SEED = 4, 0
SHORT = {"autoencoder.epochs": 2, "flow.steps": 250, "flow.validate_every": 250, "gcae.width": 32, "flow.width": 64}
OTHERS: dict[str, list[dict[str, Any]]] = {
    "λ": [{"align.lambda_corr": value} for value in (0.1, 1.0, 10.0)],
    "M (inducing points)": [{"gcae.n_inducing": value} for value in (2, 4, 8)],
    "K (gene modules)": [{"grc.n_modules": value} for value in (8, 16, 32)],
    "seeds": [{"train.seed": value} for value in range(3)],
    "HVGs": [{"panel.n_hvg": value} for value in (200, 300, 400)],
}
GOAL = 1.1
SAMPLE_S = 0.25


@dataclass(frozen=True)
class Cost:
    """Seconds on the clock and seconds of a CPU, child processes included."""

    wall: float
    cpu: float

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.wall + other.wall, self.cpu + other.cpu)

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.wall - other.wall, self.cpu - other.cpu)

    def times(self, n: float) -> Cost:
        return Cost(n * self.wall, n * self.cpu)


NOTHING = Cost(0.0, 0.0)


def mean(costs: Sequence[Cost]) -> Cost:
    return sum(costs, NOTHING).times(1 / len(costs))


def cost_of(work: Callable[[], object]) -> Cost:
    """Of work in this process, and of children that it has waited for."""
    wall, cpu = time.perf_counter(), sum(os.times()[:4])
    work()
    return Cost(time.perf_counter() - wall, sum(os.times()[:4]) - cpu)


def cost_of_program(command: Sequence[str]) -> Cost:
    """Of a program and of every process beneath it, Ray's own included; each is looked at every SAMPLE_S."""
    seen: dict[int, float] = {}
    began = time.perf_counter()
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            seen |= seconds_beneath(process.pid)
            time.sleep(SAMPLE_S)
        wall = time.perf_counter() - began
        said = process.stderr.read() if process.stderr else ""
        if process.returncode:
            raise RuntimeError(f"{' '.join(command)}: exit code {process.returncode}\n{said}")
    return Cost(wall, sum(seen.values()))


def seconds_beneath(root: int) -> dict[int, float]:
    """{process: CPU seconds} of a process and all that descend from it."""
    parents, seconds = dict[int, int](), dict[int, float]()
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = file.read_text().rpartition(")")[2].split()  # a name may hold anything
        except OSError:  # ended between the listing and the look
            continue
        process = int(file.parent.name)
        parents[process] = int(fields[1])
        seconds[process] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    found = {root}
    while more := {each for each, parent in parents.items() if parent in found} - found:
        found |= more
    return {each: seconds[each] for each in found if each in seconds}


class Bench:
    """A simulated screen with its priors, and trainings on it."""

    def __init__(self, folder: Path, quick: bool) -> None:
        self.folder, self.n = folder, 0
        recipe = Recipe(n_cells=N_CELLS, n_genes=N_GENES, n_perturbations=20, n_contexts=1, n_modules=12)
        simulate_screen(folder / "screen.h5ad", recipe, priors=folder / "priors", progress=False)
        self.building = cost_of(self._build)
        self.base = SIZE | {
            "priors.ppi": str(next((folder / "priors").glob("ppi*"))),
            "priors.pathways": str(next((folder / "priors").glob("pathways*"))),
        }  # fmt: skip
        self.base |= QUICK if quick else {}

    def _build(self) -> None:
        config = load_config(None, {"qc.min_genes": 0, "panel.n_hvg": N_GENES})
        build_store(self.folder / "screen.h5ad", self.folder / "store", config, progress=False)

    def run(self, values: Mapping[str, Any], root: Path | None = None) -> tuple[Path, Cost, dict[str, float | None]]:
        """One training and its scores on validation, as a trial has them; `root`: where it finds and leaves artefacts."""
        self.n += 1
        run, scores = self.folder / f"run-{self.n}", dict[str, float | None]()

        def work() -> None:
            asked = self.base | dict(values) | {"store": str(self.folder / "store")}
            config = settle(load_config(SMALL, asked), asked)
            train_run(config, run, LocalContext(), artifact_root=root, progress=False)
            (found,) = evaluate_run(run, part="val", progress=False, references=False).values()
            scores.update({f"val_{name}": value for name, value in found.items()})

        return run, cost_of(work), scores

    def sweep(self) -> tuple[Cost, list[dict[str, Any]]]:
        """All points by `scbig sweep`, one at a time; rows of its trials. What it costs has all in it: Ray, its
        processes, the search, scores on validation, the best trial's scores on test."""
        study, out = self.folder / "weights.py", self.folder / "study"
        fixed = self.base
        study.write_text(f"base = {str(SMALL)!r}\naxes = {AXES!r}\nfixed = {fixed!r}\nat_once = 1\n")
        command = [sys.executable, "-m", "scbig_dist", "sweep", str(study), "-s", str(self.folder / "store")]
        cost = cost_of_program([*command, "-o", str(out)])
        rows = [json.loads(file.read_text()) for file in sorted(out.glob("trials/*/trial.json"))]
        assert [{name: row[name] for name in AXES} for row in rows] == POINTS
        return cost, rows


@dataclass(frozen=True)
class Apart:
    """A point trained by itself: from the start, and its second stage alone on what the first has left."""

    point: int
    whole: Cost
    stage2: Cost
    scores: dict[str, float | None]


def apart(bench: Bench, point: int) -> Apart:
    run, whole, scores = bench.run(POINTS[point])
    _, stage2, again = bench.run(POINTS[point], run / "artifacts")
    assert again == scores, f"{POINTS[point]}: a found autoencoder gives other scores: {again} beside {scores}"
    return Apart(point, whole, stage2, scores)


def weights(bench: Bench) -> tuple[str, str]:
    """The table of the sixteen trials, and what came of the goals."""
    chosen = sorted(np.random.default_rng(SEED).choice(len(POINTS), N_APART, replace=False).tolist())
    runs = [apart(bench, point) for point in chosen[: N_APART // 2]]
    swept, rows = bench.sweep()
    runs += [apart(bench, point) for point in chosen[N_APART // 2 :]]
    n = len(POINTS)
    whole, stage2 = mean([each.whole for each in runs]), mean([each.stage2 for each in runs])
    stage1 = whole - stage2
    ideal, separate = stage1 + stage2.times(n), whole.times(n)
    unlike = [
        f"trial {each.point}, {name}: {rows[each.point][name]!r} beside {value!r}"
        for each in runs
        for name, value in each.scores.items()
        if rows[each.point][name] != value
    ]
    lines = [
        ("stage 1, by itself", stage1), ("stage 2 with scores, by itself", stage2),
        (f"one stage 1 + {n} stage 2", ideal), (f"{n} separate runs ({N_APART} were run)", separate), ("the sweep", swept),
    ]  # fmt: skip
    cells = [[name, f"{cost.wall:.1f}", f"{cost.cpu:.1f}"] for name, cost in lines]
    over = Cost(swept.wall / ideal.wall, swept.cpu / ideal.cpu)
    cells.append(
        [f"**sweep ÷ (one stage 1 + {n} stage 2)**, goal ≤ {GOAL}", f"**{over.wall:.2f}**", f"**{over.cpu:.2f}**"]
    )
    saved = Cost(separate.wall / swept.wall, separate.cpu / swept.cpu)
    cells.append([f"factor saved: {n} separate runs ÷ the sweep", f"{saved.wall:.2f}", f"{saved.cpu:.2f}"])
    at_most, quiet = separate.cpu / ideal.cpu, os.getloadavg()[2] <= len(os.sched_getaffinity(0))
    said = [
        f"Goal ≤ {GOAL}: {verdict(over.cpu <= GOAL)} in CPU seconds, "
        + (f"{verdict(over.wall <= GOAL)} on the clock" if quiet else "not judged on the clock: the machine was not quiet"),
        f"with stages of these lengths no sweep of {n} could save more than a factor of {at_most:.2f}",
        f"above the ideal are {swept.cpu - ideal.cpu:.0f} CPU seconds, once per sweep: Ray's processes, the imports of two Pythons, the search, the best trial's scores on test",
        f"{sum(len(each.scores) for each in runs)} scores on validation of the {N_APART} points trained apart and in the sweep: "
        + ("equal to the last digit" if not unlike else f"NOT equal: {'; '.join(unlike)}"),
    ]  # fmt: skip
    return table(["", "wall, s", "CPU, s"], cells), "; ".join(said) + "."


def others(bench: Bench) -> str:
    """Factor saved by axis, in this process: what a trial of it finds made."""
    rows = []
    bench.base = bench.base | (SHORT if "flow.steps" not in bench.base else {})
    for name, points in OTHERS.items():
        alone, shared, reused = NOTHING, NOTHING, set[str]()
        for number, values in enumerate(points):
            alone += bench.run(values)[1]
            run, cost, _ = bench.run(values, bench.folder / f"root-{name}")
            shared += cost
            if number:
                summary = json.loads((run / "run.json").read_text())
                reused |= {each["kind"] for each in summary["artifacts"] if each["reused"]}
        with_store = alone + bench.building.times(len(points)), shared + bench.building
        rows.append(
            [
                name, ", ".join(f"{next(iter(each.values())):g}" for each in points), ", ".join(sorted(reused)) or "the store alone",
                f"{alone.cpu:.1f}", f"{shared.cpu:.1f}", f"{alone.cpu / shared.cpu:.2f}", f"{with_store[0].cpu / with_store[1].cpu:.2f}",
            ]
        )  # fmt: skip
    headings = [
        "axis",
        "trials",
        "found made",
        "each for itself, CPU s",
        "shared, CPU s",
        "factor",
        "factor, the store counted",
    ]
    return table(headings, rows)


def verdict(met: bool) -> str:
    return "met" if met else "not met"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few steps each: whether it runs, no figures to keep")
    quick = parser.parse_args().quick
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="scbig-sharing-") as name:
        bench = Bench(Path(name), quick)
        bench.run(QUICK | {"train.seed": 1})  # compiled code and the store's p-values are there for all that follow
        load = os.getloadavg()[0]
        cells, said = weights(bench)
        factors = others(bench)
    preset = load_config(SMALL)
    body = (
        f"`python -m benchmarks.sharing`: sixteen trials over the two alignment weights by `scbig sweep`, one at a time, beside "
        f"the same trainings in the benchmark's own process, one after the other and without Ray. Stages as long as in "
        f"configs/cpu_small.yaml ({preset.autoencoder.epochs} epochs, {preset.flow.steps:,} micro-steps) on "
        f"{N_CELLS:,} simulated cells × {N_GENES} genes, one thread. {N_APART} of the sixteen were trained apart, drawn "
        f"by seed {SEED}: from their start, and again from their finished autoencoder, whose cost is that of stage 2. CPU seconds are "
        f"those of every process, Ray's included; the load was {load:.1f} on {len(os.sched_getaffinity(0))} cores when it began.\n\n"
        + cells
        + f"\n\n{said}\n\nWhat other axes save, three trainings each ({SHORT['autoencoder.epochs']} epochs, {SHORT['flow.steps']} micro-steps), in one process "
        f"without Ray. The store, built once ({bench.building.cpu:.1f} CPU s), is shared by all of them; in the last column those that share nothing build their own.\n\n"
        + factors
        + "\n\nA factor near 1 says that an axis leaves nothing to share: components and modules cost little beside stage 1, and a "
        "seed or a panel changes all behind the store."
    )  # fmt: skip
    if quick:
        print(body)
    else:
        write_section("86-sharing", "What trials share", body, time.perf_counter() - began)


if __name__ == "__main__":
    main()
