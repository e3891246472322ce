"""`scbig scale`: the arithmetic from rates to a training, the size of a store, and what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from training_cases import TINY, make_store
from typer.testing import CliRunner

from scbig_dist.cli import app
from scbig_dist.errors import UserError
from scbig_dist.settings import build_config
from scbig_dist.store.reader import open_store
from scbig_dist.train import stopwatch
from scbig_dist.train.autoencoder_stage import AutoencoderStage
from scbig_dist.train.context import LocalContext
from scbig_dist.train.experiment import open_experiment
from scbig_dist.train.forecast import Screen, check_sizes, forecast, screen_of, screen_of_store, time_text
from scbig_dist.train.measure import Rates, measure

RATES = Rates(
    update=0.1, check_cell=1e-3, encode_cell=2e-4, space_cell=1e-4, micro_batch=0.05, alignment=0.03, optimizer=0.01, condition=0.2,
    read_cell=1e-6, components=2.0, component_cell=1e-5, modules=3.0, checkpoints={"autoencoder": 0.5, "flow": 0.25},
    parameters={"autoencoder": 1_000_000, "flow": 2_000_000}, host_gb=1.0, device_gb=3.0, stage_gb={"autoencoder": 0.5, "flow": 0.4},
)  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("store"))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A repetition or two of each part: these tests look at no time."""
    for name, value in {"LEAST": 1, "MOST": 2}.items():
        monkeypatch.setattr(stopwatch, name, value)


def test_a_time_has_the_unit_that_suits_it():
    seconds = (0.0, 0.42, 4.321, 95, 3000, 9000, 450_000, 4_500_000)
    shown = ["0 ms", "420 ms", "4.32 s", "1.58 min", "50 min", "2.5 h", "125 h", "1,250 h"]
    assert [time_text(each / 3600) for each in seconds] == shown


def test_hours_are_updates_times_their_seconds():
    config = build_config(
        {
            "autoencoder.batch": 100, "autoencoder.epochs": 10, "autoencoder.check_every": 5, "flow.steps": 400,
            "flow.accumulate": 4, "flow.validate_every": 100, "align.every": 2, "train.checkpoint_every": 50, "gcae.latent_dim": 50,
        }
    )  # fmt: skip
    screen = Screen(20_000, 1000, 80.0, n_train_cells=10_050, n_val=3, n_val_cells=2_000)
    found = forecast(config, screen, RATES, workers=1, bandwidth=1e9)
    first, second = found.stages
    assert (first.n_updates, second.n_updates) == (10 * 101, 100)
    assert first.update_ms == pytest.approx(100) and second.update_ms == pytest.approx(
        1e3 * (4 * 0.05 + 2 * 0.03 + 0.01)
    )
    seconds = {part: 3600 * hours for part, hours in found.parts.items()}
    assert seconds["stage 1: updates"] == pytest.approx(101)
    assert seconds["stage 1: checks"] == pytest.approx(2 * 2_000 * 1e-3)
    assert seconds["stage 2: alignment"] == pytest.approx(100 * 4 / 2 * 0.03)
    assert seconds["stage 2: validation"] == pytest.approx(4 * 3 * 0.2)
    assert seconds["stage 1: checkpoints"] == pytest.approx(math.ceil(1010 / 50) * 0.5)
    assert seconds["latents"] == pytest.approx(10_050 * (2e-4 + 1e-6))
    assert seconds["the flow's coordinates"] == pytest.approx(10_050 * 1e-4)
    assert seconds["components and modules"] == pytest.approx(5 + 10_050 * 1e-5)
    assert seconds["reading"] == seconds["sum of gradients"] == 0  # read ahead; nobody to sum with
    assert found.latents_gb == pytest.approx(20_000 * 50 * 4 / 1e9)
    assert found.hours == pytest.approx(sum(seconds.values()) / 3600) and found.dominant == "stage 1: updates"
    assert found.cpu_hours == pytest.approx(found.hours * config.train.threads) and found.gpu_hours == 0


def test_workers_share_micro_batches_and_sum_gradients():
    config = build_config({"flow.accumulate": 4, "flow.steps": 400, "train.workers": 4, "train.gpus": 1})
    screen = Screen(20_000, 1000, 80.0, n_train_cells=10_000, n_val=0, n_val_cells=0)
    found = forecast(config, screen, RATES, workers=4, bandwidth=1e9)
    summed = 2 * 3 / 4 * 2_000_000 * 4 / 1e9
    assert found.stages[1].update_ms == pytest.approx(1e3 * (0.05 + 0.03 + 0.01 + summed))
    assert found.gpu_hours == pytest.approx(4 * found.hours)
    assert found.device_gb == pytest.approx(3.0 + found.latents_gb) and found.host_gb < 1.2


def test_reading_counts_where_it_is_slower_than_the_step():
    config = build_config({"autoencoder.batch": 100, "autoencoder.epochs": 1})
    slow = Rates(**{**vars(RATES), "read_cell": 0.01})
    found = forecast(config, Screen(1000, 100, 8.0, 1000, 0, 0), slow, workers=1, bandwidth=1e9)
    assert found.stages[0].update_ms == pytest.approx(1e3 * 100 * 0.01)
    assert 3600 * found.parts["reading"] == pytest.approx(10 * (1.0 - 0.1))


