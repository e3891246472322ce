"""An autoencoder without modules: layers over all genes, the question that the GCAE must answer."""

from __future__ import annotations

import itertools

from jaxtyping import Float
from torch import Tensor, nn

from scbig_dist.config import GCAEConfig
from scbig_dist.nn.dropout import Dropout
from scbig_dist.nn.skip import LinearSkip


class MLPAutoencoder(nn.Module):
    """Same interface as `Autoencoder`; hidden layers of `gcae.width`, `gcae.n_blocks` + 1 on each side."""

    gene_mean: Tensor

    def __init__(
        self,
        gene_mean: Float[Tensor, " gene"],
        config: GCAEConfig,
        components: Float[Tensor, "component gene"] | None = None,
    ) -> None:
        super().__init__()
        n_genes, width, self.latent_dim = len(gene_mean), config.width, config.latent_dim
        self.register_buffer("gene_mean", gene_mean.clone().float())
        widths = [width] * (config.n_blocks + 1)
        self.encoder = _layers([n_genes, *widths, self.latent_dim], config.dropout)
        self.decoder = _layers([self.latent_dim, *widths, n_genes], config.dropout)
        self.skip: LinearSkip | None = None
        if config.skip != "none":
            assert components is not None
            self.skip = LinearSkip(components, config.skip == "learned")
            for layers in (self.encoder, self.decoder):
                for last in layers[-1].parameters():
                    nn.init.zeros_(last)

    def encode(self, x: Float[Tensor, "cell gene"]) -> Float[Tensor, "cell latent"]:
        centred = x - self.gene_mean
        z: Tensor = self.encoder(centred)
        return z if self.skip is None else z + self.skip.encode(centred)

    def decode(self, z: Float[Tensor, "cell latent"]) -> Float[Tensor, "cell gene"]:
        x: Tensor = self.decoder(z) + self.gene_mean
        return x if self.skip is None else x + self.skip.decode(z)

    def forward(self, x: Float[Tensor, "cell gene"]) -> Float[Tensor, "cell gene"]:
        return self.decode(self.encode(x))


def _layers(widths: list[int], dropout: float) -> nn.Sequential:
    """Linear maps with GELU and dropout between them."""
    layers: list[nn.Module] = []
    for n_in, n_out in itertools.pairwise(widths):
        layers += [nn.Linear(n_in, n_out), nn.GELU(), Dropout(dropout)]
    return nn.Sequential(*layers[:-2])
