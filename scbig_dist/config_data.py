"""Settings of what is trained on: the file and its store, QC, the panel, the split, the priors."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class SourceConfig(Section):
    """How cells are read from their file: settled when the store is built."""

    path: str | None = None
    """The .h5ad file with raw counts."""
    condition: str = "condition"
    """Column of `obs` that says what was done to the cell."""
    control: str = "control"
    """Label of unperturbed cells in that column."""
    separator: str = Field(default="+", min_length=1)
    """What joins the targets of one label (`KLF1+MAP2K6`)."""
    context: str | None = None
    """Column of `obs` with the cell line or type; null: one context."""
    counts_layer: str | None = None
    """Layer that holds raw counts; null: `X`. `raw` reads AnnData's `.raw`."""
    gene_names: str | None = None
    """Column of `var` with the gene names that condition labels use; null: the index, or a symbol column where only that holds the targets."""
    total_counts: str | None = None
    """Column of `obs` with the cell's library size, where the file is already cut to a panel; null: sum over the file's genes."""
    target_sum: float = Field(default=1e4, gt=0)
    """Library size that every cell is normalised to before log1p."""
    batch: str | None = None
    """Column of `obs` with the batch, kept beside the cells."""
    dose: str | None = None
    """Column of `obs` with a numeric dose; a condition is then a perturbation at a dose."""


class DataConfig(SourceConfig):
    """The same, and how a store's cells reach a training."""

    placement: Literal["copy", "shard"] = "copy"
    """A remote store on a node: `copy` takes all of it, `shard` only the shards that the node's workers read."""
    cache: str | None = None
    """Folder of a node for copies of remote stores; null: `~/.cache/scbig`."""
    shuffle: Literal["full", "pools"] = "full"
    """Order of an epoch: a permutation of all cells, or, for a store larger than memory, blocks drawn into pools that are read ahead."""
    block_cells: int = Field(default=64, ge=1)
    """`pools`: neighbouring cells that are read together."""
    pool_cells: int = Field(default=16_384, ge=1)
    """`pools`: cells that are shuffled together."""


class QCConfig(Section):
    min_genes: int = Field(default=1000, ge=0)
    """Cells with fewer detected genes are dropped."""
    min_cells: int = Field(default=50, ge=0)
    """Genes detected in fewer kept cells are dropped."""
    min_cells_per_condition: int = Field(default=10, ge=1)
    """Conditions with fewer kept cells are dropped, counted and reported."""


class PanelConfig(Section):
    n_hvg: int | None = Field(default=2000, ge=1)
    """Highly variable genes in the panel; perturbed genes come on top. Null: all genes."""
    hvg_flavor: Literal["seurat_v3", "seurat"] = "seurat_v3"
    """scanpy's ranking: `seurat_v3` on counts, `seurat` on log-normalised data."""


class SplitConfig(Section):
    kind: Literal["additive", "holdout", "simulation", "transfer", "random"] = "additive"
    """How conditions are divided into training, validation and test."""
    seed: int = Field(default=0, ge=0)
    """Seed of the division."""
    n_test: int = Field(default=32, ge=1)
    """Test conditions (`holdout`: genes never seen in training)."""
    n_val: int = Field(default=32, ge=0)
    """Validation conditions (`holdout`: genes)."""
    train_context: str | None = None
    """`transfer`: the context that is trained on."""
    test_context: str | None = None
    """`transfer`: the context that is tested on."""
    train_fraction: float = Field(default=0.75, gt=0, lt=1)
    """`simulation`: share of genes seen in training."""
    file: str | None = None
    """A split written by hand or by another run (JSON); the other fields are then ignored."""


class PriorsConfig(Section):
    ppi: str | None = None
    """Protein interactions: a table of two symbol columns and a score (.tsv, .txt, .gz)."""
    ppi_threshold: float = Field(default=700.0, ge=0)
    """Interactions with a lower combined score are left out."""
    pathways: str | None = None
    """Gene sets in GMT form (.gmt, .gmt.gz)."""
    min_genes: int = Field(default=5, ge=1)
    """Pathways with fewer panel genes are left out."""
    gene_embedding: str | None = "pca"
    """Vectors of genes for clustering and tokens: a file (.npz, .csv, .tsv, .pt, .h5ad), or a stand-in: `pca` (loadings of training cells), `spectral` (of the PPI graph), `pathways` (of membership in priors.pathways), `random`. Null: none."""
    target_embedding: str | None = None
    """Vectors of perturbation targets: a file, or a stand-in: `spectral` (of the PPI graph), `pathways` (of membership in priors.pathways), `relations` (both side by side, or the one whose file is given), `random`. Null: `spectral` where a PPI is given, else learned vectors alone."""
    embedding_dim: int = Field(default=64, ge=1)
    """Width of the built-in stand-ins."""
