"""What a micro-batch costs on one GPU: by the launch or as a graph, by arithmetic, by modules and genes.

    python -m benchmarks.gpu

The gradients of a micro-batch of random numbers and Adam, called as the training loop calls them. Needs a GPU; about
two minutes on one of 2024. The paper's figures are shown as published, on its hardware.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import time
from collections.abc import Callable
from typing import Any

import torch
import yaml
from torch import nn

from benchmarks.common import HERE, table, write_section
from benchmarks.random_model import PAPER_GENES, build, cell_batch, flow_batch
from scbig_dist.config import Config
from scbig_dist.models.scbig import ScBIG
from scbig_dist.settings import build_config
from scbig_dist.train.context import LocalContext
from scbig_dist.train.gradients import gradients_of

GPU = torch.device("cuda", 0)
PAPER: dict[str, Any] = {"priors.pathways": "random ones", "train.gpus": 1.0}
FORMS: dict[str, dict[str, Any]] = {
    "float32, launched one by one": {"train.graphs": False},
    "**float32, graphs (the default)**": {},
    "bfloat16, launched one by one": {"train.precision": "bfloat16", "train.graphs": False},
    "**bfloat16, graphs**": {"train.precision": "bfloat16"},
}
MICRO_BATCHES = 500_000  # of the paper's stage 2
SECONDS, LEAST, WARM = 1.5, 5, 3
Make = Callable[[Config, ScBIG], Any]
KINDS: dict[str, tuple[str, Make]] = {
    "stage 1": ("autoencoder", lambda c, m: cell_batch(c.autoencoder.batch, len(m.autoencoder.gene_mean))[0]),
    "stage 2": ("flow", flow_batch),
    "stage 2 with both losses": ("flow", lambda c, m: flow_batch(c, m, align=True)),
}


def on_gpu(value: Any) -> Any:
    """A batch with its tensors on the GPU."""
    if isinstance(value, torch.Tensor):
        return value.to(GPU)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return type(value)(**{field.name: on_gpu(getattr(value, field.name)) for field in dataclasses.fields(value)})
    return value


def cost(kind: str, values: dict[str, Any], genes: int = PAPER_GENES) -> tuple[float, float]:
    """Milliseconds of a micro-batch with Adam, and the peak of its tensors in GB."""
    gc.collect()
    torch.cuda.empty_cache()  # what the one before has left
    (stage, make), config = KINDS[kind], build_config(PAPER | values)
    model = build(config, genes)
    batch, model = on_gpu(make(config, model)), model.to(GPU)
    modules = model.stage_modules(stage)
    learning = [parameter for module in modules for parameter in module.parameters()]
    model.requires_grad_(False).eval()
    for module in modules:
        module.requires_grad_(True).train()
    optimizer = torch.optim.AdamW(learning, lr=1e-5, weight_decay=0.0, fused=True)
    gradients = gradients_of(model, stage, learning, 1, config, LocalContext(1.0))

    def step(number: int) -> None:
        gradients([batch], number)
        if stage == "flow":
            nn.utils.clip_grad_norm_(learning, config.flow.clip)
        optimizer.step()
        gradients.clear()

    torch.cuda.reset_peak_memory_stats()
    for number in range(WARM):
        step(number)
    torch.cuda.synchronize()
    began, n = time.perf_counter(), 0
    while n < LEAST or time.perf_counter() - began < SECONDS:
        step(n)
        n += 1
    torch.cuda.synchronize()
    ms, gb = 1e3 * (time.perf_counter() - began) / n, torch.cuda.max_memory_allocated() / 1e9
    gradients.close()
    print(f"{kind}, {values}, {genes} genes: {ms:.2f} ms, {gb:.2f} GB", flush=True)
    return ms, gb


def by_form() -> str:
    rows, first = [], None
    for name, values in FORMS.items():
        found = [cost(kind, values) for kind in KINDS]
        first = first or found
        cells = [f"{ms:.2f} ({before / ms:.1f}×)" for (ms, _), (before, _) in zip(found, first, strict=True)]
        rows.append([name, *cells, f"{MICRO_BATCHES * found[-1][0] / 3.6e6:.1f}", *(f"{gb:.2f}" for _, gb in found)])
    header = ["arithmetic and launch", *(f"{kind}: ms" for kind in KINDS)]
    return table([*header, f"{MICRO_BATCHES:,} of the last: hours", *(f"{kind}: GB" for kind in KINDS)], rows)


def by_modules(published: dict[str, Any]) -> str:
    theirs = published["step_time_n_modules"]["rows"]
    ours = {
        (name, form): cost("stage 1", {"grc.n_modules": k, "autoencoder.batch": batch, "train.precision": form})
        for name, (k, batch, _) in theirs.items()
        for form in ("float32", "bfloat16")
    }
    rows = []
    for name, (k, batch, their_ms) in theirs.items():
        (ms, gb), (ms16, gb16) = ours[name, "float32"], ours[name, "bfloat16"]
        growth, their_growth = ms / ours["K 32", "float32"][0], their_ms / theirs["K 32"][2]
        rows.append([f"{k:,}", batch, f"{ms:.1f}", f"{gb:.2f}", f"{ms16:.1f}", f"{gb16:.2f}", f"{growth:.2f}", their_ms, f"{their_growth:.2f}"])  # fmt: skip
    return table(
        ["modules", "cells", "float32: ms", "GB", "bfloat16: ms", "GB", "÷ 32 modules (float32)", "published: ms", "published ÷ 32 modules"],
        rows,
    )  # fmt: skip


def by_genes(published: dict[str, Any]) -> str:
    names, rows = published["scaling_hvg"]["columns"], []
    for name, values in published["scaling_hvg"]["rows"].items():
        row = dict(zip(names, values, strict=True))
        sizes = {
            "grc.n_modules": row["n_modules"], "gcae.n_inducing": row["n_inducing"], "gcae.latent_dim": row["latent_dim"],
            "autoencoder.batch": row["stage1_batch"], "flow.batch": row["stage2_batch"],
        }  # fmt: skip
        (first, gb), (second, gb2) = (
            cost(kind, sizes, row["n_genes"]) for kind in ("stage 1", "stage 2 with both losses")
        )
        rows.append([name, f"{row['n_genes']:,}", f"{first:.1f}", f"{gb:.2f}", f"{second:.1f}", f"{gb2:.2f}", row["stage2_ms"], row["stage1_gb"], row["stage2_gb"]])  # fmt: skip
    return table(
        ["row of table 9", "genes", "stage 1: ms", "GB", "stage 2 with both losses: ms", "GB", "published: stage 2, ms", "published: stage 1, GB", "published: stage 2, GB"],
        rows,
    )  # fmt: skip


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("no GPU is visible to this process: this benchmark has nothing to measure")
    began = time.perf_counter()
    published = yaml.safe_load((HERE.parent / "tune" / "published.yaml").read_text())
    form, modules, genes = by_form(), by_modules(published), by_genes(published)
    body = (
        f"`python -m benchmarks.gpu` on one {torch.cuda.get_device_name()} (torch {torch.__version__}): the gradients of a "
        f"micro-batch of random numbers and Adam, called as the training loop calls them; the paper's model ({PAPER_GENES:,} "
        "genes, K 32, M 8, width 256; stage 1 with 256 cells, stage 2 with 1,024). Memory is the peak of tensors. In brackets: "
        f"times as fast as the first row.\n\n{form}\n\n"
        "**Modules** (the paper's table 8, stage 1; published on one RTX 3090 with JAX: other hardware, so compare the "
        f"growth):\n\n{modules}\n\n**Genes** (the paper's table 9, float32; published on an RTX 4090 or 3090, its step times "
        f"mixed):\n\n{genes}"
    )
    write_section("35-gpu", "On a GPU", body, time.perf_counter() - began)


if __name__ == "__main__":
    main()
