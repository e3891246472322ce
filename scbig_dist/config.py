"""Every setting of the system, each at one address with its meaning beneath it.

The YAML path of a field is its `--set` key, the axis name in a study, the column of
the results table and the label of the plot (`flow.lr`). No default lives elsewhere; what
is trained on is in `config_data.py`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator

from scbig_dist.config_data import DataConfig, PanelConfig, PriorsConfig, QCConfig, Section, SplitConfig

MANY = 4096  # workers: above, a number is a slip


def parse_workers(value: Any) -> int | str:
    """A number of workers as int, a range of them as text (`1-4`); a ValueError for anything else."""
    text = str(value)
    ends = [int(end) for end in text.split("-") if end.isdecimal()]
    if not ends or "-".join(map(str, ends)) != text or not 1 <= ends[0] <= ends[-1] <= MANY or len(ends) > 2:
        raise ValueError("should be a number from 1, or a range such as 1-4")
    return text if ends[0] < ends[-1] else ends[0]


class ModelConfig(Section):
    name: Literal[
        "scbig",
        "control",
        "mean_shift",
        "additive",
        "ridge_additive",
        "linear",
        "linear_ext",
        "knn",
        "samsvae",
        "cpa",
        "gears",
        "scgen",
    ] = "scbig"
    """What is trained: scBIG, or a baseline under the same protocol. CellFlow is scBIG without modules, GCAE and alignment: `configs/cellflow.yaml`."""


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
    encoder: Literal["gcae", "plain", "mlp", "pca"] = "gcae"
    """`gcae`: inducing-point blocks; `plain`: full self-attention; `mlp`: `gcae.n_blocks` + 1 layers over all genes, no modules; `pca`: principal components (the CellFlow form)."""
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
    pooling: Literal["mean", "attention", "set_transformer", "flat"] = "mean"
    """How module tokens become one latent; `flat` pools nothing: each token has its own linear map to the latent and, in the decoder, from it."""
    skip: Literal["none", "frozen", "learned"] = "none"
    """A linear path beside encoder and decoder, both of which then start at zero: leading components of the training cells, as they are or as a start."""
    shift_weight: float = Field(default=0.0, ge=0)
    """Weight of the conditions' mean shifts beside the cells in the components of `pca` and `gcae.skip`; 0: plain principal components."""
    projection: Literal["per_module", "shared"] = "per_module"
    """One expression projection per module, or one for all (the released code)."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout of tokens and blocks in training."""


class AutoencoderConfig(Section):
    lr: float = Field(default=1e-4, gt=0)
    """Adam's learning rate in stage 1."""
    schedule: Literal["constant", "cosine"] = "constant"
    """Course of the learning rate over the stage: `cosine` falls to zero at its last update."""
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
    metacell_weight: float = Field(default=1.0, gt=0)
    """Weight of a metacell's error beside a cell's: shifts are small beside the noise of cells."""


class FlowConfig(Section):
    lr: float = Field(default=5e-5, gt=0)
    """Adam's learning rate in stage 2."""
    schedule: Literal["constant", "cosine"] = "constant"
    """Course of the learning rate over the stage: `cosine` falls to zero at its last update."""
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
    latent_scale: Literal["raw", "unit", "expression"] = "raw"
    """Coordinates that the flow sees latents in. `unit` divides them by their overall standard deviation in training cells; `expression` centres them and maps them linearly, so that distances are those of decoded cells."""
    pooling: Literal["attention", "sum"] = "attention"
    """How the targets of a condition become one vector."""
    target_embedding: Literal["frozen", "learned", "both"] = "frozen"
    """`both` adds to the frozen vector a learned one that starts at zero."""
    target_noise: float = Field(default=0.0, ge=0)
    """Standard deviation of noise on the frozen vectors in training steps, in units of their root mean square: an unseen target then moves cells as those near it do, and less far than any."""
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


class ShiftConfig(Section):
    head: Literal["none", "ridge", "network"] = "none"
    """Where a condition's mean goes: `none`: the flow carries it (the paper); `ridge`: kernel ridge on its targets; `network`: that, corrected by a small network. With either, the flow shapes the cells around the mean."""
    ridge: float = Field(default=0.3, gt=0)
    """Penalty of the kernel ridge."""
    common: float = Field(default=0.3, ge=0)
    """Kernel between any two targets: how much all effects have in common, which an unseen target gets."""
    prior: float = Field(default=1.0, ge=0)
    """Weight of how targets are related in that kernel: the pathways that they share (priors.pathways), else vectors from a file (priors.target_embedding)."""
    own_gene: Literal["predicted", "measured"] = "predicted"
    """The mean of a perturbed gene's own expression, with or without a head: as the model predicts it, or control's plus the shift that was measured in training, for an unseen target the mean over targets of training."""
    modules: bool = False
    """True: the network also sees shifts averaged over the gene's module."""
    saturate: bool = False
    """True: what a head predicts of a gene levels off towards the largest shift that training has seen of it, the genes of targets aside."""
    width: int = Field(default=64, ge=1)
    """Hidden width of the network, which all genes share."""
    n_networks: int = Field(default=2, ge=1)
    """Networks that are averaged."""
    weight: float = Field(default=0.9, ge=0, le=1)
    """Share of the network's correction that is added."""
    steps: int = Field(default=1000, ge=1)
    """Updates of the network."""
    batch: int = Field(default=2048, ge=1)
    """Genes of left-out conditions in an update, over all workers."""
    lr: float = Field(default=2e-3, gt=0)
    """AdamW's learning rate; it falls to zero on a cosine."""
    weight_decay: float = Field(default=0.01, ge=0)
    """AdamW's weight decay."""


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
    targets: Literal["raw", "decoded"] = "raw"
    """What predictions are aligned with: the condition's true cells, or these encoded and decoded, as every prediction is."""
    epsilon: float = Field(default=0.1, gt=0)
    """Entropic regularisation of the pathway cost, relative to the mean cost."""
    n_iterations: int = Field(default=100, ge=1)
    """Sinkhorn iterations of the pathway cost."""
    debiased: bool = False
    """True: the Sinkhorn divergence, zero for equal clouds."""


