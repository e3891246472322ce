"""What both alignment losses add to a stage-2 step, in the ways that `align.*` offers.

    python -m benchmarks.alignment [--rounds 5]

The paper's sizes: 1,024 cells, 64 aligned ones, decoder of 3 blocks at 2,051 genes, 969 pathways, one
thread. What each way learns stands in the section on learning.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import torch

from benchmarks.common import Timing, in_turn, peak_memory, ratios, table, write_section
from benchmarks.random_model import build, flow_batch, stepper
from scbig_dist.settings import build_config

MOST = 1.5
WAYS = {
    "no alignment": {},
    "solve, 8 midpoint steps (the faithful form)": {"align.n_solver_steps": 8},
    "solve, 8 steps, every 4th step (`align.every=4`)": {"align.n_solver_steps": 8, "align.every": 4},
    "solve, 4 steps": {"align.n_solver_steps": 4},
    "solve, 2 steps": {"align.n_solver_steps": 2},
    "solve, 1 step": {"align.n_solver_steps": 1},
    "one_step": {"align.estimate": "one_step"},
    "one_step, 32 cells decoded": {"align.estimate": "one_step", "align.n_cells": 32},
    "one_step, lean decoder": {"align.estimate": "one_step", "gcae.block": "lean"},
}


def all_of(steps: list[Callable[[], None]]) -> None:
    for step in steps:
        step()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    began = time.perf_counter()
    torch.set_num_threads(1)
    steps, base = {}, "no alignment"
    for name, values in WAYS.items():
        config = build_config({"align.estimate": "solve", **values})
        model = build(config)
        model.autoencoder.eval()  # frozen: as the training loop leaves it
        batches = [flow_batch(config, model, align=name != base)]
        batches += [flow_batch(config, model)] * (config.align.every - 1)
        steps[name] = [stepper(model, "flow", batch) for batch in batches]
    timings = in_turn({name: partial(all_of, each) for name, each in steps.items()}, rounds)
    for name, each in steps.items():
        timings[name] = Timing([seconds / len(each) for seconds in timings[name].seconds])
    rows = []
    for name, each in steps.items():
        with peak_memory() as peak:
            each[0]()
        rows.append(
            [name, timings[name].spread(1e3), ratios(timings[name], timings[base]).spread(1, 2), f"{peak.over:.2f}"]
        )
    spread = "solve, 8 steps, every 4th step (`align.every=4`)"
    growth = ratios(timings[spread], timings[base])
    body = (
        "`python -m benchmarks.alignment`: both losses in every step unless said otherwise, one thread.\n\n"
        + table(["alignment", "ms", "× a step without", "GB above the model"], rows)
        + f"\n\nThe faithful form in every 4th step: **{growth.spread(1, 2)}×** a step without "
        f"(goal ≤ {MOST}×: {'met' if growth.median <= MOST else 'not met'}); with both λ four times as large the mean "
        "gradient is that of every step."
    )
    write_section("33-alignment", "The alignment losses", body, time.perf_counter() - began)


if __name__ == "__main__":
    main()
