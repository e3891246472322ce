"""scbig_dist: train and sweep scBIG single-cell perturbation models on a Ray cluster."""

from scbig_dist.config import Config
from scbig_dist.errors import UserError
from scbig_dist.settings import load_config
from scbig_dist.store.reader import open_store

__all__ = ["Config", "UserError", "load_config", "open_store"]
