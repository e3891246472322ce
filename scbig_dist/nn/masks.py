"""Bernoulli masks that can be learned by gradient: relaxed draws, rounded on the way forward."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

TEMPERATURE = 1.0


def draw_mask(logits: Float[Tensor, "*rows latent"]) -> Float[Tensor, "*rows latent"]:
    """0/1 draws whose gradient is that of the binary concrete relaxation (Maddison et al. 2017; Jang et al. 2017).

    The logistic noise comes from torch's own generator, which the loop seeds.
    """
    uniform = torch.rand_like(logits).clamp(1e-6, 1 - 1e-6)
    soft = torch.sigmoid((logits + uniform.log() - (-uniform).log1p()) / TEMPERATURE)
    return (soft > 0.5).to(soft) + (soft - soft.detach())


def mask_divergence(logits: Float[Tensor, "*rows latent"], prior: float) -> Float[Tensor, "*rows"]:
    """KL of Bernoulli(σ(logits)) from Bernoulli(prior) in nats, summed over the last axis."""
    on, off = F.logsigmoid(logits), F.logsigmoid(-logits)
    p = on.exp()
    log_prior = torch.tensor([prior, 1 - prior], dtype=logits.dtype, device=logits.device).log()
    return (p * (on - log_prior[0]) + (1 - p) * (off - log_prior[1])).sum(-1)
