"""What an update of each stage costs on one thread, and where its time goes.

    python -m benchmarks.step [--rounds 7]

The paper's model (2,051 genes, K 32, M 8, width 256, 3 + 3 blocks; velocity field of width 1,024),
stage 1 with 256 cells, stage 2 with 1,024, beside a matrix product and beside the same model in its
plain form: every projection on every token, torch's dropout, batched products by einsum.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from benchmarks.common import HERE, PRODUCT_FLOP, gflops, in_turn, peak_memory, product, ratios, table, write_section
from benchmarks.random_model import build, cell_batch, flow_batch, stepper
from scbig_dist.models.scbig import ScBIG
from scbig_dist.nn import products
from scbig_dist.nn.blocks import InducedBlock
from scbig_dist.nn.dropout import Dropout
from scbig_dist.settings import build_config, load_config
from scbig_dist.train.autoencoder_stage import n_parts

# Measured elsewhere, one thread, matmul peak between these two (GFLOP/s): the released JAX code's stage 1
# with 256 cells, CellFlow's stage 2 with 1,024 (s).
ELSEWHERE = {"stage 1": 5.150, "stage 2": 0.727}
THEIR_PEAK = (85e9, 92e9)
TARGET = {"stage 1": (1.7, 2.0), "stage 2": (1.4, 1.5)}
SMALL = HERE.parent / "configs" / "cpu_small.yaml"
CONDITIONS = (1, 2, 4, 8, 16)
KINDS = {
    "matrix products": ("mm", "bmm", "addmm", "linear", "addmv", "baddbmm"),
    "attention kernels": ("scaled_dot_product", "_softmax"),
    "activations": ("gelu", "silu"),
    "normalisation": ("native_layer_norm",),
    "dropout masks": ("random_", "bernoulli", "ge"),
    "copies": ("copy_", "cat", "clone", "contiguous", "index", "repeat"),
    "Adam, clipping": ("_fused_adam", "linalg_vector_norm", "_foreach"),
    "sums and products by element": ("add", "mul", "sub", "div", "sum", "mean", "pow", "square"),
}


def plain(model: ScBIG) -> ScBIG:
    """The same function, computed as its formulas stand."""
    for module in model.modules():
        if isinstance(module, InducedBlock):
            module.absorb = False
        for name, child in module.named_children():
            if isinstance(child, Dropout):
                setattr(module, name, nn.Dropout(child.p))
    return model


def plainly(step: Callable[[], None]) -> Callable[[], None]:
    """The step with batched products in place of ours."""

    def run() -> None:
        kept, products.MOST_GROUPS = products.MOST_GROUPS, 0
        try:
            step()
        finally:
            products.MOST_GROUPS = kept

    return run


def shares(step: Callable[[], None]) -> dict[str, float]:
    """Share of a step's time by kind of operation."""
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        step()
    seconds = dict.fromkeys([*KINDS, "rest"], 0.0)
    for event in profiler.key_averages():
        name = event.key.removeprefix("aten::")
        kind = next((kind for kind, names in KINDS.items() if any(name.startswith(n) for n in names)), "rest")
        if event.key.startswith("aten::"):
            seconds[kind] += event.self_cpu_time_total
    total = sum(seconds.values())
    return {kind: value / total for kind, value in seconds.items()}


def by_conditions(rounds: int) -> str:
    """What a micro-batch of the same cells costs by the number of conditions in it."""
    steps = {}
    for n in CONDITIONS:
        config = load_config(SMALL, {"flow.conditions_per_step": n})
        model = build(config)
        steps[str(n)] = stepper(model, "flow", flow_batch(config, model))
    timings = in_turn(steps, rounds, warm=5)
    against = {name: ratios(timing, timings["1"]) for name, timing in timings.items()}
    rows = [[name, timing.spread(1e3, 1), against[name].spread(1, 2)] for name, timing in timings.items()]
    worst = max(timing.median for timing in against.values())
    return (
        "\n\n**Conditions per step** (`flow.conditions_per_step`, the same 256 cells in all, configs/cpu_small.yaml, without "
        "alignment): no more per cell (within 3%): "
        f"{'met' if worst <= 1.03 else 'not met'}, {worst:.2f}.\n\n"
        + table(["conditions", "ms", "÷ one condition"], rows)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    began = time.perf_counter()
    torch.set_num_threads(1)
    config = build_config({"autoencoder.batch": 256, "flow.batch": 1024})
    ours, theirs = build(config), plain(build(config))
    steps = {
        "stage 1": stepper(ours, "autoencoder", *cell_batch(256, parts=n_parts(config, 1, torch.device("cpu")))),
        "stage 1, all cells at once (`autoencoder.accumulate=1`)": stepper(ours, "autoencoder", *cell_batch(256)),
        "stage 1, plain form": plainly(stepper(theirs, "autoencoder", *cell_batch(256))),
        "stage 2": stepper(ours, "flow", flow_batch(config, ours)),
        "stage 2, plain form": plainly(stepper(theirs, "flow", flow_batch(config, theirs))),
    }
    timings = in_turn({"product": product(), **steps}, rounds)
    rows = []
    for name, step in steps.items():
        with peak_memory() as peak:
            step()
        relative = ratios(timings[name], timings["product"])
        rows.append([name, timings[name].spread(1e3), relative.spread(1, 1), f"{peak.over:.2f}"])
    body = (
        f"`python -m benchmarks.step`: an update with Adam, one thread, float32; a product ran at "
        f"{gflops(timings['product']):.0f} GFLOP/s in these rounds. Memory is anonymous, at the peak of the step, without the models.\n\n"
        + table(["update", "ms", "products", "GB above the models"], rows)
        + "\n\n"
    )
    for stage, seconds in ELSEWHERE.items():
        mine = ratios(timings[stage], timings["product"]).median
        low, high = (seconds * peak / PRODUCT_FLOP / mine for peak in THEIR_PEAK)
        whose = "the released JAX code's" if stage == "stage 1" else "CellFlow's"
        target, goal = TARGET[stage]
        verdict = "goal met" if low >= goal else "target met" if low >= target else "not met"
        live = ratios(timings[f"{stage}, plain form"], timings[stage])
        body += (
            f"- {stage}: {whose} {1e3 * seconds:,.0f} ms, measured elsewhere at a peak of 85 to 92 GFLOP/s, are "
            f"{seconds * THEIR_PEAK[0] / PRODUCT_FLOP:.1f} to {seconds * THEIR_PEAK[1] / PRODUCT_FLOP:.1f} products: "
            f"**{low:.2f} to {high:.2f} times ours** (target {target}, goal {goal}: {verdict}). "
            f"Our own plain form costs {live.spread(1, 2)} times ours.\n"
        )
    parts = {stage: shares(steps[stage]) for stage in ELSEWHERE}
    kinds = [[kind, *(f"{parts[stage][kind]:.1%}" for stage in ELSEWHERE)] for kind in [*KINDS, "rest"]]
    body += "\nWhere the time goes:\n\n" + table(["operations", *ELSEWHERE], kinds)
    body += by_conditions(6 * rounds)
    write_section("30-step", "A training step", body, time.perf_counter() - began)


if __name__ == "__main__":
    main()
