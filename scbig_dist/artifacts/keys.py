"""The name of an artefact: a hash of its kind, of what went in, and of the version of the arrow that makes it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

# Raised where the meaning or the layout of an artefact changes; old ones are then made anew.
SCHEMA = {"pca": 1, "modules": 1, "autoencoder": 1, "latents": 1, "shift": 1, "flow": 2, "scores": 1, "de": 1}


def content_key(kind: str, inputs: Mapping[str, Any]) -> str:
    """A name for the artefact that these inputs determine: 16 hex digits."""
    text = json.dumps({"kind": kind, "schema": SCHEMA[kind], **inputs}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