class BaselineConfig(Section):
    """The baselines under `model.name`; those that are trained share these settings."""

    lr: float = Field(default=1e-3, gt=0)
    """Adam's learning rate."""
    batch: int = Field(default=256, ge=1)
    """Perturbed cells of an update over all workers; as many control cells come with them."""
    conditions_per_step: int = Field(default=16, ge=1)
    """Conditions that share an update."""
    steps: int = Field(default=3000, ge=1)
    """Updates."""
    validate_every: int = Field(default=500, ge=1)
    """Updates between validations; the weights of the best one are kept."""
    patience: int = Field(default=4, ge=1)
    """Validations without improvement before training stops."""
    width: int = Field(default=128, ge=1)
    """Hidden width of the networks; GEARS has `baseline.latent_dim` alone."""
    n_layers: int = Field(default=2, ge=1)
    """Hidden layers of an encoder, and again of a decoder."""
    latent_dim: int = Field(default=64, ge=1)
    """Width of a cell's latent; GEARS: of the embeddings of genes and targets."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout of hidden layers in training."""
    kl_weight: float = Field(default=0.3, ge=0)
    """samsVAE, CPA: weight of the latents' divergence per gene beside the squared error per gene; the evidence bound has twice the noise's variance."""
    scgen_kl_weight: float = Field(default=3e-3, ge=0)
    """scGen: the same; smaller, for its shifts are measured between latents, not learned beside them (the paper: 5e-5)."""
    sparsity: float = Field(default=0.1, gt=0, lt=1)
    """samsVAE: prior probability that a target moves a latent dimension."""
    effect_weight: float = Field(default=0.003, ge=0)
    """samsVAE: weight of the divergence of a target's masks and effects, within `baseline.kl_weight`; the evidence bound has 1 ÷ training cells per target."""
    adversary_weight: float = Field(default=0.003, ge=0)
    """CPA: weight of the adversary that must not tell targets from basal latents."""
    focus: float = Field(default=0.0, ge=0)
    """GEARS: γ of the autofocus loss |error|^(2+γ); 2 in the paper, which for single cells is not least at their mean."""
    direction_weight: float = Field(default=0.1, ge=0)
    """GEARS: weight of the loss on the sign of a shift."""
    n_neighbors: int = Field(default=10, ge=1)
    """kNN: training conditions that vote; GEARS: neighbours of a gene in a graph."""
    ridge: float = Field(default=1.0, gt=0)
    """Ridge-additive, scGen: penalty on the targets' effects, in expression or in the latent."""


class TrainConfig(Section):
    workers: Annotated[int | str, PlainValidator(parse_workers)] = 1
    """Training processes; more than one needs Ray. A range, `1-4`: as many as there is room for, fewer where one is lost, more again later."""
    seed: int = Field(default=0, ge=0)
    """Seed of weights, batches, noise and dropout."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of the networks; `bfloat16` is autocast, meant for GPUs."""
    compile: bool = False
    """True: torch.compile, meant for GPUs."""
    graphs: bool = True
    """On a GPU: a micro-batch of scBIG is one CUDA graph, launched at once; False: operation by operation, several times as long."""
    checkpoint_activations: bool = False
    """True: the autoencoder's blocks are computed again in the backward pass instead of kept: less memory, about a third more time."""
    threads: int = Field(default=2, ge=1)
    """CPU threads of a worker, and the CPUs it asks Ray for."""
    gpus: float = Field(default=0.0, ge=0, le=1)
    """GPUs of a worker; 0 trains on CPU, a part of one shares it (and its memory) with others; for several GPUs raise `workers`."""
    memory_gb: float = Field(default=0.0, ge=0)
    """Memory in GB that a worker asks Ray for, so that no more of them share a node than fit; 0 asks for none."""
    checkpoint_every: int = Field(default=2_000, ge=1)
    """Updates between checkpoints of a stage."""

    @property
    def least_workers(self) -> int:
        return int(str(self.workers).split("-")[0])

    @property
    def most_workers(self) -> int:
        return int(str(self.workers).split("-")[-1])


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
    model: ModelConfig = ModelConfig()
    baseline: BaselineConfig = BaselineConfig()
    grc: GRCConfig = GRCConfig()
    gcae: GCAEConfig = GCAEConfig()
    autoencoder: AutoencoderConfig = AutoencoderConfig()
    flow: FlowConfig = FlowConfig()
    shift: ShiftConfig = ShiftConfig()
    align: AlignConfig = AlignConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()

    def get(self, address: str) -> Any:
        """The value at an address such as `flow.lr`."""
        value: Any = self
        for part in address.split("."):
            value = getattr(value, part)
        return value
