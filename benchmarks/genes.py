"""Ten thousand genes on a laptop: time and memory of both stages beside the paper's panel.

    python -m benchmarks.genes [--rounds 3]

Stage 1 with 256 cells, stage 2 with 1,024 and both alignment losses, K 32, M 8, ℓ 50, one thread.
Memory is the whole process's anonymous memory at the peak of a step (pages of a mapped store do not count).
"""

from __future__ import annotations

import argparse
import time

import torch

from benchmarks.common import in_turn, peak_memory, product, ratios, table, write_section
from benchmarks.random_model import PAPER_GENES, build, cell_batch, flow_batch, stepper
from scbig_dist.config import Config
from scbig_dist.models.scbig import ScBIG
from scbig_dist.settings import build_config

MANY = 10_000
MOST_GB, MOST_GROWTH = 4.0, 2.5
STAGES = ("stage 1, batch 256", "stage 2, batch 1,024, aligned")


def step_of(stage: str, model: ScBIG, config: Config, n_genes: int):
    if stage == STAGES[0]:
        return stepper(model, "autoencoder", *cell_batch(256, n_genes, parts=2))
    return stepper(model, "flow", flow_batch(config, model, align=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    began = time.perf_counter()
    torch.set_num_threads(1)
    config = build_config({})
    memory = {}
    for n_genes in (PAPER_GENES, MANY):
        for stage in STAGES:
            model = build(config, n_genes)
            step = step_of(stage, model, config, n_genes)
            with peak_memory() as peak:
                step()
                step()  # the second meets Adam's moments
            memory[stage, n_genes] = peak.gb
            del model, step
    models = {n_genes: build(config, n_genes) for n_genes in (PAPER_GENES, MANY)}
    steps = {(stage, n): step_of(stage, model, config, n) for stage in STAGES for n, model in models.items()}
    names = {f"{stage} {n}": step for (stage, n), step in steps.items()}
    timings = in_turn({"product": product(), **names}, rounds)
    rows, verdicts = [], []
    for stage in STAGES:
        for n in models:
            timing = timings[f"{stage} {n}"]
            relative = ratios(timing, timings["product"])
            rows.append([stage, f"{n:,}", timing.spread(1e3), relative.spread(1, 1), f"{memory[stage, n]:.2f}"])
        growth = ratios(timings[f"{stage} {MANY}"], timings[f"{stage} {PAPER_GENES}"])
        most = memory[stage, MANY]
        verdicts.append(
            f"- {stage}: from {PAPER_GENES:,} to {MANY:,} genes **{growth.spread(1, 2)}×** "
            f"(goal ≤ {MOST_GROWTH}×: {'met' if growth.median <= MOST_GROWTH else 'not met'}); **{most:.2f} GB** at {MANY:,} genes "
            f"(goal ≤ {MOST_GB:g}: {'met' if most <= MOST_GB else 'not met'})"
        )
    header = ["stage", "genes", "ms", "products", "GB, whole process"]
    body = f"`python -m benchmarks.genes`, one thread.\n\n{table(header, rows)}\n\n" + "\n".join(verdicts)
    write_section("32-genes", "Ten thousand genes", body, time.perf_counter() - began)


if __name__ == "__main__":
    main()
