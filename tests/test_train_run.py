"""A whole run in one process: it ends, it resumes to the same bits, it shares, it refuses."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from training_cases import TINY, Interrupted, StopsAfter, make_store

from scbig_dist.conditions import Condition
from scbig_dist.config import Config
from scbig_dist.errors import UserError
from scbig_dist.nn.condition import ConditionEncoder
from scbig_dist.settings import build_config
from scbig_dist.train.context import LocalContext
from scbig_dist.train.experiment import open_experiment, settle
from scbig_dist.train.predictor import load_predictor
from scbig_dist.train.run import train_run
from scbig_dist.train.writer import sole_writer

SMALL = TINY | {"gcae.dropout": 0.1, "flow.dropout": 0.1, "autoencoder.metacells": 0.2, "flow.conditions_per_step": 2}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_store(tmp_path_factory.mktemp("train")))


def settings(store: str, **values: Any) -> Config:
    named = {name.replace("__", "."): value for name, value in values.items()}
    return settle(build_config({"store": store, **SMALL, **named}))


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "model" / "weights.safetensors")


def assert_same_bits(one: Path, other: Path) -> None:
    left, right = weights(one), weights(other)
    assert left.keys() == right.keys()
    for name, value in left.items():
        assert torch.equal(value, right[name]), name


def test_run_leaves_a_model_that_predicts(store, tmp_path):
    train_run(settings(store), tmp_path / "run", LocalContext(), progress=False)
    predictor = load_predictor(tmp_path / "run")
    condition = predictor.split.test[0]
    cells = predictor.predict(condition, 40, seed=1)
    assert cells.shape == (40, predictor.n_genes)
    assert np.isfinite(cells).all()
    assert np.array_equal(cells, predictor.predict(condition, 40, seed=1))
    summary = json.loads((tmp_path / "run" / "run.json").read_text())
    assert summary["data_label"] == "simulated"
    assert summary["n_parameters"] > 0
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert {"autoencoder", "flow"} == {record["stage"] for record in records}
    assert any("val_pearson_delta" in record for record in records)


@pytest.mark.parametrize("n", [5, 25, 60, 75])
def test_resumed_equals_never_stopped(store, tmp_path, n):
    config = settings(store)
    train_run(config, tmp_path / "whole", LocalContext(), progress=False)
    with pytest.raises(Interrupted):
        train_run(config, tmp_path / "cut", StopsAfter(n), progress=False)
    train_run(config, tmp_path / "cut", LocalContext(), resume=True, progress=False)
    assert_same_bits(tmp_path / "whole", tmp_path / "cut")
    steps = [json.loads(line) for line in (tmp_path / "cut" / "metrics.jsonl").read_text().splitlines()]
    flow = [record["step"] for record in steps if record["stage"] == "flow"]
    assert flow == sorted(set(flow)), "a record of the interrupted try is left"


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json", "sha256.json"])
@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_damaged_checkpoint_is_said_and_gives_way_to_the_one_before(store, tmp_path, interrupted, name, damage):
    shutil.copytree(interrupted / "cut", tmp_path / "cut")
    newest = sorted((tmp_path / "cut" / "checkpoints" / "flow").glob("step-*"))[-1] / name
    content = bytearray(newest.read_bytes())
    content[-3] ^= 1  # a weight, a digit: what a length or a parser does not show
    newest.write_bytes(content[: len(content) // 2] if damage == "cut" else content)
    train_run(settings(store), tmp_path / "cut", LocalContext(), resume=True, progress=False)
    assert_same_bits(interrupted / "whole", tmp_path / "cut")
    [said] = (tmp_path / "cut" / "warnings.txt").read_text().splitlines()
    assert newest.parent.name in said and "damaged" in said and "the one before it is used" in said
    [again] = [json.loads(line) for line in (tmp_path / "cut" / "repeated.jsonl").read_text().splitlines()]
    assert again["stage"] == "flow" and 0 < again["reached"] - again["from"] <= 2 * 10


@pytest.fixture(scope="module")
def interrupted(store: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`whole`, a run to its end, and `cut`, the same stopped between two checkpoints of stage 2."""
    folder = tmp_path_factory.mktemp("interrupted")
    train_run(settings(store), folder / "whole", LocalContext(), progress=False)
    with pytest.raises(Interrupted):
        train_run(settings(store), folder / "cut", StopsAfter(75), progress=False)
    return folder


