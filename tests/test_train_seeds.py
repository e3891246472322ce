"""`scbig train --seeds` and `scbig evaluate` of what it leaves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from evaluate_cases import make_store
from run_cases import SETTINGS

from scbig_dist.cli.compare import compare
from scbig_dist.cli.evaluate import evaluate
from scbig_dist.cli.train import train
from scbig_dist.errors import UserError


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> str:
    return str(make_store(tmp_path_factory.mktemp("seeds-store"), contexts=("k562",)).path)


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    tree: dict = {}
    for address, value in SETTINGS.items():
        section, name = address.split(".")
        tree.setdefault(section, {})[name] = value
    path = tmp_path_factory.mktemp("seeds-config") / "small.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


@pytest.fixture(scope="module")
def folder(store, config, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("seeds") / "several"
    train(config, store=store, output=path, seeds=3, set_=["train.seed=4"])
    return path


def test_each_seed_is_a_run_and_their_artefacts_lie_together(folder):
    assert json.loads((folder / "seeds.json").read_text()) == {"seeds": [4, 5, 6]}
    configs = [yaml.safe_load((folder / f"seed-{seed}/config.yaml").read_text()) for seed in (4, 5, 6)]
    assert [each["train"].pop("seed") for each in configs] == [4, 5, 6]
    assert configs[0] == configs[1] == configs[2]
    assert list((folder / "artifacts").glob("pca-*"))
    assert not any((folder / f"seed-{seed}/artifacts").exists() for seed in (4, 5, 6))


def test_evaluate_of_seeds_is_mean_and_sd(folder, capsys):
    evaluate(folder)
    out = capsys.readouterr().out
    assert "3 seeds" in out and "±" in out
    tables = [json.loads((folder / f"seed-{seed}/scores.json").read_text()) for seed in (4, 5, 6)]
    kept = json.loads((folder / "seed_scores.json").read_text())
    values = [table["CellFlow"]["pearson_delta"] for table in tables]
    assert len(set(values)) == 3
    assert kept["CellFlow"]["pearson_delta"]["mean"] == pytest.approx(np.mean(values))
    assert kept["CellFlow"]["pearson_delta"]["sd"] == pytest.approx(np.std(values, ddof=1))
    assert kept["Ridge-additive"]["mse"]["sd"] == pytest.approx(0, abs=1e-12)  # no seed of a training moves it
    assert kept["Control"]["pearson_delta"] == {
        "mean": None, "sd": None, "n": 0, "runs": {"seed-4": None, "seed-5": None, "seed-6": None},
    }  # fmt: skip


def test_seeds_compare_with_a_baseline(folder, capsys):
    compare([folder], with_=["Ridge-additive"], metric=["pearson_delta"])
    out = capsys.readouterr().out
    assert "several" in out and "(3)" in out and "Ridge-additive" in out


def test_resume_ends_what_is_left_and_may_add_seeds(folder, store, config, tmp_path):
    path = tmp_path / "several"
    train(config, store=store, output=path, seeds=2)
    (path / "seed-1" / "run.json").unlink()
    before = (path / "seed-0" / "run.json").read_bytes()
    weights = (path / "seed-1" / "model" / "weights.safetensors").read_bytes()
    train(output=path, resume=True)
    assert (path / "seed-0" / "run.json").read_bytes() == before
    assert (path / "seed-1" / "model" / "weights.safetensors").read_bytes() == weights
    train(output=path, resume=True, seeds=3)
    assert json.loads((path / "seeds.json").read_text()) == {"seeds": [0, 1, 2]}
    assert (path / "seed-2" / "run.json").is_file()
    with pytest.raises(UserError, match=r"has the seeds 0 to 2, asked for are 0 to 1"):
        train(output=path, resume=True, seeds=2)


def test_train_rejects_seeds_where_something_is(folder, store, config, tmp_path):
    with pytest.raises(UserError, match="holds seeds; go on with them by --resume"):
        train(config, store=store, output=folder, seeds=3)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is not empty"):
        train(config, store=store, output=tmp_path, seeds=3)
    with pytest.raises(UserError, match="holds no seeds that have begun"):
        train(config, store=store, output=tmp_path / "new", seeds=3, resume=True)


def test_a_mistake_found_before_the_first_step_can_be_mended(store, config, tmp_path):
    with pytest.raises(UserError, match=r"priors\.target_embedding|no such file"):
        wrong = [f"priors.target_embedding={tmp_path / 'none.npz'}", "flow.target_embedding=frozen"]
        train(config, store=store, output=tmp_path / "s", seeds=2, set_=wrong)
    train(config, store=store, output=tmp_path / "s", seeds=2)
    assert (tmp_path / "s/seed-1/run.json").is_file()


def test_evaluate_rejects_files_for_several_runs(folder, tmp_path):
    for options in ({"cell_eval": tmp_path}, {"prediction": [tmp_path / "p.h5ad"]}):
        with pytest.raises(UserError, match=r"holds 3 runs; name one of them, e\.g\. .*seed-4"):
            evaluate(folder, **options)
