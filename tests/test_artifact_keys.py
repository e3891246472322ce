"""Keys change with what an artefact depends on, and with nothing else; what is shared has the bits of what is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from training_cases import TINY, make_store

from scbig_dist.evaluate import validation_scores
from scbig_dist.settings import addresses, build_config
from scbig_dist.train.context import LocalContext
from scbig_dist.train.experiment import open_experiment, settle
from scbig_dist.train.inputs import planned
from scbig_dist.train.run import train_run

ALL = {"pca", "modules", "autoencoder", "latents", "shift", "flow"}
PLANNED = ALL | {"scores"}  # made of the flow, by whoever scores the run
BEHIND_MODULES = ALL - {"pca"}
BEHIND_AUTOENCODER = {"autoencoder", "latents", "flow"}
BASE = TINY | {"shift.head": "network", "shift.steps": 10, "autoencoder.epochs": 1, "flow.steps": 8}

# What a change of one setting must give new keys to; the sections are complete, see the last test.
CHANGES: dict[str, tuple[Any, set[str]]] = {
    "panel.n_hvg": (50, ALL),
    "split.seed": (7, ALL),
    "split.n_test": (3, ALL),
    "train.seed": (1, ALL),
    "grc.n_modules": (5, BEHIND_MODULES),
    "grc.w_ppi": (0.25, BEHIND_MODULES),
    "gcae.n_inducing": (3, BEHIND_AUTOENCODER | {"shift"}),
    "gcae.dropout": (0.2, BEHIND_AUTOENCODER | {"shift"}),
    "gcae.latent_dim": (6, BEHIND_AUTOENCODER | {"shift"}),
    "autoencoder.lr": (0.01, BEHIND_AUTOENCODER),
    "autoencoder.batch": (32, BEHIND_AUTOENCODER),
    "autoencoder.epochs": (2, BEHIND_AUTOENCODER),
    "data.shuffle": ("pools", BEHIND_AUTOENCODER),
    "train.precision": ("bfloat16", BEHIND_AUTOENCODER | {"shift"}),
    "train.workers": (2, BEHIND_AUTOENCODER | {"shift"}),  # sums in another order: other bits
    "train.gpus": (0.5, BEHIND_AUTOENCODER | {"shift"}),
    "flow.latent_scale": ("unit", {"latents", "flow"}),
    "flow.width": (32, {"shift", "flow"}),
    "flow.condition_dim": (16, {"shift", "flow"}),
    "flow.lr": (0.01, {"flow"}),
    "flow.steps": (10, {"flow"}),
    "flow.sigma": (0.1, {"flow"}),
    "flow.coupling": ("none", {"flow"}),
    "flow.target_noise": (0.5, {"flow"}),
    "align.lambda_corr": (3.0, {"flow"}),
    "align.every": (5, {"flow"}),
    "shift.steps": (11, {"shift", "flow"}),
    "shift.own_gene": ("measured", {"flow"}),
    "shift.saturate": (True, {"flow"}),
    "evaluate.n_val_cells": (9, {"flow"}),
    "flow.validate_every": (40, {"flow"}),
    # How a trained flow is followed, and how often.
    "flow.solver": ("rk4", {"scores"}),
    "flow.solver_steps": (5, {"scores"}),
    "evaluate.n_cells": (20, {"scores"}),
    # Nothing that is kept depends on these.
    "train.threads": (2, set()),
    "train.checkpoint_every": (7, set()),
    "train.graphs": (False, set()),
    "train.memory_gb": (1.0, set()),
    "align.lambda_path": (5.0, set()),  # no pathways: the loss is off
    "align.epsilon": (0.5, set()),
    "data.pool_cells": (4096, set()),  # the order is full, there are no pools
    "baseline.lr": (0.01, set()),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> str:
    return str(make_store(tmp_path_factory.mktemp("store")))


def keys(store: str, **values: Any) -> dict[str, str]:
    config = settle(build_config({"store": store, **BASE}))
    tree = {address: config.get(address) for address in addresses()} | values
    return {arrow.kind: arrow.key for arrow in planned(open_experiment(build_config(tree)))}


@pytest.mark.parametrize("address", CHANGES)
def test_a_setting_renews_what_depends_on_it_alone(store, address):
    value, expected = CHANGES[address]
    before, after = keys(store), keys(store, **{address: value})
    assert before.keys() == PLANNED
    expected = expected | {"scores"} if "flow" in expected else expected
    assert {kind for kind in PLANNED if before[kind] != after[kind]} == expected


def test_every_section_that_a_run_reads_is_looked_at():
    sections = {address.split(".")[0] for address in addresses() if "." in address}
    assert sections - {address.split(".")[0] for address in CHANGES} <= {"qc", "priors", "model"}


def test_another_file_of_the_same_name_is_another_key(store, tmp_path):
    pathways, ppi = tmp_path / "sets.gmt", tmp_path / "ppi.tsv"
    genes = open_experiment(settle(build_config({"store": store, **BASE}))).genes
    values = {"priors.pathways": str(pathways), "priors.ppi": str(ppi), "priors.min_genes": 2}
    pathways.write_text("A\tx\t" + "\t".join(genes[:6]) + "\n")
    ppi.write_text("protein1\tprotein2\tcombined_score\n" + f"{genes[0]}\t{genes[1]}\t900\n")
    first = keys(store, **values)
    pathways.write_text("A\tx\t" + "\t".join(genes[:9]) + "\n")
    second = keys(store, **values)
    assert {kind for kind in ALL if first[kind] != second[kind]} == {"shift", "flow"}
    ppi.write_text("protein1\tprotein2\tcombined_score\n" + f"{genes[0]}\t{genes[2]}\t901\n")
    third = keys(store, **values)
    assert {kind for kind in ALL if second[kind] != third[kind]} == BEHIND_MODULES
    # Vectors of targets: of the network, and of the pathways where they are asked for.
    told = {**values, "flow.target_embedding": "frozen"}
    spectral, both = (keys(store, **told, **{"priors.target_embedding": name}) for name in (None, "relations"))
    assert {kind for kind in ALL if spectral[kind] != both[kind]} == {"shift", "flow"}
    pathways.write_text("A\tx\t" + "\t".join(genes[:7]) + "\n")
    other = keys(store, **told, **{"priors.target_embedding": "relations"})
    assert {kind for kind in ALL if both[kind] != other[kind]} == {"shift", "flow"}


def test_validation_scores_are_made_once_per_flow_and_number_of_cells(store, tmp_path):
    root = tmp_path / "root"
    table = {}
    for name, values in (("first", {}), ("same", {"train.checkpoint_every": 5}), ("more", {"evaluate.n_cells": 20})):
        config = settle(build_config({"store": store, **BASE, "evaluate.n_cells": 10, **values}))
        train_run(config, tmp_path / name, LocalContext(), artifact_root=root, progress=False)
        table[name] = validation_scores(tmp_path / name, root)
    made = sorted(root.glob("scores-*"))
    assert len(made) == 2 and table["first"] == table["same"] != table["more"]
    assert table["more"] == validation_scores(tmp_path / "more", None)  # scored anew
    # It is read, not made again; what is damaged is made again.
    [of_first] = [each for each in made if json.loads((each / "artifact.json").read_text())["inputs"]["n_cells"] == 10]
    before = (of_first / "artifact.json").stat().st_mtime_ns
    assert validation_scores(tmp_path / "same", root) == table["first"]
    assert (of_first / "artifact.json").stat().st_mtime_ns == before
    (of_first / "scores.json").write_text("{}")
    assert validation_scores(tmp_path / "same", root) == table["first"]


@pytest.mark.parametrize("head", ["none", "network"])
@pytest.mark.parametrize("other", [{"align.lambda_corr": 2.0}, {"flow.lr": 0.01}, {"flow.solver": "rk4"}])
def test_shared_beginnings_have_the_bits_of_own_ones(store, tmp_path, head, other):
    """The second run finds all that the first has made; alone it makes it itself."""
    root = tmp_path / "root"
    base = BASE | {"shift.head": head, "gcae.dropout": 0.1, "flow.latent_scale": "expression"}
    for name, values, where in (("first", {}, root), ("second", other, root), ("alone", other, None)):
        config = settle(build_config({"store": store, **base, **values}))
        train_run(config, tmp_path / name, LocalContext(), artifact_root=where, progress=False)
    second, alone = (load_file(tmp_path / name / "model/weights.safetensors") for name in ("second", "alone"))
    assert second.keys() == alone.keys()
    assert all(torch.equal(value, alone[name]) for name, value in second.items())
    used = {
        each["kind"]: each["reused"] for each in json.loads((tmp_path / "second/run.json").read_text())["artifacts"]
    }
    same_flow = "flow.solver" in other
    assert used.pop("flow") is same_flow
    assert all(used.values()) and used.keys() >= {"pca", "modules", "autoencoder"}
    assert same_flow or used.keys() == (ALL if head == "network" else ALL - {"shift"}) - {"flow"}
    assert _curve(tmp_path / "second") == _curve(tmp_path / "alone")


def _curve(run: Path) -> list[tuple[int, float]]:
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [(each["step"], each["val_pearson_delta"]) for each in records if "val_pearson_delta" in each]
