"""Streamed principal components against scikit-learn's exact ones."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from scbig_dist.errors import UserError
from scbig_dist.nn.pca import PCAAutoencoder, fit_pca


def screen(n_cells: int, n_genes: int, rank: int, seed: int = 0) -> np.ndarray:
    """Low-rank signal above noise and a large mean, as expression has it."""
    rng = np.random.default_rng(seed)
    signal = rng.normal(size=(n_cells, rank)) * np.linspace(5, 1, rank) @ rng.normal(size=(rank, n_genes))
    return (signal + rng.normal(size=(n_cells, n_genes)) + 10).astype(np.float32)


def stream(x: np.ndarray) -> Iterator[np.ndarray]:
    return (x[start : start + 97] for start in range(0, len(x), 97))


@pytest.mark.parametrize("shape, n_components", [((500, 80, 12), 10), ((400, 300, 15), 15), ((60, 200, 8), 20)])
def test_equals_sklearn(shape: tuple[int, int, int], n_components: int) -> None:
    x = screen(*shape)
    ours = fit_pca(lambda: stream(x), x.shape[1], n_components, np.random.default_rng(1))
    theirs = PCA(n_components, svd_solver="full").fit(x.astype(np.float64))
    np.testing.assert_allclose(ours.mean, x.mean(0), rtol=1e-5)
    np.testing.assert_allclose(ours.sd**2, theirs.explained_variance_, rtol=1e-3)
    cosine = np.abs((ours.components * theirs.components_).sum(1))
    np.testing.assert_allclose(cosine, 1, atol=1e-3)
    np.testing.assert_allclose(ours.components @ ours.components.T, np.eye(n_components), atol=1e-5)


def test_rows_beside_the_cells_add_to_their_covariance() -> None:
    x, rows = screen(300, 40, 8), np.random.default_rng(3).normal(size=(5, 40))
    ours = fit_pca(lambda: stream(x), 40, 6, np.random.default_rng(1), rows)
    values, vectors = np.linalg.eigh(np.cov(x.T.astype(np.float64)) + rows.T @ rows)
    np.testing.assert_allclose(ours.sd**2, values[::-1][:6], rtol=1e-3)
    cosine = np.abs((ours.components * vectors[:, ::-1][:, :6].T).sum(1))
    np.testing.assert_allclose(cosine, 1, atol=1e-3)


def test_signs_do_not_depend_on_the_start() -> None:
    x = screen(400, 60, 6)
    one, other = (fit_pca(lambda: stream(x), 60, 5, np.random.default_rng(seed)).components for seed in (1, 2))
    np.testing.assert_allclose(one, other, atol=1e-3)


def test_as_many_components_as_genes_lose_nothing() -> None:
    x = screen(200, 12, 3)
    model = PCAAutoencoder(fit_pca(lambda: stream(x), 12, 12, np.random.default_rng(0)))
    cells = torch.as_tensor(x[:10])
    torch.testing.assert_close(model(cells), cells, rtol=1e-4, atol=1e-3)
    assert list(model.parameters()) == []


def test_decode_of_encode_is_the_projection_of_sklearn() -> None:
    x = screen(300, 40, 6)
    model = PCAAutoencoder(fit_pca(lambda: stream(x), 40, 6, np.random.default_rng(0)))
    theirs = PCA(6, svd_solver="full").fit(x)
    expected = theirs.inverse_transform(theirs.transform(x))
    np.testing.assert_allclose(model(torch.as_tensor(x)).numpy(), expected, atol=2e-2)


def test_rejects_more_components_than_genes() -> None:
    with pytest.raises(UserError, match=r"gcae.latent_dim=13 is above the panel's 12 genes"):
        fit_pca(lambda: stream(screen(50, 12, 3)), 12, 13, np.random.default_rng(0))


def test_rejects_more_components_than_cells() -> None:
    with pytest.raises(UserError, match=r"gcae.latent_dim=9 needs more than the 9 training cells"):
        fit_pca(lambda: stream(screen(9, 12, 3)), 12, 9, np.random.default_rng(0))
