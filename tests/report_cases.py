"""Runs and studies on disk as training and sweeping leave them, for the tests of the report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

METHODS = {"scBIG": 0.62, "Ridge-additive": 0.78, "Additive": 0.76, "Linear": 0.59, "Mean-shift": 0.42, "Control": None}
HARDWARE = "2 × AMD EPYC 7B13, 8 GB, no GPU"


def write_run(
    path: Path, rng: np.random.Generator, config: Mapping[str, Any] | None = None, scored: bool = True
) -> Path:
    """A finished run with logs, scores and per-condition scores."""
    path.mkdir(parents=True)
    (path / "config.yaml").write_text(
        yaml.safe_dump(dict(config or {"grc": {"n_modules": 32}, "flow": {"steps": 3000}}))
    )
    log = []
    for step in range(0, 400, 20):
        log.append({"stage": "autoencoder", "step": step, "loss": 0.3 + 0.5 * np.exp(-step / 80)})
    for step in range(0, 3000, 100):
        row = {"stage": "flow", "step": step, "micro_step": step, "loss_flow": 1 + np.exp(-step / 400)}
        row |= {"loss_corr": 0.2 + 0.1 * np.exp(-step / 900), "loss": 1.1 + np.exp(-step / 400)}
        if step % 500 == 0:
            row["val_pearson_delta"] = 0.6 * (1 - np.exp(-(step + 200) / 700)) + rng.normal(0, 0.01)
        log.append(row)
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in log))
    summary = {"n_parameters": 1_204_331, "seconds_autoencoder": 71.2, "seconds_flow": 43.0, "step_ms": 14.2}
    summary |= {"cells_per_s": 18_000, "peak_mem_gb": 1.31, "hardware": HARDWARE, "n_genes": 1657}
    summary |= {"n_train_cells": 31_500, "data_label": "semi-synthetic", "versions": {"torch": "2.13.0"}}
    (path / "run.json").write_text(json.dumps(summary))
    if scored:
        names = ("pearson_delta", "pearson_delta_de", "acc", "mse", "l2", "e_dist")
        scores, rows = {}, []
        for method, level in METHODS.items():
            scores[method] = {m: level for m in names} | {"pds": 0.5}
            for i in range(12 if level else 0):
                score = float(np.clip((level or 0) + rng.normal(0, 0.08), -1, 1))
                rows.append({"method": method, "part": "test", "condition": f"k562/A{i}+B{i}", "pearson_delta": score})
        (path / "scores.json").write_text(json.dumps(scores))
        ceiling = dict.fromkeys(names, 0.83)
        (path / "scores_meta.json").write_text(json.dumps({"latent_ceiling": ceiling, "part_scores": {}}))
        (path / "split.json").write_text(
            json.dumps({"kind": "additive", "test": [f"k562/A{i}+B{i}" for i in range(12)]})
        )
        pd.DataFrame(rows).to_parquet(path / "conditions.parquet")
    return path


def write_study(
    path: Path, axes: Mapping[str, Sequence[Any]], published: str | None = None, metric: str = "val_pearson_delta"
) -> Path:
    """A grid over `axes`: the last trial failed, the one before was stopped, the first is the best by validation."""
    rng = np.random.default_rng(0)
    path.mkdir(parents=True)
    asked = {"name": path.name, "metric": metric, "seed": 0, "axes": {a: list(v) for a, v in axes.items()}}
    (path / "study.yaml").write_text(yaml.safe_dump(asked | ({"published": published} if published else {})))
    rows = []
    settings = list(product(*axes.values()))
    for i, values in enumerate(settings):
        status = "failed" if i == len(settings) - 1 else "stopped" if i == len(settings) - 2 else "finished"
        row: dict[str, Any] = {"trial": f"{i:03d}", "status": status, **dict(zip(axes, values, strict=True))}
        row |= {"reason": {"failed": "out of memory", "stopped": "rung 1 of ASHA", "finished": ""}[status]}
        row |= {"error": "Traceback …\nRuntimeError: no memory left" if status == "failed" else None}
        if status != "failed":
            row["val_pearson_delta"] = 0.7 - 0.02 * i + rng.normal(0, 0.002)
            row |= {"val_mse": 0.004 + 0.0002 * i, "step_ms": 12.0 + 3 * i, "peak_mem_gb": 1.1 + 0.1 * i}
            row |= {
                "seconds_total": 100.0 + 7 * i,
                "n_parameters": 1_000_000 + i,
                "budget": 3000 if status == "finished" else 1000,
            }
            nested: dict[str, Any] = {"flow": {"steps": 3000, "accumulate": 20}}
            for address, value in zip(axes, values, strict=True):
                section, name = address.split(".")
                nested.setdefault(section, {})[name] = value
            write_run(path / "trials" / row["trial"], rng, nested, scored=i == 0)
        if i == 0:
            row |= {"test_pearson_delta": 0.62, "test_mse": 0.005}
        rows.append(row)
    pd.DataFrame(rows).to_parquet(path / "trials.parquet")
    return path
