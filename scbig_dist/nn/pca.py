"""Principal components of streamed cells, and the autoencoder that they make."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from scbig_dist.errors import UserError

MAX_PASSES = 12  # over the data, behind the one that takes the mean
RESIDUAL = 1e-3  # of a component's variance: ‖C v − λ v‖ ≤ RESIDUAL·λ ends the passes
OVERSAMPLE = 10

Batches = Callable[[], Iterable[np.ndarray]]


@dataclass(frozen=True)
class PrincipalComponents:
    """mean (gene,), components (component, gene) with orthonormal rows, sd (component,); float32."""

    mean: np.ndarray
    components: np.ndarray
    sd: np.ndarray


def fit_pca(
    batches: Batches,
    n_genes: int,
    n_components: int,
    rng: np.random.Generator,
    beside: Float[np.ndarray, "row gene"] | None = None,
) -> PrincipalComponents:
    """The leading principal components of the cells that `batches()` streams, (cell, gene) at a time.

    `beside` adds its rows' outer products to the covariance of the cells: directions that must not be lost
    although few cells take them.

    Randomised block Krylov iteration (Musco & Musco 2015): each pass applies the
    covariance to a block; the answer is the best in the span of all blocks. `batches`
    is called once per pass and must yield the same cells. Each component's largest
    loading is positive.
    """
    if n_components > n_genes:
        raise UserError(f"gcae.latent_dim={n_components} is above the panel's {n_genes} genes; lower it")
    n_cells, mean = _mean(batches, n_genes)
    block, _ = np.linalg.qr(rng.standard_normal((n_genes, min(n_components + OVERSAMPLE, n_genes))))
    basis = np.empty((n_genes, 0))
    images = np.empty((n_genes, 0))
    for _ in range(MAX_PASSES):
        image = _apply_covariance(batches, mean, block, n_cells)
        if beside is not None:
            image += beside.T @ (beside @ block)
        basis, images = np.hstack([basis, block]), np.hstack([images, image])
        small = basis.T @ images
        values, vectors = np.linalg.eigh((small + small.T) / 2)
        values, vectors = values[::-1][:n_components], vectors[:, ::-1][:, :n_components]
        residual = np.linalg.norm(images @ vectors - basis @ vectors * values, axis=0)
        block = _new_directions(image, basis)
        if block.shape[1] == 0 or (residual <= RESIDUAL * values).all():
            break
    if len(values) < n_components or n_cells <= n_components:
        raise UserError(f"gcae.latent_dim={n_components} needs more than the {n_cells} training cells; lower it")
    components = (basis @ vectors).T
    largest = np.abs(components).argmax(1)
    components *= np.sign(components[np.arange(n_components), largest])[:, None]
    sd = np.sqrt(np.maximum(values, 0))
    return PrincipalComponents(mean.astype(np.float32), components.astype(np.float32), sd.astype(np.float32))


def _mean(batches: Batches, n_genes: int) -> tuple[int, np.ndarray]:
    n_cells, total = 0, np.zeros(n_genes)
    for batch in batches():
        n_cells += len(batch)
        total += batch.sum(0, dtype=np.float64)
    assert n_cells > 0, "no cells"
    return n_cells, total / n_cells


def _apply_covariance(batches: Batches, mean: np.ndarray, block: np.ndarray, n_cells: int) -> np.ndarray:
    image = np.zeros_like(block)
    block32, mean32 = block.astype(np.float32), mean.astype(np.float32)
    for batch in batches():
        centred = batch.astype(np.float32) - mean32
        image += centred.T @ (centred @ block32)
    return image / max(n_cells - 1, 1)


def _new_directions(image: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Orthonormal columns that span what `image` adds to `basis`; those at rounding level are dropped."""
    scale = np.linalg.norm(image)
    rest = image - basis @ (basis.T @ image)
    left, values, _ = np.linalg.svd(rest, full_matrices=False)
    left = left[:, values > 1e-6 * scale]
    left = left - basis @ (basis.T @ left)  # once more: the first subtraction loses digits
    return np.linalg.qr(left)[0]


class PCAAutoencoder(nn.Module):
    """Encoder and decoder by principal components: no parameters, same interface as `Autoencoder`."""

    gene_mean: Tensor
    components: Tensor
    sd: Tensor

    def __init__(self, pca: PrincipalComponents) -> None:
        super().__init__()
        self.latent_dim = len(pca.components)
        self.register_buffer("gene_mean", torch.as_tensor(pca.mean))
        self.register_buffer("components", torch.as_tensor(pca.components))
        self.register_buffer("sd", torch.as_tensor(pca.sd))

    def encode(self, x: Float[Tensor, "cell gene"]) -> Float[Tensor, "cell latent"]:
        return (x - self.gene_mean) @ self.components.T

    def decode(self, z: Float[Tensor, "cell latent"]) -> Float[Tensor, "cell gene"]:
        return z @ self.components + self.gene_mean

    def forward(self, x: Float[Tensor, "cell gene"]) -> Float[Tensor, "cell gene"]:
        return self.decode(self.encode(x))
