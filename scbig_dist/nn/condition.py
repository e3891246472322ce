"""A condition as one vector: the set of its targets, its context and its dose."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from scbig_dist.config import FlowConfig
from scbig_dist.nn.attention import Attention


class TargetEmbedding(nn.Module):
    """A vector per target: a linear map of its frozen prior, a learned vector, or their sum.

    Frozen vectors are divided by their overall root mean square, so that the linear map
    meets entries of order one whatever file they come from. In `both` the learned part
    starts at zero: an unseen target keeps its prior.
    """

    vectors: Tensor
    scale: Tensor
    known: Tensor

    def __init__(
        self, frozen: Float[Tensor, "target e"] | None, known: Bool[Tensor, " target"], kind: str, width: int
    ) -> None:
        super().__init__()
        assert kind == "learned" or frozen is not None, f"flow.target_embedding={kind} needs frozen vectors"
        self.linear: nn.Linear | None = None
        self.learned: nn.Parameter | None = None
        if kind != "learned" and frozen is not None:
            vectors = frozen.float() * known[:, None]
            mean_square = vectors.square().sum() / (known.sum() * vectors.shape[1]).clamp(min=1)
            self.register_buffer("scale", mean_square.sqrt().clamp(min=1e-12))
            self.register_buffer("vectors", vectors / self.scale)
            self.linear = nn.Linear(vectors.shape[1], width)
        if kind == "learned":
            self.learned = nn.Parameter(torch.empty(len(known), width).normal_(0, width**-0.5))
        if kind == "both":
            self.learned = nn.Parameter(torch.zeros(len(known), width))
        self.register_buffer("known", known.clone())

    def extend(self, frozen: Float[Tensor, "target e"]) -> None:
        """Add targets that training has not met: each has its prior, and nothing learned."""
        assert self.linear is not None, "without a prior an unseen target has no vector"
        self.vectors = torch.cat([self.vectors, frozen.to(self.vectors) / self.scale])
        self.known = torch.cat([self.known, torch.ones(len(frozen), dtype=torch.bool, device=self.known.device)])
        if self.learned is not None:
            added = self.learned.new_zeros(len(frozen), self.learned.shape[1])
            self.learned = nn.Parameter(torch.cat([self.learned.detach(), added]))

    def forward(
        self, targets: Int[Tensor, "condition slot"], noise: Float[Tensor, "condition slot e"] | None = None
    ) -> tuple[Float[Tensor, "condition slot d"], Bool[Tensor, "condition slot"]]:
        """Vectors, and which slots hold a target that has one; empty slots are -1. `noise` is added to the prior."""
        present = targets >= 0
        index = targets.clamp(min=0)
        if self.linear is None:
            assert self.learned is not None
            return self.learned[index], present
        known = self.known[index] & present
        vectors = self.vectors[index] if noise is None else self.vectors[index] + noise
        prior = self.linear(vectors) * known[..., None]
        if self.learned is None:
            return prior, known
        return prior + self.learned[index], present


class ConditionEncoder(nn.Module):
    """Targets pooled (attention with one learned seed, or a sum), plus context, plus dose.

    Permutation-invariant in the targets. A condition without a known target pools to zero.
    """

    def __init__(
        self,
        frozen: Float[Tensor, "target e"] | None,
        known: Bool[Tensor, " target"],
        config: FlowConfig,
        n_contexts: int,
        with_dose: bool,
    ) -> None:
        super().__init__()
        width = config.condition_dim
        self.embedding = TargetEmbedding(frozen, known, config.target_embedding, width)
        self.attention: Attention | None = None
        if config.pooling == "attention":
            self.seed = nn.Parameter(torch.empty(1, 1, width).normal_(0, 0.02))
            self.attention = Attention(width, config.n_heads)
        self.context: nn.Embedding | None = None
        if n_contexts > 1:
            self.context = nn.Embedding(n_contexts, width)
            nn.init.zeros_(self.context.weight)  # a context that training never perturbs must not steer by chance
        self.dose: nn.Sequential | None = None
        if with_dose:
            self.dose = nn.Sequential(nn.Linear(1, width), nn.SiLU(), nn.Linear(width, width))

    def forward(
        self,
        targets: Int[Tensor, "condition slot"],
        context: Int[Tensor, " condition"],
        dose: Float[Tensor, " condition"],
        noise: Float[Tensor, "condition slot e"] | None = None,
    ) -> Float[Tensor, "condition d"]:
        """`targets` index the target table, -1 for an empty slot; `dose` in the screen's units, ≥ 0; `noise`: on frozen vectors."""
        vectors, mask = self.embedding(targets, noise)
        vector = self._pool(vectors, mask)
        if self.context is not None:
            vector = vector + self.context(context)
        if self.dose is not None:
            vector = vector + self.dose(torch.log1p(dose)[:, None])
        return vector

    def _pool(
        self, vectors: Float[Tensor, "condition slot d"], mask: Bool[Tensor, "condition slot"]
    ) -> Float[Tensor, "condition d"]:
        if self.attention is None:
            return (vectors * mask[..., None]).sum(1)
        some = mask.any(1, keepdim=True)
        seed = self.seed.expand(len(vectors), -1, -1)
        # A row without targets looks at its empty slots and is then zeroed: softmax over nothing is NaN.
        return self.attention(seed, vectors, mask | ~some)[:, 0] * some
