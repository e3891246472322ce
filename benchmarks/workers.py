"""What Ray costs: a step inside a worker beside the bare loop, two workers beside one, the time to a first step.

    python -m benchmarks.workers [--rounds 3]

Trainings of one thread each, taken in turn on a simulated screen. Two workers want two idle cores.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.common import HERE, Timing, ratios, table, write_section
from scbig_dist.cluster.session import ray_session
from scbig_dist.cluster.train import train_on_ray
from scbig_dist.cluster.tune import run_sweep
from scbig_dist.config import Config
from scbig_dist.screen.simulate import simulate_screen
from scbig_dist.screen.simulate_truth import Recipe
from scbig_dist.settings import load_config
from scbig_dist.store.build import build_store
from scbig_dist.train.context import LocalContext
from scbig_dist.train.experiment import settle
from scbig_dist.train.run import train_run

SMALL = HERE.parent / "configs" / "cpu_small.yaml"
BASE: dict[str, Any] = {
    "split.n_val": 4, "split.n_test": 4, "autoencoder.batch": 256, "autoencoder.epochs": 2, "autoencoder.check_every": 2,
    "flow.accumulate": 4, "flow.steps": 240, "flow.validate_every": 240, "train.checkpoint_every": 1000,
}  # fmt: skip
STAGES = {"autoencoder": "autoencoder_step_ms", "flow": "step_ms"}
TRIALS = {  # what a trial shares with those before it; each differs in its learning rate alone
    "first of its process": {"autoencoder.lr": 2.0e-3, "flow.lr": 1.0e-3},
    "shares components and modules": {"autoencoder.lr": 2.1e-3, "flow.lr": 1.0e-3},
    "the same again": {"autoencoder.lr": 2.2e-3, "flow.lr": 1.0e-3},
    "shares the autoencoder too": {"autoencoder.lr": 2.2e-3, "flow.lr": 1.1e-3},
}


def make_store(folder: Path) -> str:
    recipe = Recipe(n_cells=6000, n_genes=1000, n_perturbations=30, n_contexts=1, n_modules=16)
    simulate_screen(folder / "screen.h5ad", recipe, priors=folder / "priors", progress=False)
    build_store(folder / "screen.h5ad", folder / "store", load_config(None, {"qc.min_genes": 0}), progress=False)
    return str(folder / "store")


def steps(folder: Path, store: str, rounds: int) -> tuple[list[list[str]], list[str]]:
    """The same training in this process, on one Ray worker and on two, in turn."""
    values = BASE | {"store": store}
    one = settle(load_config(SMALL, values), values)
    two = settle(load_config(SMALL, values | {"train.workers": 2}), values)
    # What the machine allows: two processes that share nothing, each with the half of an update that a worker has.
    values = values | {
        "autoencoder.batch": BASE["autoencoder.batch"] // 2,
        "flow.accumulate": BASE["flow.accumulate"] // 2,
    }
    values |= {"flow.steps": BASE["flow.steps"] // 2, "flow.validate_every": BASE["flow.validate_every"] // 2}
    half = settle(load_config(SMALL, values), values)
    contestants: dict[str, tuple[Config, bool]] = {"bare": (one, False), "worker": (one, True), "two": (two, True)}
    taken = {stage: {name: Timing() for name in [*contestants, "apart"]} for stage in STAGES}
    spawn = multiprocessing.get_context("spawn")
    os.environ.update(
        RAY_worker_niceness="0"
    )  # else Ray's workers give way to whatever else runs, and the bare loop does not
    with ray_session(cpus=2), ProcessPoolExecutor(2, mp_context=spawn) as pool:
        for round_ in range(rounds):
            summaries = list(pool.map(bare, [half] * 2, [folder / f"apart-{round_}-{i}" for i in range(2)]))
            for stage, key in STAGES.items():
                taken[stage]["apart"].seconds.append(statistics.mean(each[key] for each in summaries) / 1e3)
            for name, (config, on_ray) in contestants.items():
                run = folder / f"{name}-{round_}"
                if on_ray:
                    train_on_ray(config, run, progress=False)
                    summary = json.loads((run / "run.json").read_text())
                else:
                    summary = bare(config, run)
                for stage, key in STAGES.items():
                    taken[stage][name].seconds.append(summary[key] / 1e3)
    rows, goals = [], []
    for stage, timing in taken.items():
        overhead, gain = ratios(timing["worker"], timing["bare"]), ratios(timing["worker"], timing["two"])
        ceiling = ratios(timing["bare"], timing["apart"])
        rows.append(
            [
                stage,
                *(each.spread(1e3, 1) for each in timing.values()),
                overhead.spread(digits=3),
                gain.spread(digits=2),
                ceiling.spread(digits=2),
            ]
        )
        goals.append(
            f"{stage}: worker ÷ bare {verdict(overhead.median <= 1.03)}, two workers {verdict(gain.median >= 1.8)}"
        )
    return rows, goals


def bare(config: Config, run: Path) -> dict[str, Any]:
    """A training without Ray; its summary."""
    train_run(config, run, LocalContext(), progress=False)
    return json.loads((run / "run.json").read_text())


def first_steps(folder: Path, store: str) -> tuple[list[list[str]], str]:
    """A study of one trial at a time: seconds from the searcher's answer to the end of the first update."""
    study, priors = folder / "first.py", folder / "priors"
    fixed = BASE | {
        "priors.ppi": str(next(priors.glob("ppi*"))), "priors.pathways": str(next(priors.glob("pathways*"))),
        "autoencoder.epochs": 1, "flow.steps": 40, "flow.validate_every": 40, "evaluate.n_cells": 16, "evaluate.n_val_cells": 8,
    }  # fmt: skip
    study.write_text(f"base = {str(SMALL)!r}\npoints = {TRIALS!r}\nfixed = {fixed!r}\n")
    with ray_session(cpus=1):  # one place, so that trials follow each other in it
        run_sweep(study, folder / "study", {"store": store})
    rows, warm = [], []
    for name, path in zip(TRIALS, sorted((folder / "study" / "trials").glob("*")), strict=True):
        row, run = (json.loads((path / file).read_text()) for file in ("trial.json", "run.json"))
        total, inside = row["seconds_to_first_step"], run["seconds_to_first_step"]
        rows.append([name, f"{total - inside:.2f}", f"{inside:.2f}", f"{total:.2f}"])
        if name != next(iter(TRIALS)):
            warm.append(total)
    return rows, f"A trial in a process that has trained one before: {verdict(max(warm) <= 2)} (goal ≤ 2 s)"


