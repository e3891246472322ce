"""scbig_dist: train and sweep scBIG single-cell perturbation models on a Ray cluster."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scbig_dist.config import Config
    from scbig_dist.errors import UserError
    from scbig_dist.settings import load_config
    from scbig_dist.store.reader import open_store

__all__ = ["Config", "UserError", "load_config", "open_store"]

_HOMES = {
    "Config": "scbig_dist.config",
    "UserError": "scbig_dist.errors",
    "load_config": "scbig_dist.settings",
    "open_store": "scbig_dist.store.reader",
}


def __getattr__(name: str) -> Any:
    """A public name, imported when it is asked for: who needs one room does not wait for all."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
