"""Evaluated runs on disk whose scores are known, for the tests of `scbig compare`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

CONDITIONS = [f"k562/A{i}+B{i}" for i in range(24)]


def write_scored(
    path: Path,
    scores: Mapping[str, Sequence[float] | np.ndarray],
    conditions: Sequence[str] = CONDITIONS,
    seed: int = 0,
    split_seed: int = 0,
    store: str = "key",
    settings: Mapping[str, Any] | None = None,
    subset: Sequence[str | None] | None = None,
) -> Path:
    """A run as `scbig evaluate` leaves it: {method: pearson_delta by condition}, the first its model; mse is its mirror."""
    path.mkdir(parents=True)
    config = {
        "store": str(path / "anywhere"),
        "train": {"seed": seed},
        "split": {"seed": split_seed, "kind": "additive"},
    }
    (path / "config.yaml").write_text(yaml.safe_dump(config | dict(settings or {})))
    (path / "store.json").write_text(json.dumps({"key": store}))
    (path / "scores_meta.json").write_text(json.dumps({"model": next(iter(scores))}))
    names = {
        "part": "test",
        "subset": subset or [None] * len(conditions),
        "condition": list(conditions),
        "n_significant": 9,
    }
    frames = [
        pd.DataFrame({"method": method, **names, "pearson_delta": values, "mse": 1 - np.array(values, dtype=float)})
        for method, values in scores.items()
    ]
    pd.concat(frames).to_parquet(path / "conditions.parquet")
    return path
