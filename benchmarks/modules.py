"""How a stage-1 step grows with the number of gene modules: the paper's block, the lean one, one module per gene.

    python -m benchmarks.modules [--rounds 3] [--batch 64]

2,051 genes, the paper's width, 3 + 3 blocks, M 8, one thread. Time is set beside the floating-point
operations that the step counts itself (products of matrices, forward and backward).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.common import in_turn, peak_memory, product, ratios, table, write_section
from benchmarks.random_model import PAPER_GENES, build, cell_batch, stepper
from scbig_dist.settings import build_config, with_values
from scbig_dist.train.autoencoder_stage import n_parts

FEW, MANY = 32, 512
N_MODULES = (1, 16, FEW, 128, MANY)
ALL_BATCH = 16  # cells of the step with a module per gene


def flop(step: Callable[[], None]) -> float:
    with FlopCounterMode(display=False) as counter:
        step()
    return float(counter.get_total_flops())


def grown(block: str, batch: int, rounds: int) -> tuple[list[list[str]], dict[int, float], dict[int, float]]:
    """Rows of the table, and products and operations of a step by number of modules."""
    steps = {}
    for n in N_MODULES:
        model = build(build_config({"grc.n_modules": n, "gcae.block": block}))
        parts = n_parts(with_values(model.config, {"autoencoder.batch": batch}), 1, torch.device("cpu"))
        steps[str(n)] = stepper(model, "autoencoder", *cell_batch(batch, parts=parts))
    timings = in_turn({"product": product(), **steps}, rounds)
    rows, cost, work = [], {}, {}
    for n, (name, step) in zip(N_MODULES, steps.items(), strict=True):
        with peak_memory() as peak:
            step()
        relative = ratios(timings[name], timings["product"])
        cost[n], work[n] = relative.median, flop(step)
        rows.append(
            [block, n, timings[name].spread(1e3), relative.spread(1, 1), f"{work[n] / 1e9:.0f}", f"{peak.over:.2f}"]
        )
    return rows, cost, work


def every_gene() -> str:
    """A module per gene: one step without and with recomputed activations."""
    lines = []
    for recompute in (False, True):
        values = {"grc.n_modules": PAPER_GENES, "train.checkpoint_activations": recompute}
        step = stepper(build(build_config(values)), "autoencoder", *cell_batch(ALL_BATCH))
        with peak_memory() as peak:
            began = time.perf_counter()
            step()
            seconds = time.perf_counter() - began
        how = "activations recomputed (`train.checkpoint_activations`)" if recompute else "activations kept"
        lines.append(
            f"- a module per gene (K = {PAPER_GENES:,}), batch {ALL_BATCH}, {how}: {seconds:.1f} s, {peak.over:.2f} GB"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=64)
    options = parser.parse_args()
    began = time.perf_counter()
    torch.set_num_threads(1)
    rows, verdicts = [], []
    for block in ("full", "lean"):
        found, cost, work = grown(block, options.batch, options.rounds)
        rows += found
        time_growth, work_growth = cost[MANY] / cost[FEW], work[MANY] / work[FEW]
        if block == "full":
            held = time_growth <= work_growth
            verdicts.append(
                f"- full block, K {FEW} → {MANY}: time grows **{time_growth:.1f}×**, operations {work_growth:.1f}× "
                f"(goal: no faster than its operations: {'met' if held else 'not met'}; the paper's table 8 has 6.6× on a GPU)"
            )
        else:
            verdicts.append(
                f"- lean block, K {FEW} → {MANY}: time grows **{time_growth:.1f}×**, operations {work_growth:.1f}× "
                f"(goal ≤ 5×: {'met' if time_growth <= 5 else 'not met'})"
            )
    header = ["`gcae.block`", "K", "ms", "products", "GFLOP", "GB above the model"]
    body = (
        f"`python -m benchmarks.modules`: stage 1 at batch {options.batch} in parts of about 4,096 tokens (`autoencoder.accumulate=null`), one thread.\n\n{table(header, rows)}\n\n"
        + "\n".join(verdicts)
        + f"\n{every_gene()}\n\nMemory follows K·M and the K tokens, never G²; quality of the lean block: see the section on learning."
    )
    write_section("31-modules", "Gene modules and the cost of a step", body, time.perf_counter() - began)


if __name__ == "__main__":
    main()
