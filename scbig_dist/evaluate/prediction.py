"""Predicted cells as an AnnData file, written."""

from __future__ import annotations

import hashlib
import os
import uuid
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scbig_dist.conditions import Condition
from scbig_dist.config import Config
from scbig_dist.models.names import method_name
from scbig_dist.new_file import PatientFile
from scbig_dist.settings import dump_config


def write_prediction(
    path: Path, cells: NDArray[np.float32], genes: list[str], condition: Condition, config: Config, run: Path, seed: int
) -> None:
    """Write (cell, gene) predictions as log-normalised expression, clamped at 0; an older file is replaced in one step.

    `obs` holds `condition` and `context` (and `dose`, where the condition has one), `uns["scbig"]` the provenance.
    """
    obs = pd.DataFrame(
        {"condition": condition.perturbation, "context": condition.context},
        index=[f"predicted_{row}" for row in range(len(cells))],
    )
    if condition.dose is not None:
        obs["dose"] = condition.dose
    write_cells(path, np.maximum(cells, 0.0), obs, genes, provenance(config, run, seed))


def provenance(config: Config, run: Path, seed: int) -> dict[str, Any]:
    """Where predicted cells come from, for `uns["scbig"]`."""
    return {
        "source": f"predicted by {method_name(config)}",
        "version": version("scbig-dist"),
        "run": str(run),
        "config_sha256": hashlib.sha256(dump_config(config).encode()).hexdigest(),
        "seed": seed,
        "expression": f"log1p, library size {config.data.target_sum:g}",
    }


def write_cells(path: Path, x: Any, obs: pd.DataFrame, genes: list[str], source: dict[str, Any]) -> None:
    """An .h5ad of expression (cell, gene), dense or CSR; the file appears whole, an older one is replaced."""
    import anndata as ad  # half a second to import, which every trial would pay
    import h5py
    from anndata.io import write_elem

    data = ad.AnnData(X=x, obs=obs, var=pd.DataFrame(index=genes))
    data.uns["scbig"] = source
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}-{uuid.uuid4().hex[:8]}")
    try:
        # A full disk under HDF5's own file would end in its tracebacks and a crash.
        with PatientFile(beside) as file:
            with h5py.File(file, "w") as h5:
                write_elem(h5, "/", data)
            file.check()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
