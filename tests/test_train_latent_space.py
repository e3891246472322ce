"""The coordinates that the flow sees latents in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from scbig_dist.models.scbig import ScBIG
from scbig_dist.settings import build_config
from scbig_dist.train.context import LocalContext
from scbig_dist.train.experiment import open_experiment, settle
from scbig_dist.train.inputs import prepare
from scbig_dist.train.latent_space import fit_latent_space
from tests.training_cases import TINY, make_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("latent"))


def latents(store: Path, folder: Path, kind: str, stretch: float) -> tuple[ScBIG, torch.Tensor]:
    """A model whose latents are principal components, each stretched differently, and decoded back."""
    config = settle(build_config(TINY | {"store": str(store), "gcae.encoder": "pca", "flow.latent_scale": kind}))
    experiment = open_experiment(config)
    prepared = prepare(experiment, folder)
    model = ScBIG(prepared.inputs, config)
    components = model.autoencoder.components.clone()
    scales = stretch ** torch.arange(len(components), dtype=torch.float32)[:, None]
    model.autoencoder.encode = lambda x: (x - model.autoencoder.gene_mean) @ (components * scales).T + 3
    model.autoencoder.decode = lambda z: (z - 3) @ (components / scales) + model.autoencoder.gene_mean
    fit_latent_space(model, replace(experiment, config=config), LocalContext())
    x = torch.from_numpy(experiment.store.dense(experiment.train_cells()[::5], experiment.n_genes))
    return model, x


def test_distances_in_expression_coordinates_are_those_of_decoded_cells(store: Path, tmp_path: Path) -> None:
    model, x = latents(store, tmp_path, "expression", 3.0)
    z = model.encode(x)
    torch.testing.assert_close(torch.cdist(z, z), torch.cdist(model.decode(z), model.decode(z)), rtol=1e-3, atol=0.05)


def test_errors_along_what_decoding_does_not_show_stay_small(store: Path, tmp_path: Path) -> None:
    """A latent that varies and is not decoded, and one that hardly varies and is: neither is blown up on the way back."""
    config = settle(
        build_config(TINY | {"store": str(store), "gcae.encoder": "pca", "flow.latent_scale": "expression"})
    )
    experiment = open_experiment(config)
    model = ScBIG(prepare(experiment, tmp_path).inputs, config)
    components, mean = model.autoencoder.components.clone(), model.autoencoder.gene_mean
    into, back = torch.ones(len(components), 1), torch.ones(len(components), 1)
    into[-1], back[-1] = 1e-4, 1e4
    back[0] = 0.0
    model.autoencoder.encode = lambda x: (x - mean) @ (components * into).T
    model.autoencoder.decode = lambda z: z @ (components * back) + mean
    fit_latent_space(model, experiment, LocalContext())
    x = torch.from_numpy(experiment.store.dense(experiment.train_cells()[::5], experiment.n_genes))
    z = model.encode(x)
    error = 0.05 * z.std(dim=0).max() * torch.randn(z.shape, generator=torch.Generator().manual_seed(0))
    raw, moved = z @ model.from_flow, (z + error) @ model.from_flow
    assert ((moved - raw).std(dim=0) < 2 * raw.std(dim=0)).all()
    assert (model.decode(z + error) - model.decode(z)).norm() < 0.2 * (model.decode(z) - mean).norm()


def test_unit_latents_have_unit_variance(store: Path, tmp_path: Path) -> None:
    model, x = latents(store, tmp_path, "unit", 3.0)
    assert model.encode(x).var(dim=0).mean().item() == pytest.approx(1, rel=0.2)  # of a part of the training cells


def test_raw_latents_stay_as_they_are(store: Path, tmp_path: Path) -> None:
    model, x = latents(store, tmp_path, "raw", 3.0)
    torch.testing.assert_close(model.encode(x), model.autoencoder.encode(x))