def test_a_stage_begun_by_another_run_goes_on_from_its_checkpoint(store, tmp_path):
    shared, config = tmp_path / "artifacts", settings(store)
    with pytest.raises(Interrupted):
        train_run(config, tmp_path / "died", StopsAfter(25), artifact_root=shared, progress=False)
    assert list(shared.glob("unfinished/autoencoder-*/step-*"))
    other = settings(store, align__lambda_corr=1.0)
    train_run(other, tmp_path / "heir", LocalContext(), artifact_root=shared, progress=False)
    steps = [json.loads(line) for line in (tmp_path / "heir" / "metrics.jsonl").read_text().splitlines()]
    assert min(record["step"] for record in steps if record["stage"] == "autoencoder") > 20
    train_run(other, tmp_path / "alone", LocalContext(), progress=False)
    assert_same_bits(tmp_path / "heir", tmp_path / "alone")
    assert not list(shared.glob("unfinished/*"))


def test_a_second_process_does_not_train_into_the_same_run(tmp_path):
    taken = pytest.raises(UserError, match="another process has been training there")
    with sole_writer(tmp_path), taken, sole_writer(tmp_path, wait_s=0):
        pass
    with sole_writer(tmp_path, wait_s=0):  # free again
        pass


def test_runs_with_a_common_beginning_share_it(store, tmp_path):
    shared = tmp_path / "artifacts"
    train_run(settings(store), tmp_path / "first", LocalContext(), artifact_root=shared, progress=False)
    other = settings(store, align__lambda_corr=1.0)
    train_run(other, tmp_path / "second", LocalContext(), artifact_root=shared, progress=False)
    train_run(other, tmp_path / "alone", LocalContext(), progress=False)
    assert json.loads((tmp_path / "second" / "run.json").read_text())["autoencoder_reused"]
    assert not (tmp_path / "second" / "checkpoints" / "autoencoder").exists()
    assert_same_bits(tmp_path / "second", tmp_path / "alone")
    assert len(list(shared.glob("autoencoder-*"))) == 1


@pytest.mark.parametrize(
    "values",
    [
        {"gcae__encoder": "pca"},
        {"gcae__encoder": "plain", "gcae__pooling": "attention", "gcae__projection": "shared"},
        {"gcae__pooling": "set_transformer", "flow__pooling": "attention", "flow__solver": "tsit5"},
        {"flow__train_autoencoder": True, "flow__coupling": "exact"},
        {"flow__coupling": "none", "flow__latent_scale": "unit", "flow__condition_drop": 0.9},
        {"gcae__pooling": "flat", "gcae__skip": "learned", "gcae__shift_weight": 10.0, "align__targets": "decoded"},
        {"gcae__encoder": "mlp", "gcae__skip": "frozen", "flow__latent_scale": "expression"},
        {"autoencoder__metacells": 0.5, "autoencoder__metacell_weight": 10.0, "flow__schedule": "cosine"},
        {"grc__clustering": "kmeans", "priors__gene_embedding": "random"},
        {"grc__clustering": "none", "priors__gene_embedding": None},
        {"grc__clustering": "soft", "train__precision": "bfloat16"},
        {"align__lambda_corr": 0.0, "align__lambda_path": 0.0, "split__n_val": 0},
    ],
    ids=lambda values: " ".join(f"{name}={value}" for name, value in values.items()),
)
def test_every_variant_trains(store, tmp_path, values):
    config = settings(store, flow__steps=8, flow__validate_every=4, autoencoder__epochs=1, align__every=2, **values)
    train_run(config, tmp_path / "run", LocalContext(), progress=False)
    predictor = load_predictor(tmp_path / "run")
    assert np.isfinite(predictor.predict(predictor.split.test[0], 8, seed=0)).all()


def test_end_to_end_training_moves_the_autoencoder(store, tmp_path):
    shared = tmp_path / "artifacts"
    values = {"flow__steps": 8, "flow__validate_every": 8, "align__every": 2}
    for name, learns in (("frozen", False), ("learns", True)):
        config = settings(store, flow__train_autoencoder=learns, **values)
        train_run(config, tmp_path / name, LocalContext(), artifact_root=shared, progress=False)
    frozen, learns = weights(tmp_path / "frozen"), weights(tmp_path / "learns")
    moved = [name for name in frozen if name.startswith("autoencoder.") and not torch.equal(frozen[name], learns[name])]
    assert any("to_latent" in name for name in moved), "the encoder learned nothing from the flow"
    assert any("unproject" in name for name in moved), "the decoder learned nothing from the alignment"


def test_modules_can_follow_the_predictions_of_a_run(store, tmp_path):
    values = {"flow__steps": 8, "flow__validate_every": 8, "autoencoder__epochs": 1}
    train_run(settings(store, **values), tmp_path / "first", LocalContext(), progress=False)
    again = settings(store, **values, grc__feedback=str(tmp_path / "first"))
    train_run(again, tmp_path / "second", LocalContext(), progress=False)
    modules = [
        load_file(tmp_path / run / "model" / "inputs.safetensors")["module_of_gene"] for run in ("first", "second")
    ]
    assert not torch.equal(*modules)
    assert torch.equal(modules[0].bincount().sort().values, modules[1].bincount().sort().values)
    leaky = settings(store, **values, grc__feedback=str(tmp_path / "first"), split__seed=1)
    with pytest.raises(UserError, match="holds out"):
        train_run(leaky, tmp_path / "third", LocalContext(), progress=False)


