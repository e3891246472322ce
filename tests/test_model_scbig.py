"""The losses of scBIG: precision, the straight step of the alignment, groups of conditions."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from scbig_dist import losses
from scbig_dist.models.protocol import AlignBatch, CellBatch, ConditionInput, FlowBatch
from scbig_dist.models.scbig import ModelInputs, ScBIG
from scbig_dist.settings import build_config

SMALL = {
    "gcae.width": 16, "gcae.n_heads": 2, "gcae.n_blocks": 1, "gcae.n_inducing": 3, "gcae.latent_dim": 6, "gcae.dropout": 0.0,
    "flow.width": 32, "flow.condition_dim": 8, "flow.n_heads": 2, "flow.dropout": 0.0, "flow.batch": 24,
    "align.n_cells": 8, "align.n_solver_steps": 2,
}  # fmt: skip
N_GENES = 30


def model_of(**values: object) -> ScBIG:
    config = build_config(SMALL | {name.replace("__", "."): value for name, value in values.items()})
    generator = torch.Generator().manual_seed(0)
    inputs = ModelInputs(
        module_of_gene=torch.arange(N_GENES) % 5,
        gene_mean=torch.rand(N_GENES, generator=generator),
        gene_embedding=torch.randn(N_GENES, 4, generator=generator),
        components=None,
        target_vectors=torch.randn(7, 4, generator=generator),
        target_known=torch.ones(7, dtype=torch.bool),
        pathways=(torch.rand(3, N_GENES, generator=generator) < 0.4).float(),
        n_contexts=1,
        with_dose=False,
    )
    torch.manual_seed(0)
    return ScBIG(inputs, config)


def batch_of(model: ScBIG, n_groups: int = 2) -> FlowBatch:
    generator = torch.Generator().manual_seed(1)
    n = model.config.flow.batch
    true = torch.rand(40, N_GENES, generator=generator)
    align = AlignBatch(
        x0=torch.randn(8, 6, generator=generator),
        condition=0,
        target_corr=losses.module_correlation(true, model.modules_mean),
        target_activation=losses.set_means(true[:8], model.pathways_mean),
    )
    return FlowBatch(
        x0=torch.randn(n, 6, generator=generator),
        x1=torch.randn(n, 6, generator=generator) + 1,
        conditions=ConditionInput(
            torch.arange(2 * n_groups).view(n_groups, 2), torch.zeros(n_groups, dtype=torch.long), torch.zeros(n_groups)
        ),
        t=torch.rand(n, generator=generator),
        noise=torch.randn(n, 6, generator=generator),
        uniforms=torch.rand(n, generator=generator),
        keep=torch.ones(n_groups),
        align=align,
    )


def test_one_straight_step_from_the_end_is_the_end() -> None:
    """At t = 1 nothing is left to go: the losses see the decoded perturbed cells themselves."""
    model = model_of(align__estimate="one_step", flow__coupling="none")
    batch = batch_of(model)
    batch = replace(batch, t=torch.ones_like(batch.t))
    parts = model.loss("flow", batch).parts
    decoded = model.decode(batch.x1[:8])
    wanted = losses.correlation_loss(decoded, batch.align.target_corr, model.modules_mean)
    torch.testing.assert_close(parts["loss_corr"], wanted.detach())


def test_one_straight_step_from_the_start_is_an_euler_step() -> None:
    model = model_of(align__estimate="one_step", flow__coupling="none", flow__sigma=0.0)
    batch = batch_of(model)
    batch = replace(batch, t=torch.zeros_like(batch.t))
    given = model.condition(batch.conditions.targets, batch.conditions.context, batch.conditions.dose)[0]
    x0 = batch.x0[:8]
    decoded = model.decode(x0 + model.velocity(torch.zeros(()), x0, given))
    wanted = losses.correlation_loss(decoded, batch.align.target_corr, model.modules_mean)
    torch.testing.assert_close(model.loss("flow", batch).parts["loss_corr"], wanted.detach(), rtol=1e-4, atol=1e-5)


def test_a_dropped_condition_is_not_aligned_by_one_step() -> None:
    model = model_of(align__estimate="one_step")
    batch = batch_of(model)
    dropped = replace(batch, keep=torch.zeros_like(batch.keep))
    found = model.loss("flow", dropped)
    torch.testing.assert_close(found.total.detach(), found.parts["loss_flow"])


@pytest.mark.parametrize("estimate", ["solve", "one_step"])
@pytest.mark.parametrize("block", ["full", "lean"])
def test_bfloat16_is_near_float32(estimate: str, block: str) -> None:
    """Within 3 % of the loss and 5 % of the gradient's length, in both stages."""
    model = model_of(align__estimate=estimate, gcae__block=block)
    x = torch.rand(12, N_GENES, generator=torch.Generator().manual_seed(2))
    for stage, batch in (("autoencoder", CellBatch(x, 12.0)), ("flow", batch_of(model))):
        learning = [parameter for module in model.stage_modules(stage) for parameter in module.parameters()]
        full = model.loss(stage, batch).total
        wanted = torch.cat([g.flatten() for g in torch.autograd.grad(full, learning)])
        with torch.autocast("cpu", torch.bfloat16):
            reduced = model.loss(stage, batch).total
        found = torch.cat([g.flatten() for g in torch.autograd.grad(reduced, learning)])
        assert abs(reduced.item() / full.item() - 1) < 0.03
        assert (found - wanted).norm() < 0.05 * wanted.norm()


def test_a_weight_of_two_is_a_row_twice() -> None:
    model = model_of()
    x = torch.rand(5, N_GENES, generator=torch.Generator().manual_seed(2))
    twice = model.loss("autoencoder", CellBatch(torch.cat([x, x[3:]]), 5.0)).total
    weighted = model.loss("autoencoder", CellBatch(x, 5.0, torch.tensor([1.0, 1, 1, 2, 2]))).total
    torch.testing.assert_close(weighted, twice)


def test_the_flow_s_coordinates_are_undone_by_decoding() -> None:
    model = model_of()
    x = torch.rand(5, N_GENES, generator=torch.Generator().manual_seed(2))
    before = model.decode(model.encode(x))
    model.to_flow.copy_(torch.randn(6, 6, generator=torch.Generator().manual_seed(3)))
    model.from_flow.copy_(torch.linalg.inv(model.to_flow))
    model.latent_mean.fill_(0.7)
    torch.testing.assert_close(model.decode(model.encode(x)), before, rtol=1e-3, atol=1e-4)


def test_groups_equal_batches_of_their_own() -> None:
    """The loss of two conditions in a micro-batch is the mean of their losses apart."""
    model = model_of(align__lambda_corr=0.0, align__lambda_path=0.0)
    both = replace(batch_of(model), align=None)
    apart = []
    for group in range(2):
        rows = slice(12 * group, 12 * group + 12)
        apart.append(
            replace(
                both,
                **{name: getattr(both, name)[rows] for name in ("x0", "x1", "t", "noise", "uniforms")},
                conditions=both.conditions.rows(torch.tensor([group])),
                keep=both.keep[:1],
            )
        )
    losses_apart = [model.loss("flow", batch).total for batch in apart]
    torch.testing.assert_close(model.loss("flow", both).total, sum(losses_apart) / 2)
