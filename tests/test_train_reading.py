"""A run that reads its cells in pools, or in parts, is as exact as any other, and says what it waited."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from training_cases import TINY, Interrupted, StopsAfter, make_store

from scbig_dist.models.scbig import ScBIG
from scbig_dist.settings import build_config
from scbig_dist.train.autoencoder_stage import AutoencoderStage
from scbig_dist.train.context import LocalContext
from scbig_dist.train.experiment import open_experiment, settle
from scbig_dist.train.inputs import prepare
from scbig_dist.train.run import train_run

POOLS = TINY | {"data.shuffle": "pools", "data.block_cells": 8, "data.pool_cells": 200, "autoencoder.metacells": 0.2}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_store(tmp_path_factory.mktemp("reading")))


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "model" / "weights.safetensors")


@pytest.mark.parametrize(
    "values", [{}, {"flow.train_autoencoder": True, "flow.steps": 40, "autoencoder.accumulate": 3}]
)
def test_pooled_run_resumes_to_the_same_bits(store, tmp_path, values):
    config = settle(build_config(POOLS | values | {"store": store}))
    train_run(config, tmp_path / "whole", LocalContext(), progress=False)
    with pytest.raises(Interrupted):
        train_run(config, tmp_path / "cut", StopsAfter(25), progress=False)
    train_run(config, tmp_path / "cut", LocalContext(), resume=True, progress=False)
    whole, cut = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(torch.equal(value, cut[name]) for name, value in whole.items())


def test_run_says_what_share_of_its_time_it_waited(store, tmp_path):
    shared = tmp_path / "artifacts"
    full = settle(build_config(TINY | {"store": store, "flow.steps": 20}))
    pools = settle(build_config(POOLS | {"store": store, "flow.steps": 20, "autoencoder.metacells": 0.0}))
    train_run(full, tmp_path / "full", LocalContext(), artifact_root=shared, progress=False)
    train_run(pools, tmp_path / "pools", LocalContext(), artifact_root=shared, progress=False)
    summary = json.loads((tmp_path / "pools" / "run.json").read_text())
    assert not summary["autoencoder_reused"], "the order of cells is a part of what stage 1 learns"
    assert 0 <= summary["data_wait"] < 1 and 0 <= summary["autoencoder_data_wait"] < 1
    records = [json.loads(line) for line in (tmp_path / "pools" / "metrics.jsonl").read_text().splitlines()]
    assert all(0 <= record["data_wait"] < 1 for record in records)


def test_parts_of_an_update_add_up_to_it(store, tmp_path):
    experiment = open_experiment(settle(build_config(POOLS | {"store": store, "autoencoder.accumulate": 3})))
    whole = open_experiment(settle(build_config(POOLS | {"store": store})))
    model = ScBIG(prepare(experiment, tmp_path).inputs, experiment.config).eval()
    last = AutoencoderStage(whole, LocalContext()).n_steps - 1
    for step in (0, last):
        one = list(AutoencoderStage(whole, LocalContext()).micro_batches(step))
        parts = list(AutoencoderStage(experiment, LocalContext()).micro_batches(step))
        assert (len(one), len(parts)) == (1, 3)
        assert sorted(map(tuple, torch.cat([part.x for part in parts]).tolist())) == sorted(
            map(tuple, one[0].x.tolist())
        )
        with torch.no_grad():
            total = np.mean([float(model.loss("autoencoder", part).total) for part in parts])
            assert total == pytest.approx(float(model.loss("autoencoder", one[0]).total), rel=1e-6)
