"""Every setting of the system, each at one address with its meaning beneath it.

The YAML path of a field is its `--set` key, the axis name in a study, the column of
the results table and the label of the plot (`flow.lr`). No default lives elsewhere.
"""

from __future__ import annotations

from typing import Any, Literal

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
    """Vectors of genes for clustering and tokens: a file (.npz, .csv, .tsv, .pt, .h5ad), or a stand-in: `pca` (loadings of training cells), `spectral` (of the PPI graph), `random`. Null: none."""
    target_embedding: str | None = None
    """Vectors of perturbation targets: a file, or a stand-in by name. Null: `spectral` where a PPI is given, else learned vectors alone."""
    embedding_dim: int = Field(default=64, ge=1)
    """Width of the built-in stand-ins."""


class GRCConfig(Section):
    n_modules: int = Field(default=32, ge=1)
    """K, the number of gene modules."""
    clustering: Literal["grc", "kmeans_balanced", "kmeans", "none", "random", "soft"] = "grc"
    """How genes are put into modules; all but `grc` are the paper's ablations. `soft` draws genes from the transport plan at `grc.temperature`."""
    w_semantic: float = Field(default=1.0, ge=0)
    """Weight of the cosine distance between gene and module."""
    w_ppi: float = Field(default=1.0, ge=0)
    """Weight of the missing interactions between gene and module."""
    n_iterations: int = Field(default=3, ge=1)
    """Alternations between centroids and transport."""
    epsilon: float = Field(default=0.1, gt=0)
    """Entropic regularisation of the transport."""
    temperature: float = Field(default=1.0, gt=0)
    """`soft`: higher is more random."""
    feedback: str | None = None
    """A finished run: genes are clustered by the shifts that it predicts for training conditions, not by their embedding (the paper's "update by pert")."""


class GCAEConfig(Section):
    encoder: Literal["gcae", "plain", "pca"] = "gcae"
    """`gcae`: inducing-point blocks; `plain`: full self-attention; `pca`: principal components (the CellFlow form)."""
    n_inducing: int = Field(default=8, ge=1)
    """M, the inducing points of a block."""
    width: int = Field(default=256, ge=1)
    """d, the width of a module token."""
    n_blocks: int = Field(default=3, ge=1)
    """Blocks of the encoder, and again of the decoder."""
    n_heads: int = Field(default=8, ge=1)
    """Attention heads; divides `gcae.width`."""
    block: Literal["full", "lean"] = "full"
    """`full`: the paper's, an MLP on every token in every block; `lean`: tokens enter once, the inducing points are processed, tokens are written once."""
    latent_dim: int = Field(default=50, ge=1)
    """ℓ, the width of a cell's latent."""
    pooling: Literal["mean", "attention", "set_transformer"] = "mean"
    """How module tokens become one latent."""
    projection: Literal["per_module", "shared"] = "per_module"
    """One expression projection per module, or one for all (the released code)."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout of tokens and blocks in training."""


class AutoencoderConfig(Section):
    lr: float = Field(default=1e-4, gt=0)
    """Adam's learning rate in stage 1."""
    batch: int = Field(default=256, ge=1)
    """Cells per update over all workers."""
    accumulate: int | None = Field(default=None, ge=1)
    """Parts that an update's cells are computed in, one after the other: less memory. Null: on a CPU as many as keep about 4,096 module tokens in a part, which its caches hold; on a GPU one."""
    epochs: int = Field(default=100, ge=1)
    """Passes over the training cells, at most."""
    patience: int = Field(default=4, ge=1)
    """Checks without improvement before stage 1 stops."""
    check_every: int = Field(default=5, ge=1)
    """Epochs between checks of the held-out reconstruction."""
    metacells: float = Field(default=0.0, ge=0, lt=1)
    """Share of a batch's rows that are means of cells of one condition instead of cells."""
    metacell_size: int = Field(default=25, ge=2)
    """Cells averaged into a metacell."""