def test_target_outside_the_screen_is_predicted_from_its_prior(store, tmp_path):
    screen = open_experiment(settings(store))
    names, rng = [*screen.targets, "BEYOND"], np.random.default_rng(0)
    vectors = rng.standard_normal((len(names), 5)).astype(np.float32)
    vectors[-1] = vectors[0]  # what is like a known target is predicted like it, learned part aside
    np.savez(tmp_path / "prior.npz", genes=np.array(names), vectors=vectors)
    values = {"flow__steps": 8, "flow__validate_every": 8, "autoencoder__epochs": 1}
    prior = str(tmp_path / "prior.npz")
    config = settings(store, **values, priors__target_embedding=prior, flow__target_embedding="frozen")
    train_run(config, tmp_path / "run", LocalContext(), progress=False)
    predictor = load_predictor(tmp_path / "run")
    context = screen.contexts[0]
    model, given = predictor._model, predictor._given
    beyond, like = (given(Condition(context, name)) for name in ("BEYOND", names[0]))
    encoded = [model.condition(one.targets, one.context, one.dose) for one in (beyond, like)]
    torch.testing.assert_close(*encoded)
    three = predictor.predict(Condition(context, f"BEYOND+{names[1]}+{names[2]}"), 8, seed=0)
    assert np.isfinite(three).all()
    with pytest.raises(UserError, match=r"'BEYONT' is in no condition.*no vector in prior.npz; did you mean 'BEYOND'"):
        predictor.predict(Condition(context, "BEYONT"), 8, seed=0)
    train_run(settings(store, **values), tmp_path / "blind", LocalContext(), progress=False)
    with pytest.raises(UserError, match="no prior of targets"):
        load_predictor(tmp_path / "blind").predict(Condition(context, "BEYOND"), 8, seed=0)


@pytest.mark.slow
def test_compiled_equals_eager(store, tmp_path):
    """In processes of their own: the checks of shapes in these tests cannot be compiled."""
    values = {"flow.steps": 8, "flow.validate_every": 4, "autoencoder.epochs": 1, "align.every": 2}
    values |= {"gcae.dropout": 0.0, "flow.dropout": 0.0}  # masks are drawn in another order when compiled
    scbig = [sys.executable, "-c", "from scbig_dist.cli import main; main()", "train", "--store", store]
    for name, compiled in (("eager", "false"), ("compiled", "true")):
        settled = SMALL | values | {"train.compile": compiled}
        words = [word for address, value in settled.items() for word in ("--set", f"{address}={value}")]
        done = subprocess.run([*scbig, *words, "-o", str(tmp_path / name)], capture_output=True, text=True)
        assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr
    eager, compiled = weights(tmp_path / "eager"), weights(tmp_path / "compiled")
    for name, value in eager.items():
        assert torch.allclose(compiled[name], value, rtol=1e-3, atol=1e-4), name


def test_modules_are_audited(store, tmp_path):
    genes = open_experiment(settings(store)).genes
    sets = "".join(f"set{i}\t-\t" + "\t".join(genes[i * 10 : i * 10 + 10]) + "\n" for i in range(6))
    (tmp_path / "sets.gmt").write_text(sets)
    values = {"flow__steps": 8, "flow__validate_every": 8, "autoencoder__epochs": 1}
    config = settings(store, **values, grc__clustering="none", priors__pathways=str(tmp_path / "sets.gmt"))
    train_run(config, tmp_path / "run", LocalContext(), progress=False)
    modules = pd.read_csv(tmp_path / "run" / "modules.tsv", sep="\t")
    assert modules["gene"].tolist() == genes and modules["module"].nunique() == 4
    first = pd.read_csv(tmp_path / "run" / "enrichment.tsv", sep="\t").iloc[0]
    assert (first["module"], first["overlap"]) == (0, 10) and first["q"] < 1e-3
    notes = json.loads((tmp_path / "run" / "run.json").read_text())["notes"]
    assert any("of random partitions" in note for note in notes) and any("enrichment: " in note for note in notes)


