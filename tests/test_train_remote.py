"""A training on a store behind a URI: the same run, and only the shards that it reads."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from remote_cases import s3_server, store_of_shards, upload
from training_cases import TINY, make_store, write_study
from typer.testing import CliRunner

from scbig_dist.cli import app
from scbig_dist.cluster.plan import make_plan
from scbig_dist.cluster.study import read_study
from scbig_dist.conditions import Condition
from scbig_dist.config import Config
from scbig_dist.errors import UserError
from scbig_dist.settings import build_config, load_config
from scbig_dist.train.context import LocalContext
from scbig_dist.train.experiment import settle
from scbig_dist.train.predictor import load_predictor
from scbig_dist.train.run import train_run

SHORT = TINY | {"flow.steps": 8, "flow.validate_every": 4, "autoencoder.epochs": 1}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("far"))


def call(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def settings(**named: Any) -> Config:
    return settle(build_config(SHORT | {name.replace("__", "."): value for name, value in named.items()}))


def weights(run: Path) -> bytes:
    return (run / "model" / "weights.safetensors").read_bytes()


def test_commands_take_a_uri_and_train_the_same_run(store: Path, tmp_path: Path) -> None:
    sets = [part for name, value in SHORT.items() for part in ("--set", f"{name}={json.dumps(value)}")]
    with s3_server() as port:
        uri, cache = upload(store, port, "screen"), tmp_path / "cache"
        assert json.loads(call("store", "info", uri, "--json"))["path"] == uri
        assert call("store", "check", uri).endswith("OK, every shard matches its checksum\n")
        call("train", "--store", uri, "-o", tmp_path / "far", *sets, "--set", f"data.cache={cache}")
        assert load_config(tmp_path / "far" / "config.yaml").store == uri
        call("evaluate", tmp_path / "far")
        study = write_study(tmp_path / "study.py", axes={"flow.lr": [1e-3, 1e-4]}, fixed={"data.cache": str(cache)})
        plan = make_plan(read_study(study), study, {"store": uri})
        assert plan.base.store == uri and plan.config({"flow.lr": 1e-3}).store == uri
        assert "flow.lr" in call("sweep", study, "--store", uri, "--dry-run")
    call("train", "--store", store, "-o", tmp_path / "near", *sets)
    assert weights(tmp_path / "far") == weights(tmp_path / "near")
    assert json.loads((tmp_path / "far" / "scores.json").read_text())["scBIG"]


def test_training_on_one_context_brings_only_its_shards(tmp_path: Path) -> None:
    """12 conditions, a shard each: those of A549, and the control of K562 from which is predicted."""
    store, cache = store_of_shards(tmp_path, 240, 20), tmp_path / "cache"
    config = settings(
        store=f"file://{store}",
        data__cache=str(cache),
        data__placement="shard",
        split__kind="transfer",
        split__train_context="A549",
        split__test_context="K562",
        split__n_val=1,
        panel__n_hvg=None,
    )
    assert not list(cache.rglob("cells-*"))
    train_run(config, tmp_path / "run", LocalContext(), progress=False)
    expected = {f"cells-{place:05d}.arrow" for place in [*range(6), 11]}
    assert {path.name for path in cache.rglob("cells-*")} == expected
    shutil.rmtree(cache)
    cells = load_predictor(tmp_path / "run").predict(Condition("K562", "GENE3"), 16, 0)
    assert cells.shape == (16, 160) and np.isfinite(cells).all()
    assert {path.name for path in cache.rglob("cells-*")} == {"cells-00011.arrow"}


def test_settle_keeps_a_uri_and_roots_the_cache(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = settings(store=f"file://{store}", data__cache="mine")
    assert config.store == f"file://{store}" and config.data.cache == str(tmp_path / "mine")
    assert settings(store=f"file://{store}", data__cache="~/mine", data__placement="shard").data.cache == "~/mine"


def test_train_rejects_a_panel_larger_than_the_store(store: Path) -> None:
    with pytest.raises(UserError, match=r"--set panel.n_hvg=5000: store .* has \d+ ranked genes; lower it"):
        asked = {"panel.n_hvg": 5000}
        settle(build_config(SHORT | asked | {"store": str(store)}), asked)


def test_train_says_that_a_preset_asks_for_more_genes_than_there_are(tmp_path: Path) -> None:
    store = store_of_shards(tmp_path)
    config = settings(store=str(store), panel__n_hvg=2000, split__n_test=1, split__n_val=0)
    train_run(config, tmp_path / "run", LocalContext(), progress=False)
    notes = json.loads((tmp_path / "run" / "setup.json").read_text())["notes"]
    assert "panel.n_hvg=2000 is above the 160 genes of the source: all are taken" in notes


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize("more", [[], ["--workers", 2]])
def test_train_rejects_a_gpu_that_is_absent(store: Path, tmp_path: Path, more: list[object]) -> None:
    arguments = [
        "train",
        "--store",
        store,
        "-o",
        tmp_path / "run",
        "--set",
        "train.gpus=1",
        "--set",
        "train.threads=1",
        *more,
    ]
    with pytest.raises(UserError, match=r"no GPU is visible to this process|missing 1 GPUs on one node") as caught:
        call(*arguments)
    assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_sweep_rejects_a_gpu_that_is_absent(store: Path, tmp_path: Path) -> None:
    study = write_study(tmp_path / "study.py", axes={"flow.lr": [1e-3, 1e-4]}, fixed={"train.gpus": 1.0})
    with pytest.raises(UserError, match="missing 1 GPUs on one node"):
        call("sweep", study, "--store", store, "-o", tmp_path / "study")
    assert not (tmp_path / "study").exists()