def import_seconds() -> float:
    """What a fresh process spends on importing all that a trial needs."""
    command = [sys.executable, "-c", "import scbig_dist.cluster.trial"]
    began = time.perf_counter()
    subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    return time.perf_counter() - began


def verdict(met: bool) -> str:
    return "met" if met else "not met"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="scbig-workers-") as name:
        folder = Path(name)
        store = make_store(folder)
        imports = import_seconds()
        rows, goals = steps(folder, store, arguments.rounds)
        trials, goal = first_steps(folder, store)
    idle = os.getloadavg()[0]
    body = (
        "`python -m benchmarks.workers`: the same training (configs/cpu_small.yaml with 256 cells per update in stage 1 and "
        "4 micro-batches of 256 in stage 2; 6,000 simulated cells × 1,000 genes) by `train_run` in this process, on one Ray "
        "Train worker and on two that share the update, one thread each, in turn. Milliseconds per update. *Two halves apart*: two processes at the same time that train "
        "half of an update each and never speak to each other, without Ray: what two cores with one memory allow. Ray's workers "
        "run at the priority of the bare loop (`RAY_worker_niceness=0`).\n\n"
        + table(
            [
                "stage",
                "bare",
                "one worker",
                "two workers",
                "two halves apart",
                "one worker ÷ bare (goal ≤ 1.03)",
                "one ÷ two (goal ≥ 1.8)",
                "the machine's own: bare ÷ halves apart",
            ],
            rows,
        )
        + "\n\n"
        + "; ".join(goals)
        + f". Two workers need two cores to themselves: the load was {idle:.1f} on {len(os.sched_getaffinity(0))} cores at the end.\n\n"
        "Seconds from the moment that the searcher names a one-worker trial to the end of its first update, trials one after "
        "the other. *Before*: Ray Tune places it, and for the first of a process Python starts and imports "
        f"({imports:.1f} s of a fresh process here). *Inside*: the store is opened, priors are read, what is not shared is made.\n\n"
        + table(["trial", "before the training, s", "inside, to the first update, s", "together, s"], trials)
        + f"\n\n{goal}. The first of a process is once per place of a study, not once per trial."
    )
    write_section("50-workers", "Ray's share", body, time.perf_counter() - began)


if __name__ == "__main__":
    main()