class FlowConfig(Section):
    lr: float = Field(default=5e-5, gt=0)
    """Adam's learning rate in stage 2."""
    batch: int = Field(default=1024, ge=1)
    """Cells of a micro-batch."""
    accumulate: int = Field(default=20, ge=1)
    """Micro-batches per update over all workers; a multiple of `train.workers`."""
    steps: int = Field(default=500_000, ge=1)
    """Micro-batches in all, over all workers; a multiple of `flow.accumulate`."""
    conditions_per_step: int = Field(default=1, ge=1)
    """Conditions that share a micro-batch; each is coupled by itself."""
    sigma: float = Field(default=0.5, ge=0)
    """Standard deviation of the noise around the path, in units of `flow.latent_scale`."""
    coupling: Literal["sinkhorn", "exact", "none"] = "sinkhorn"
    """How control and perturbed cells are paired."""
    coupling_epsilon: float = Field(default=1.0, gt=0)
    """Entropic regularisation, relative to the mean cost."""
    latent_scale: Literal["raw", "unit"] = "raw"
    """`unit` divides latents by their overall standard deviation in training cells."""
    pooling: Literal["attention", "sum"] = "attention"
    """How the targets of a condition become one vector."""
    target_embedding: Literal["frozen", "learned", "both"] = "frozen"
    """`both` adds to the frozen vector a learned one that starts at zero."""
    condition_dim: int = Field(default=256, ge=1)
    """Width of the condition vector."""
    n_heads: int = Field(default=8, ge=1)
    """Heads of attention pooling; divides `flow.condition_dim`."""
    width: int = Field(default=1024, ge=2)
    """Hidden width of the velocity field and of its time features; even."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout of the velocity field in training."""
    condition_drop: float = Field(default=0.0, ge=0, le=1)
    """Probability that a condition's vector is dropped in a training step (the released code inherits 0.9)."""
    clip: float = Field(default=1.0, gt=0)
    """Largest global norm of the gradient."""
    solver: Literal["tsit5", "dopri5", "rk4", "midpoint", "euler"] = "tsit5"
    """Integrator from control to perturbed: two adaptive, three with fixed steps."""
    solver_steps: int = Field(default=20, ge=1)
    """Steps of a fixed-step solver."""
    tolerance: float = Field(default=1e-5, gt=0)
    """Relative and absolute tolerance of an adaptive solver."""
    validate_every: int = Field(default=25_000, ge=1)
    """Micro-batches between validations; a multiple of `flow.accumulate`."""
    train_autoencoder: bool = False
    """True: encoder and decoder go on learning in stage 2 (the paper); false: frozen (the released code)."""


class AlignConfig(Section):
    lambda_corr: float = Field(default=0.1, ge=0)
    """Weight of the module-correlation loss; 0 switches it off."""
    lambda_path: float = Field(default=0.1, ge=0)
    """Weight of the pathway loss; 0 switches it off."""
    every: int = Field(default=1, ge=1)
    """Micro-batches between alignment losses (the released code: 1,000)."""
    n_cells: int = Field(default=64, ge=2)
    """Predicted cells that the losses see; `one_step` has at most the first condition's cells of a micro-batch."""
    estimate: Literal["solve", "one_step"] = "solve"
    """Where predicted cells come from: `solve` carries control cells along the flow; `one_step` goes straight on from the micro-batch's own points, x_t + (1−t)v without the noise, and evaluates no network again."""
    n_solver_steps: int = Field(default=8, ge=1)
    """`solve`: midpoint steps, differentiated through."""
    epsilon: float = Field(default=0.1, gt=0)
    """Entropic regularisation of the pathway cost, relative to the mean cost."""
    n_iterations: int = Field(default=100, ge=1)
    """Sinkhorn iterations of the pathway cost."""
    debiased: bool = False
    """True: the Sinkhorn divergence, zero for equal clouds."""


class TrainConfig(Section):
    workers: int = Field(default=1, ge=1)
    """Training processes; more than one needs Ray."""
    seed: int = Field(default=0, ge=0)
    """Seed of weights, batches, noise and dropout."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of the networks; `bfloat16` is autocast, meant for GPUs."""
    compile: bool = False
    """True: torch.compile, meant for GPUs."""
    checkpoint_activations: bool = False
    """True: the autoencoder's blocks are computed again in the backward pass instead of kept: less memory, about a third more time."""
    threads: int = Field(default=2, ge=1)
    """CPU threads of a worker, and the CPUs it asks Ray for."""
    gpus: float = Field(default=0.0, ge=0)
    """GPUs of a worker; 0 trains on CPU."""
    memory_gb: float = Field(default=0.0, ge=0)
    """Memory in GB that a worker asks Ray for, so that no more of them share a node than fit; 0 asks for none."""
    checkpoint_every: int = Field(default=2_000, ge=1)
    """Updates between checkpoints of a stage."""


class EvaluateConfig(Section):
    n_cells: int = Field(default=256, ge=2)
    """Predicted cells per condition."""
    n_val_cells: int = Field(default=64, ge=2)
    """Predicted cells per condition in validations during training."""


class Config(Section):
    """The whole of a run, as `RUN/config.yaml` keeps it."""

    store: str | None = None
    """The cell store that `scbig store build` wrote."""
    data: DataConfig = DataConfig()
    qc: QCConfig = QCConfig()
    panel: PanelConfig = PanelConfig()
    split: SplitConfig = SplitConfig()
    priors: PriorsConfig = PriorsConfig()
    grc: GRCConfig = GRCConfig()
    gcae: GCAEConfig = GCAEConfig()
    autoencoder: AutoencoderConfig = AutoencoderConfig()
    flow: FlowConfig = FlowConfig()
    align: AlignConfig = AlignConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()

    def get(self, address: str) -> Any:
        """The value at an address such as `flow.lr`."""
        value: Any = self
        for part in address.split("."):
            value = getattr(value, part)
        return value
