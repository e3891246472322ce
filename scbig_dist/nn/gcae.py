"""The gene-clustered autoencoder: a token per gene module, attention among tokens, one latent per cell."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from scbig_dist.config import GCAEConfig
from scbig_dist.nn.blocks import build_blocks
from scbig_dist.nn.dropout import Dropout
from scbig_dist.nn.modules import ModuleLayout
from scbig_dist.nn.pooling import build_pooling
from scbig_dist.nn.projection import GenesToTokens, TokensToGenes
from scbig_dist.nn.skip import LinearSkip


class ModuleStream(nn.Module):
    """What tells tokens apart: LayerNorm(linear(mean gene embedding of the module)), or a learned vector."""

    means: Tensor

    def __init__(self, layout: ModuleLayout, gene_embedding: Float[Tensor, "gene e"] | None, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.linear: nn.Linear | None = None
        if gene_embedding is None:
            self.learned = nn.Parameter(torch.empty(layout.n_modules, width).normal_(0, 0.02))
        else:
            self.register_buffer("means", layout.mean(gene_embedding.float()))
            self.linear = nn.Linear(gene_embedding.shape[1], width, bias=False)

    def forward(self) -> Float[Tensor, "module d"]:
        return self.norm(self.learned if self.linear is None else self.linear(self.means))


class Autoencoder(nn.Module):
    """Log-normalised expression (cell, gene) → latent (cell, ℓ) → expression.

    The training mean per gene is subtracted on the way in and added on the way out.
    Modules without genes have no token. `recompute`: activations of the blocks are computed
    again in a backward pass (`train.checkpoint_activations`).
    """

    gene_mean: Tensor

    def __init__(
        self,
        module_of_gene: Int[Tensor, " gene"],
        gene_embedding: Float[Tensor, "gene e"] | None,
        gene_mean: Float[Tensor, " gene"],
        config: GCAEConfig,
        recompute: bool = False,
        components: Float[Tensor, "component gene"] | None = None,
    ) -> None:
        super().__init__()
        assert config.encoder in ("gcae", "plain"), config.encoder
        width, shared = config.width, config.projection == "shared"
        layout = ModuleLayout(module_of_gene)
        self.latent_dim = config.latent_dim
        self.register_buffer("gene_mean", gene_mean.clone().float())
        self.dropout = Dropout(config.dropout)
        self.project = GenesToTokens(layout, width, shared)
        self.encoder_stream = ModuleStream(layout, gene_embedding, width)
        self.encoder = build_blocks(config, recompute)
        self.pooling = build_pooling(config.pooling, width, config.n_heads, config.dropout)
        self.n_read = layout.n_modules if config.pooling == "flat" else 1  # vectors between tokens and latent
        self.to_latent = nn.Linear(self.n_read * width, config.latent_dim)
        self.from_latent = nn.Linear(config.latent_dim, self.n_read * width)
        self.decoder_stream = ModuleStream(layout, gene_embedding, width)
        self.decoder = build_blocks(config, recompute)
        self.unproject = TokensToGenes(layout, width, shared)
        self.skip: LinearSkip | None = None
        if config.skip != "none":
            assert components is not None
            self.skip = LinearSkip(components, config.skip == "learned")
            for last in (self.to_latent.weight, self.to_latent.bias, self.unproject.weight):
                nn.init.zeros_(last)

    def tokens(self, x: Float[Tensor, "cell gene"]) -> Float[Tensor, "cell module d"]:
        """The encoder's module tokens, after its blocks."""
        return self.encoder(self._enter(x))

    def attention(self, x: Float[Tensor, "cell gene"]) -> Float[Tensor, "cell module module"]:
        """What each module (row, of those with genes) takes from each in the encoder, averaged over heads and blocks."""
        return self.encoder.weights(self._enter(x))

    def _enter(self, x: Float[Tensor, "cell gene"]) -> Float[Tensor, "cell module d"]:
        return self.dropout(self.project(x - self.gene_mean) + self.encoder_stream())

    def encode(self, x: Float[Tensor, "cell gene"]) -> Float[Tensor, "cell latent"]:
        z = self.to_latent(self.pooling(self.tokens(x)))
        return z if self.skip is None else z + self.skip.encode(x - self.gene_mean)

    def decode(self, z: Float[Tensor, "cell latent"]) -> Float[Tensor, "cell gene"]:
        tokens = self.from_latent(z).unflatten(1, (self.n_read, -1)) + self.decoder_stream()
        x = self.unproject(self.decoder(self.dropout(tokens))) + self.gene_mean
        return x if self.skip is None else x + self.skip.decode(z)

    def forward(self, x: Float[Tensor, "cell gene"]) -> Float[Tensor, "cell gene"]:
        return self.decode(self.encode(x))
