"""The model that a config names."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from scbig_dist.config import Config
from scbig_dist.models.screen_inputs import Names, ScreenInputs

TRAINED = {"samsvae": "SamsVAE", "cpa": "CPA", "gears": "GEARS", "scgen": "ScGen"}
"""Baselines that are trained: their module beside this one, and their class."""


def build_baseline(inputs: ScreenInputs, config: Config, names: Names) -> Any:
    """A `PerturbationModel` (and nn.Module) for every `model.name` but `scbig`."""
    name = config.model.name
    if name in TRAINED:
        return getattr(import_module(f"scbig_dist.models.{name}"), TRAINED[name])(inputs, config)
    from scbig_dist.models.closed_form import ClosedForm

    return ClosedForm(inputs, config, names)