def test_existing_run_is_not_overwritten(store, tmp_path):
    config = settings(store, flow__steps=8, flow__validate_every=8, autoencoder__epochs=1)
    train_run(config, tmp_path / "run", LocalContext(), progress=False)
    before = (tmp_path / "run" / "run.json").read_text()
    with pytest.raises(UserError, match="--resume"):
        train_run(config, tmp_path / "run", LocalContext(), progress=False)
    with pytest.raises(UserError, match=r"steps: 8.*steps: 16"):
        longer = settings(store, flow__steps=16, flow__validate_every=8, autoencoder__epochs=1)
        train_run(longer, tmp_path / "run", LocalContext(), resume=True, progress=False)
    assert (tmp_path / "run" / "run.json").read_text() == before


def test_directory_of_something_else_is_refused(store, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="not a run"):
        train_run(settings(store), tmp_path, LocalContext(), progress=False)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_unseen_targets_without_any_prior_are_refused(store, tmp_path):
    config = settings(store, split__kind="holdout", split__n_test=2, split__n_val=1)
    with pytest.raises(UserError, match=r"priors.target_embedding or priors.ppi"):
        train_run(config, tmp_path / "run", LocalContext(), progress=False)


def test_setting_against_the_store_is_refused(store):
    with pytest.raises(UserError, match=r"qc.min_genes=3.*built with qc.min_genes=10"):
        settle(build_config({"store": store, **SMALL, "qc.min_genes": 3}), {"qc.min_genes": 3})


def test_settings_of_a_preset_give_way_to_the_store(store):
    assert settle(build_config({"store": store, "qc.min_genes": 3})).qc.min_genes == 10


def test_more_modules_than_genes_are_refused(store, tmp_path):
    with pytest.raises(UserError, match=r"grc.n_modules=4000"):
        train_run(settings(store, grc__n_modules=4000), tmp_path / "run", LocalContext(), progress=False)


def test_split_is_written_and_read_back(store, tmp_path):
    config = settings(store, flow__steps=2, flow__validate_every=2, autoencoder__epochs=1)
    train_run(config, tmp_path / "run", LocalContext(), progress=False)
    assert load_predictor(tmp_path / "run").split == open_experiment(config).split


def test_resume_refuses_another_split_or_store(store, tmp_path):
    config = settings(store)
    with pytest.raises(Interrupted):
        train_run(config, tmp_path / "run", StopsAfter(60), progress=False)
    kept = (tmp_path / "run" / "split.json").read_text()
    other = settings(store, split__seed=1)
    train_run(other, tmp_path / "other", LocalContext(), progress=False)
    (tmp_path / "run" / "split.json").write_text((tmp_path / "other" / "split.json").read_text())
    with pytest.raises(UserError, match="not the split of this config"):
        train_run(config, tmp_path / "run", LocalContext(), resume=True, progress=False)
    (tmp_path / "run" / "split.json").write_text(kept)
    (tmp_path / "run" / "store.json").write_text('{"key": "another"}')
    with pytest.raises(UserError, match="rebuilt since the run began"):
        train_run(config, tmp_path / "run", LocalContext(), resume=True, progress=False)
    (tmp_path / "other" / "store.json").write_text('{"key": "another"}')
    with pytest.raises(UserError, match="is not the one that the run was trained on"):
        load_predictor(tmp_path / "other")


def test_mistake_in_an_empty_directory_leaves_it_empty(store, tmp_path):
    (tmp_path / "run").mkdir()
    with pytest.raises(UserError, match=r"grc.n_modules=4000"):
        train_run(settings(store, grc__n_modules=4000), tmp_path / "run", LocalContext(), progress=False)
    assert list((tmp_path / "run").iterdir()) == []


def test_diverging_loss_ends_the_run_with_a_remedy(store, tmp_path):
    with pytest.raises(UserError, match=r"autoencoder update \d+: the loss is (nan|inf); lower autoencoder.lr=1e\+30"):
        train_run(settings(store, autoencoder__lr=1e30), tmp_path / "run", LocalContext(), progress=False)


def test_latent_wider_than_the_components_is_refused(store, tmp_path):
    config = settings(store, gcae__encoder="pca", gcae__latent_dim=5000, flow__width=16)
    with pytest.raises(UserError, match=r"gcae.latent_dim=5000"):
        train_run(config, tmp_path / "run", LocalContext(), progress=False)


def test_damaged_store_does_not_train(tmp_path):
    store = make_store(tmp_path)
    shard = next(store.rglob("*.arrow"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(UserError, match="checksum"):
        settle(build_config({"store": str(store)}))


def test_context_that_is_never_trained_does_not_steer():
    config = build_config({"flow.condition_dim": 8, "flow.n_heads": 2}).flow
    encoder = ConditionEncoder(torch.ones(3, 4), torch.ones(3, dtype=torch.bool), config, 2, False)
    targets = torch.tensor([[0, 1], [0, 1]])
    one, other = encoder(targets, torch.tensor([0, 1]), torch.zeros(2))
    assert torch.equal(one, other)
