"""Randomness as a function of (seed, purpose, index): nothing to save, nothing to drift."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def generator(seed: int, purpose: str, index: int = 0) -> np.random.Generator:
    """A numpy generator for one use, e.g. `generator(seed, "epoch", 3)`."""
    return np.random.default_rng(np.random.SeedSequence([seed, zlib.crc32(purpose.encode()), index]))


@contextmanager
def torch_seeded(seed: int, purpose: str, index: int, device: torch.device) -> Iterator[None]:
    """Inside, torch's own generators (dropout, initial weights) depend on the arguments alone.

    torch's dropout takes no generator, so its global one is seeded here and restored.
    """
    with torch.random.fork_rng([device.index or 0] if device.type == "cuda" else []):
        torch.manual_seed(int(generator(seed, purpose, index).integers(2**62)))
        yield