def test_updates_of_a_real_stage_are_those_predicted(store: Path):
    config = build_config(TINY | {"store": str(store), "autoencoder.metacells": 0.25})
    screen = screen_of_store(config, None)
    stage = AutoencoderStage(open_experiment(config), LocalContext())
    assert forecast(config, screen, RATES, 1, 1e9).stages[0].n_updates == stage.n_steps


def test_a_stores_bytes_are_those_predicted(store: Path):
    opened = open_store(store)
    real = sum(shard.bytes for shard in opened.manifest.shards)
    entries = opened.manifest.n_entries / opened.n_cells
    screen = Screen(opened.n_cells, len(opened.genes), entries, opened.n_cells, 0, 0)
    assert screen.store_bytes == pytest.approx(real, rel=0.05)


def test_a_stores_screen_is_read_from_it_and_enlarged(store: Path):
    config = build_config(TINY | {"store": str(store), "panel.n_hvg": None})
    opened = open_store(store)
    screen, larger = screen_of_store(config, None), screen_of_store(config, 10 * opened.n_cells)
    assert (screen.n_cells, screen.n_genes, screen.n_val) == (opened.n_cells, len(opened.genes), 2)
    assert screen.entries_per_cell == pytest.approx(opened.manifest.n_entries / opened.n_cells, rel=0.1)
    assert larger.n_cells == 10 * opened.n_cells and larger.n_train_cells == 10 * screen.n_train_cells


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"gcae.encoder": "pca", "flow.target_embedding": "learned"},
        {"flow.train_autoencoder": True, "flow.conditions_per_step": 2, "train.precision": "bfloat16"},
        {"align.lambda_corr": 0.0, "autoencoder.accumulate": 2},
    ],
    ids=["default", "pca", "joint", "plain"],
)
def test_every_part_is_measured(quick: None, values: dict):
    config = build_config(TINY | values)
    rates = measure(config, n_genes=90, entries_per_cell=10.0, workers=1)
    assert rates.micro_batch > 0 and rates.optimizer > 0 and rates.condition > 0 and rates.read_cell > 0
    assert (rates.update > 0) == (config.gcae.encoder != "pca") == (rates.parameters["autoencoder"] > 0)
    assert (rates.encode_cell > 0) == (not config.flow.train_autoencoder)
    assert config.align.lambda_corr > 0 or rates.alignment == 0
    assert 0.05 < rates.host_gb < 5 and rates.device_gb == 0


def test_scale_prints_a_table_and_json(quick: None, store: Path, tmp_path: Path):
    options = [f"--set={address}={json.dumps(value)}" for address, value in TINY.items()]
    shown = CliRunner().invoke(app, ["scale", "--cells", "5000", "--genes", "90", *options])
    assert shown.exit_code == 0 and "dominates: " in shown.output and "autoencoder" in shown.output, shown.output
    told = CliRunner().invoke(app, ["scale", "--store", str(store), "--json", *options])
    found = json.loads(told.output)
    assert found["screen"]["n_cells"] == 1500 and {stage["name"] for stage in found["stages"]} == {
        "autoencoder",
        "flow",
    }
    assert found["hours"] == pytest.approx(sum(found["parts"].values())) and np.isfinite(found["hours"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "say how much, --cells N --genes G, or name a store"),
        (["--cells", "5000"], "say how much, --cells N --genes G"),
        (["--cells", "5000", "--genes", "20"], r"grc.n_modules=32 is above the panel's 20 genes"),
        (["--cells", "300", "--genes", "90"], "fewer than autoencoder.batch=256"),
        (["--cells", "5000", "--genes", "70000"], "a store holds at most 65536"),
        (["--cells", "5000", "--genes", "90", "--density", "1.5"], "--density 1.5: a share of non-zero counts"),
        (["--cells", "5000", "--genes", "90", "--conditions", "40"], "hold out 64 of them"),
        (["--store", "S", "--genes", "90"], "--genes 90: the store says that"),
        (["--cells", "5000", "--genes", "90", "--workers", "7"], "7"),
    ],
    ids=["no-size", "no-genes", "modules", "cells", "genes", "density", "conditions", "both", "workers"],
)
def test_scale_rejects(options: list[str], message: str):
    error = CliRunner().invoke(app, ["scale", *options]).exception
    assert isinstance(error, UserError), error
    assert message in str(error) and "\n" not in str(error)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_scale_rejects_an_absent_gpu():
    error = CliRunner().invoke(app, ["scale", "--cells", "5000", "--genes", "90", "--set", "train.gpus=1"]).exception
    assert isinstance(error, UserError) and "no GPU is visible" in str(error)


def test_scale_rejects_a_latent_wider_than_the_panel():
    config = build_config({"gcae.encoder": "pca", "gcae.latent_dim": 50})
    with pytest.raises(UserError, match=r"gcae.latent_dim=50 is above the panel's 40 genes"):
        check_sizes(config, screen_of(config, 100_000, 40, 0.1, 200))
