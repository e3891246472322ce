"""Checkpoints of a stage: whole or absent, and readable without running any code.

`step-00001000/` holds `model.safetensors`, `optimizer.safetensors`, `state.json` and the
checksums of these in `sha256.json`. It is written beside its place, flushed and renamed; a
restart takes the newest that is as it was written. Batches and noise depend on (seed, step)
alone: the step is the sampler's state.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from scbig_dist.artifacts import save_tensors, sync_tree
from scbig_dist.store.disk import file_sha256, sync_directory

KEEP = 2  # the newest, and one more should it turn out damaged
SUMS = "sha256.json"


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
    """Write the checkpoint of an update and drop all but the newest two; what cannot be finished leaves nothing behind."""
    path = root / f"step-{step:08d}"
    beside = root / f".step-{step:08d}-{uuid.uuid4().hex[:8]}"
    try:
        beside.mkdir(parents=True)
        save_tensors(tensors_of(model), beside / "model.safetensors")
        save_tensors(_flat(optimizer), beside / "optimizer.safetensors")
        if best is not None:
            save_tensors(best, beside / "best.safetensors")
        (beside / "state.json").write_text(json.dumps({"step": step, **state}))
        sums = {file.name: file_sha256(file) for file in sorted(beside.iterdir())}
        (beside / SUMS).write_text(json.dumps(sums, indent=1))
        sync_tree(beside)
        shutil.rmtree(path, ignore_errors=True)
        os.replace(beside, path)
    finally:
        shutil.rmtree(beside, ignore_errors=True)  # a full disk: the next trial may fit where this one did not
    sync_directory(root)
    for old in sorted(root.glob("step-*"))[:-KEEP]:
        shutil.rmtree(old, ignore_errors=True)
    return path


def newest_sound(root: Path, warn: Callable[[str], None]) -> Path | None:
    """The newest checkpoint that is as it was written, or None; `warn` is told of each that is not."""
    for half in root.glob(".step-*"):
        shutil.rmtree(half, ignore_errors=True)  # its writer died
    for path in sorted(root.glob("step-*"), reverse=True):
        damage = _damage(path)
        if damage is None:
            return path
        warn(f"checkpoint {path}: {damage}; the one before it is used")
    return None


def _damage(path: Path) -> str | None:
    """What is wrong with a checkpoint, or None."""
    try:
        sums = json.loads((path / SUMS).read_text())
        for name in dict.fromkeys(("model.safetensors", "optimizer.safetensors", "state.json", *sums)):
            if file_sha256(path / name) != sums.get(name):
                return f"{name} is cut short or damaged (its checksum differs)"
    except OSError as error:
        return f"{Path(error.filename or path).name} cannot be read ({error.strerror})"
    except (ValueError, AttributeError):
        return f"{SUMS} is cut short or damaged"
    return None


def load_checkpoint(path: Path) -> Checkpoint:
    """A checkpoint that was found sound."""
    state = json.loads((path / "state.json").read_text())
    best = path / "best.safetensors"
    return Checkpoint(
        state.pop("step"),
        load_file(path / "model.safetensors"),
        load_file(path / "optimizer.safetensors"),
        load_file(best) if best.exists() else None,
        state,
    )


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
