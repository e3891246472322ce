"""A trained model on disk: weights, what they were built on, and the names behind their rows."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor, nn

from scbig_dist.artifacts import save_tensors, write_text
from scbig_dist.config import Config
from scbig_dist.errors import UserError
from scbig_dist.models.build import build_baseline
from scbig_dist.models.own_gene import OwnShifts
from scbig_dist.models.protocol import ConditionInput
from scbig_dist.models.scbig import ModelInputs, ScBIG
from scbig_dist.models.screen_inputs import Names, ScreenInputs
from scbig_dist.models.shift_head import ShiftInputs
from scbig_dist.train.checkpoint import tensors_of

NESTED: dict[str, Any] = {"train": ConditionInput, "shift": ShiftInputs, "own": OwnShifts}
"""Fields of inputs that are records themselves."""
NOT_KEPT = frozenset({"pathways"})  # the alignment's, and large: training alone reads them


def save_model(model: nn.Module, inputs: ModelInputs | ScreenInputs, names: Names, path: Path) -> None:
    """Write `weights.safetensors`, `inputs.safetensors` and `names.json` into a directory."""
    path.mkdir(exist_ok=True)
    plain = {name: value for name, value in vars(inputs).items() if isinstance(value, int | bool)}
    fixed = {name: value for name, value in _flat(inputs).items() if name not in NOT_KEPT}
    save_tensors(fixed, path / "inputs.safetensors")
    save_tensors(tensors_of(model), path / "weights.safetensors")
    write_text(path / "names.json", json.dumps({**vars(names), **plain}))


def load_model(path: Path, config: Config) -> Any:
    """The model that `save_model` wrote, on the CPU."""
    plain = json.loads((path / "names.json").read_text())
    fixed: dict[str, Any] = dict(load_file(path / "inputs.safetensors"))
    names = Names(*(tuple(plain[name]) for name in ("genes", "targets", "contexts")))
    kind: Any = ModelInputs if config.model.name == "scbig" else ScreenInputs
    inputs = kind(**_nested(kind, fixed | {name: plain[name] for name in ("n_contexts", "with_dose")}))
    model = ScBIG(inputs, config) if kind is ModelInputs else build_baseline(inputs, config, names)
    try:
        model.load_state_dict(load_file(path / "weights.safetensors"))
    except RuntimeError:
        raise UserError(f"{path.parent}: its weights are of another version of scbig-dist; train it anew") from None
    return model


def _flat(record: Any, prefix: str = "") -> dict[str, Tensor]:
    """The tensors of a record and of the records in it, by dotted name."""
    flat: dict[str, Tensor] = {}
    for name, value in vars(record).items():
        if isinstance(value, Tensor):
            flat[f"{prefix}{name}"] = value
        elif name in NESTED and value is not None:
            flat |= _flat(value, f"{prefix}{name}.")
    return flat


def _nested(kind: Any, flat: dict[str, Any]) -> dict[str, Any]:
    """The fields of a record from dotted names; what is not there is None."""
    values: dict[str, Any] = {}
    for each in fields(kind):
        values[each.name] = flat.get(each.name)
        inside = {
            name.removeprefix(f"{each.name}."): value
            for name, value in flat.items()
            if name.startswith(f"{each.name}.")
        }
        if each.name in NESTED and inside:
            values[each.name] = NESTED[each.name](**_nested(NESTED[each.name], inside))
    return values
