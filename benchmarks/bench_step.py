"""What an update of each stage costs on one thread, beside the matrix product of the same run.

    python benchmarks/bench_step.py [--batch 64] [--flow-batch 256] [--rounds 7]

The paper's model (2,051 genes, K 32, M 8, width 256, 3 + 3 blocks; velocity field of width
1,024) on random cells: the arithmetic does not depend on their values. Prints milliseconds
(median of rounds, lowest and highest) and how many 2048³ matrix products, timed in turn with
the steps, one step costs; then the peak memory of the process.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable

import numpy as np
import torch

from scbig_dist.config import Config
from scbig_dist.models.protocol import CellBatch, ConditionInput, FlowBatch
from scbig_dist.models.scbig import ModelInputs, ScBIG
from scbig_dist.settings import build_config

N_GENES, N_TARGETS = 2051, 100


def build(config: Config, generator: torch.Generator) -> ScBIG:
    inputs = ModelInputs(
        module_of_gene=torch.arange(N_GENES) * config.grc.n_modules // N_GENES,
        gene_mean=torch.rand(N_GENES, generator=generator),
        gene_embedding=torch.randn(N_GENES, 64, generator=generator),
        components=None,
        target_vectors=torch.randn(N_TARGETS, 64, generator=generator),
        target_known=torch.ones(N_TARGETS, dtype=torch.bool),
        pathways=None,
        n_contexts=1,
        with_dose=False,
    )
    return ScBIG(inputs, config).train()


def flow_batch(config: Config, generator: torch.Generator) -> FlowBatch:
    n, width = config.flow.batch, config.gcae.latent_dim
    return FlowBatch(
        x0=torch.randn(n, width, generator=generator),
        x1=torch.randn(n, width, generator=generator),
        conditions=ConditionInput(torch.tensor([[3, 7]]), torch.zeros(1, dtype=torch.long), torch.zeros(1)),
        t=torch.rand(n, generator=generator),
        noise=torch.randn(n, width, generator=generator),
        uniforms=torch.rand(n, generator=generator),
        keep=torch.ones(1),
        align=None,
    )


def stepper(model: ScBIG, stage: str, batch: CellBatch | FlowBatch, lr: float) -> Callable[[], None]:
    learning = [parameter for module in model.stage_modules(stage) for parameter in module.parameters()]
    optimizer = torch.optim.Adam(learning, lr=lr, fused=True)

    def step() -> None:
        model.loss(stage, batch).total.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64, help="cells of a stage-1 update")
    parser.add_argument("--flow-batch", type=int, default=256, help="cells of a stage-2 micro-batch")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    config = build_config({"flow.batch": arguments.flow_batch})
    model = build(config, generator)
    cells = CellBatch(torch.rand(arguments.batch, N_GENES, generator=generator), float(arguments.batch))
    square = torch.randn(2048, 2048, generator=generator)
    timed: dict[str, Callable[[], object]] = {
        "2048³ matrix product": lambda: square @ square,
        f"stage 1, batch {arguments.batch}": stepper(model, "autoencoder", cells, config.autoencoder.lr),
        f"stage 2, batch {arguments.flow_batch}": stepper(model, "flow", flow_batch(config, generator), config.flow.lr),
    }
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    for round_ in range(arguments.rounds + 1):
        for name, run in timed.items():
            began = time.perf_counter()
            run()
            if round_ > 0:  # the first touches fresh memory
                seconds[name].append(time.perf_counter() - began)
    product = float(np.median(seconds["2048³ matrix product"]))
    print(f"matrix product: {2 * 2048**3 / product / 1e9:.0f} GFLOP/s, {model.config.gcae.width} wide, one thread")
    for name, values in seconds.items():
        low, middle, high = min(values), float(np.median(values)), max(values)
        print(f"{name:<24} {1e3 * middle:8.0f} ms ({1e3 * low:.0f}–{1e3 * high:.0f})  {middle / product:6.1f} products")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"peak memory {peak:.2f} GB")


if __name__ == "__main__":
    main()
