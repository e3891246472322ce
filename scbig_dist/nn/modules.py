"""Genes laid out by module: every module padded to the widest, and back."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn


class ModuleLayout(nn.Module):
    """Where each gene sits in a (module, place) grid.

    Labels need not be contiguous: a module without genes gets no row, so `n_modules`
    counts the modules that have genes, in the order of their labels. Within a module
    genes keep their order.
    """

    index: Tensor
    """int64 (module, place): the gene at a place; 0 where padded."""
    mask: Tensor
    """bool (module, place): true where there is a gene."""
    sizes: Tensor
    """int64 (module,): genes per module, each at least 1."""
    inverse: Tensor
    """int64 (gene,): a gene's place in the flattened grid."""

    def __init__(self, module_of_gene: Int[Tensor, " gene"]) -> None:
        super().__init__()
        assert module_of_gene.numel() > 0, "no genes"
        _, row, sizes = torch.unique(module_of_gene.long(), return_inverse=True, return_counts=True)
        order = torch.argsort(row, stable=True)
        start = torch.cumsum(sizes, 0) - sizes
        place = torch.empty_like(row)
        place[order] = torch.arange(len(row), device=row.device) - start[row[order]]
        self.n_genes = len(row)
        self.n_modules = len(sizes)
        self.width = int(sizes.max())
        inverse = row * self.width + place
        index = torch.zeros(self.n_modules * self.width, dtype=torch.long, device=row.device)
        index[inverse] = torch.arange(self.n_genes, device=row.device)
        shape = (self.n_modules, self.width)
        # A gene's module is part of the model, yet rebuilt from `module_of_gene` by whoever loads it.
        self.register_buffer("index", index.view(shape), persistent=False)
        self.register_buffer("mask", torch.arange(self.width, device=row.device) < sizes[:, None], persistent=False)
        self.register_buffer("sizes", sizes, persistent=False)
        self.register_buffer("inverse", inverse, persistent=False)

    def pad(self, x: Float[Tensor, "cell gene"]) -> Float[Tensor, "cell module place"]:
        """Values by module, 0 where padded."""
        return x[:, self.index.flatten()].unflatten(1, self.index.shape) * self.mask

    def unpad(self, grid: Float[Tensor, "cell module place"]) -> Float[Tensor, "cell gene"]:
        """Values by gene; what is in padded places is dropped."""
        return grid.flatten(1)[:, self.inverse]

    def mean(self, vectors: Float[Tensor, "gene e"]) -> Float[Tensor, "module e"]:
        """The mean vector of each module's genes."""
        return (vectors[self.index] * self.mask[..., None]).sum(1) / self.sizes[:, None]

    def membership(self) -> Bool[Tensor, "module gene"]:
        """True where a gene belongs to a module."""
        grid = torch.zeros(self.n_modules, self.n_genes, dtype=torch.bool, device=self.mask.device)
        row = self.inverse // self.width
        grid[row, torch.arange(self.n_genes, device=self.mask.device)] = True
        return grid
