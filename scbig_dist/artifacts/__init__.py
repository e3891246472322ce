"""What runs share: directories found again by a key of what went in; whole or not there at all."""

from scbig_dist.artifacts.files import save_tensors, sync_tree, write_text
from scbig_dist.artifacts.keys import SCHEMA, content_key
from scbig_dist.artifacts.shelf import Artifact, Shelf

__all__ = ["SCHEMA", "Artifact", "Shelf", "content_key", "save_tensors", "sync_tree", "write_text"]
