"""The version of what a study leaves on disk: raised where a file changes its meaning, so that no reader misreads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

STUDY_SCHEMA = 2
"""`schema` of study.yaml; a study without one is of version 1. 2: two metrics, trials of several seeds (their runs one
folder further down), decisions to stop in Optuna's storage, which may lie elsewhere."""


def schema_of(asked: Mapping[str, Any]) -> Any:
    """The version of a study from its study.yaml."""
    return asked.get("schema", 1)
