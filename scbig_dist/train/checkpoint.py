"""Checkpoints of a stage: whole or absent, and readable without running any code.

`step-00001000/` holds `model.safetensors`, `optimizer.safetensors` and `state.json`. It is
written beside its place, flushed and renamed, so the newest one on disk is what a restart
takes. Batches and noise depend on (seed, step) alone: the step is the sampler's state.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from scbig_dist.artifacts import save_tensors, sync_tree
from scbig_dist.store.disk import sync_directory

KEEP = 2  # the newest, and one more should it turn out damaged


@dataclass(frozen=True)
class Checkpoint:
    step: int
    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    best: dict[str, Tensor] | None
    state: dict[str, Any]


def save_checkpoint(
    root: Path,
    step: int,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    state: dict[str, Any],
    best: dict[str, Tensor] | None,
) -> Path:
    """Write the checkpoint of an update and drop all but the newest two."""
    path = root / f"step-{step:08d}"
    beside = root / f".step-{step:08d}"
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    save_tensors(tensors_of(model), beside / "model.safetensors")
    save_tensors(_flat(optimizer), beside / "optimizer.safetensors")
    if best is not None:
        save_tensors(best, beside / "best.safetensors")
    (beside / "state.json").write_text(json.dumps({"step": step, **state}))
    sync_tree(beside)
    shutil.rmtree(path, ignore_errors=True)
    os.replace(beside, path)
    sync_directory(root)
    for old in sorted(root.glob("step-*"))[:-KEEP]:
        shutil.rmtree(old, ignore_errors=True)
    return path


def newest_checkpoint(root: Path) -> Checkpoint | None:
    """The newest checkpoint that can be read, or None."""
    for path in sorted(root.glob("step-*"), reverse=True):
        try:
            state = json.loads((path / "state.json").read_text())
            best = path / "best.safetensors"
            return Checkpoint(
                state.pop("step"),
                load_file(path / "model.safetensors"),
                load_file(path / "optimizer.safetensors"),
                load_file(best) if best.exists() else None,
                state,
            )
        except (OSError, ValueError, KeyError, SafetensorError):
            continue  # cut short by a crash of the disk: the one before it is whole
    return None


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """Weights and persistent buffers, detached, contiguous, on the CPU."""
    return {name: value.detach().cpu().contiguous().clone() for name, value in module.state_dict().items()}


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put Adam's moments back; rates and betas are the config's, not the checkpoint's."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, key = name.split(".")
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _flat(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{key}": value.detach().cpu().contiguous().clone()
        for index, values in state.items()
        for key, value in values.items()
    }
