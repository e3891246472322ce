"""What a baseline is built on: the training shifts, the control means, and what is known of genes and targets."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

from scbig_dist.models.protocol import ConditionInput


@dataclass(frozen=True)
class Names:
    """What the rows of a run's tables are called."""

    genes: tuple[str, ...]
    targets: tuple[str, ...]
    contexts: tuple[str, ...]


@dataclass(frozen=True)
class ScreenInputs:
    """Fixed before the first step, and kept with a run's weights.

    `train` are the training conditions, `shifts` their mean shifts from the control mean of
    their own context. Targets are rows of the target vocabulary; `target_column` is a
    target's panel column, -1 outside the panel. A graph lists a row's strongest neighbours,
    -1 where there are fewer, with weights that are 0 there.
    """

    gene_mean: Float[Tensor, " gene"]
    control_mean: Float[Tensor, "context gene"]
    train: ConditionInput
    shifts: Float[Tensor, "condition gene"]
    target_column: Int[Tensor, " target"]
    target_vectors: Float[Tensor, "target e"] | None
    target_known: Bool[Tensor, " target"]
    gene_embedding: Float[Tensor, "gene f"] | None
    gene_graph: Int[Tensor, "gene neighbour"]
    """Genes that are co-expressed in training cells (absolute Pearson correlation)."""
    gene_weight: Float[Tensor, "gene neighbour"]
    target_graph: Int[Tensor, "target neighbour"]
    """Targets that share interaction partners (Jaccard over `priors.ppi`); all -1 without a PPI."""
    target_weight: Float[Tensor, "target neighbour"]
    n_contexts: int
    with_dose: bool
