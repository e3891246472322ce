"""Every trained baseline through the whole run: trained, stopped and resumed, loaded, scored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from training_cases import TINY, Interrupted, StopsAfter, make_store

from scbig_dist.conditions import Condition
from scbig_dist.config import Config
from scbig_dist.errors import UserError
from scbig_dist.evaluate.run import evaluate_run
from scbig_dist.models.names import method_name
from scbig_dist.settings import build_config
from scbig_dist.train.context import LocalContext
from scbig_dist.train.experiment import settle
from scbig_dist.train.predictor import load_predictor
from scbig_dist.train.run import train_run

NAMES = ["samsvae", "cpa", "gears", "scgen"]
SMALL = TINY | {
    "baseline.width": 16, "baseline.latent_dim": 8, "baseline.batch": 32, "baseline.conditions_per_step": 4,
    "baseline.steps": 24, "baseline.validate_every": 8, "baseline.dropout": 0.1, "train.checkpoint_every": 5,
}  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_store(tmp_path_factory.mktemp("baselines")))


def settings(store: str, name: str, **values: Any) -> Config:
    return settle(build_config({"store": store, **SMALL, "model.name": name, **values}))


@pytest.mark.parametrize("name", NAMES)
def test_a_baseline_trains_resumes_to_the_same_bits_and_is_scored(store: str, name: str, tmp_path: Path) -> None:
    config = settings(store, name)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train_run(config, whole, LocalContext(), progress=False)
    with pytest.raises(Interrupted):
        train_run(config, cut, StopsAfter(13), progress=False)
    train_run(config, cut, LocalContext(), resume=True, progress=False)
    one, other = (load_file(run / "model" / "weights.safetensors") for run in (whole, cut))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)

    predictor = load_predictor(whole)
    cells = predictor.predict(predictor.split.test[0], 20, seed=1)
    assert cells.shape == (20, predictor.n_genes) and np.isfinite(cells).all()
    evaluate_run(whole)
    scores = json.loads((whole / "scores.json").read_text())[method_name(config)]
    assert np.isfinite(scores["pearson_delta"]) and np.isfinite(scores["mse"])
    records = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    assert {record["stage"] for record in records} == {"cells"}
    assert np.isfinite([record["val_pearson_delta"] for record in records if "val_pearson_delta" in record]).all()


@pytest.mark.parametrize("name", ["samsvae", "gears", "scgen"])
def test_unseen_targets_are_undefined_without_a_prior(store: str, name: str, tmp_path: Path) -> None:
    config = settings(store, name, **{"split.kind": "holdout", "split.n_test": 2, "split.n_val": 0})
    train_run(config, tmp_path / "run", LocalContext(), progress=False)
    predictor = load_predictor(tmp_path / "run")
    assert np.isnan(predictor.predict(predictor.split.test[0], 4, seed=0)).all()
    with pytest.raises(UserError, match="GENE-X"):
        predictor.predict(Condition(predictor.split.test[0].context, "GENE-X"), 4, seed=0)


def test_cpa_is_refused_unseen_targets_without_a_prior(store: str, tmp_path: Path) -> None:
    config = settings(store, "cpa", **{"split.kind": "holdout", "split.n_test": 2, "split.n_val": 0})
    with pytest.raises(UserError, match="nothing is known of them"):
        train_run(config, tmp_path / "run", LocalContext(), progress=False)
    assert not (tmp_path / "run").exists()
