"""scBIG on random numbers: the arithmetic of a step does not depend on their values."""

from __future__ import annotations

from collections.abc import Callable

import torch

from scbig_dist import losses
from scbig_dist.config import Config
from scbig_dist.models.protocol import AlignBatch, CellBatch, ConditionInput, FlowBatch
from scbig_dist.models.scbig import ModelInputs, ScBIG

PAPER_GENES = 2051  # 2,000 HVGs and the perturbed genes on top
N_TARGETS, N_PATHWAYS, PATHWAY_GENES = 100, 969, 40


def build(config: Config, n_genes: int = PAPER_GENES, n_targets: int = N_TARGETS) -> ScBIG:
    """The model of a config in training mode, genes in modules of equal size, random pathways of the paper's number."""
    generator = torch.Generator().manual_seed(0)
    pathways = torch.zeros(N_PATHWAYS, n_genes)
    members = torch.randint(n_genes, (N_PATHWAYS, PATHWAY_GENES), generator=generator)
    inputs = ModelInputs(
        module_of_gene=torch.arange(n_genes) * config.grc.n_modules // n_genes,
        gene_mean=torch.rand(n_genes, generator=generator),
        gene_embedding=torch.randn(n_genes, 64, generator=generator),
        components=torch.randn(config.gcae.latent_dim, n_genes, generator=generator),
        target_vectors=torch.randn(n_targets, 64, generator=generator),
        target_known=torch.ones(n_targets, dtype=torch.bool),
        pathways=pathways.scatter_(1, members, 1.0),
        n_contexts=1,
        with_dose=False,
    )
    torch.manual_seed(0)
    return ScBIG(inputs, config).train()


def cell_batch(n: int, n_genes: int = PAPER_GENES, parts: int = 1) -> list[CellBatch]:
    """`n` random cells in `parts` that add up to one update."""
    x = torch.rand(n, n_genes, generator=torch.Generator().manual_seed(1))
    return [CellBatch(part, float(n)) for part in x.chunk(parts)]


def flow_batch(config: Config, model: ScBIG, align: bool = False) -> FlowBatch:
    """A micro-batch of `flow.batch` random latents in `flow.conditions_per_step` groups, with alignment targets or without."""
    generator = torch.Generator().manual_seed(2)
    n, width, groups = config.flow.batch, config.gcae.latent_dim, config.flow.conditions_per_step
    targets = torch.randint(N_TARGETS, (groups, 2), generator=generator)
    aligned = None
    if align:
        true = torch.rand(512, len(model.autoencoder.gene_mean), generator=generator)
        few = true[: config.align.n_cells]
        assert model.pathways_mean is not None
        aligned = AlignBatch(
            x0=torch.randn(config.align.n_cells, width, generator=generator),
            condition=0,
            target_corr=losses.module_correlation(true, model.modules_mean),
            target_activation=losses.set_means(few, model.pathways_mean),
        )
    return FlowBatch(
        x0=torch.randn(n, width, generator=generator),
        x1=torch.randn(n, width, generator=generator),
        conditions=ConditionInput(targets, torch.zeros(groups, dtype=torch.long), torch.zeros(groups)),
        t=torch.rand(n, generator=generator),
        noise=torch.randn(n, width, generator=generator),
        uniforms=torch.rand(n, generator=generator),
        keep=torch.ones(groups),
        align=aligned,
    )


def stepper(model: ScBIG, stage: str, *batches: CellBatch | FlowBatch) -> Callable[[], None]:
    """One update: the gradients of the batches, then Adam, as the training loop does it."""
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    learning = [parameter for module in model.stage_modules(stage) for parameter in module.parameters()]
    optimizer = torch.optim.Adam(learning, lr=1e-5, fused=True)
    clip = model.config.flow.clip if stage == "flow" else None

    def step() -> None:
        for parameter in learning:
            parameter.requires_grad_(True)
        for batch in batches:
            model.loss(stage, batch).total.backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(learning, clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        for parameter in learning:
            parameter.requires_grad_(False)

    return step
