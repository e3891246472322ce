"""`scbig evaluate` and `scbig predict` on a run that was really trained, a little."""

from __future__ import annotations

import json
from pathlib import Path

import anndata as ad
import pytest
from evaluate_cases import N_GENES, make_store

from scbig_dist.cli.evaluate import evaluate, predict
from scbig_dist.errors import UserError
from scbig_dist.settings import load_config
from scbig_dist.train.context import LocalContext
from scbig_dist.train.experiment import settle
from scbig_dist.train.run import train_run

SETTINGS = {
    "panel.n_hvg": None,
    "split.n_test": 3,
    "split.n_val": 1,
    "priors.embedding_dim": 8,
    "grc.n_modules": 4,
    "gcae.encoder": "pca",
    "gcae.latent_dim": 10,
    "flow.target_embedding": "learned",
    "flow.batch": 32,
    "flow.steps": 4,
    "flow.accumulate": 1,
    "flow.validate_every": 4,
    "flow.width": 16,
    "flow.condition_dim": 16,
    "flow.n_heads": 2,
    "flow.solver": "euler",
    "align.lambda_corr": 0,
    "align.lambda_path": 0,
    "evaluate.n_cells": 40,
    "evaluate.n_val_cells": 16,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    store = make_store(folder)
    config = settle(load_config(None, {**SETTINGS, "store": str(store.path)}))
    train_run(config, folder / "run", LocalContext(0.0), progress=False)
    return folder / "run"


def test_evaluate_scores_a_trained_run_and_prints_the_table(run, capsys):
    evaluate(run)
    out, _ = capsys.readouterr()
    scores = json.loads((run / "scores.json").read_text())
    for method in scores:
        assert method in out
    assert "latent ceiling" in out and "latent ceiling" not in scores
    assert scores["scBIG"]["mse"] > 0
    first = (run / "scores.json").read_bytes()
    evaluate(run)  # again: the same draws, the same bytes
    assert (run / "scores.json").read_bytes() == first


def test_predict_writes_cells_of_the_asked_condition(run, tmp_path):
    predict(run, "B+A", tmp_path / "cells.h5ad", context="rpe1", n_cells=7)
    data = ad.read_h5ad(tmp_path / "cells.h5ad")
    assert data.shape == (7, N_GENES)
    assert data.X.min() >= 0
    assert set(data.obs["condition"]) == {"A+B"}


@pytest.mark.parametrize(
    ("condition", "output", "message"),
    [
        ("A+Q", "cells.h5ad", "target 'Q'"),
        ("control", "cells.h5ad", "nothing to predict"),
        ("A", "cells.csv", "not an .h5ad name"),
        ("A", "file/cells.h5ad", "is a file, not a folder"),
        ("A", ".", "a directory"),
    ],
)
def test_predict_refuses_and_writes_nothing(run, tmp_path, condition, output, message):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=message):
        predict(run, condition, tmp_path / output, context="k562", n_cells=2)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_evaluate_refuses_what_is_no_run(tmp_path):
    with pytest.raises(UserError, match="not a run"):
        evaluate(tmp_path)
