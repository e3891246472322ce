"""Baselines that are computed: trained and scored by the commands of every model, equal to the rows of the tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from evaluate_cases import TARGETS, make_store

from scbig_dist.conditions import Condition
from scbig_dist.errors import UserError
from scbig_dist.evaluate import evaluate_run
from scbig_dist.models.baselines import predict_knn, predict_linear, seen_from, training_shifts
from scbig_dist.models.names import NAMES
from scbig_dist.settings import load_config
from scbig_dist.train.context import LocalContext
from scbig_dist.train.experiment import settle
from scbig_dist.train.predictor import Predictor, load_predictor
from scbig_dist.train.run import train_run

REFERENCES = ["control", "mean_shift", "additive", "ridge_additive", "linear"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("closed")
    make_store(folder)
    rng = np.random.default_rng(0)
    rows = [[target, *rng.normal(size=3)] for target in [*TARGETS, *(f"g{i}" for i in range(40))]]
    text = "\n".join("\t".join(map(str, row)) for row in rows)
    (folder / "vectors.tsv").write_text(text + "\n")
    return folder


def settings(folder: Path, model: str, **values: object):
    overrides = {
        "store": str(folder / "store"), "model.name": model, "split.n_test": 4, "split.n_val": 2,
        "evaluate.n_cells": 16, "train.threads": 1,
    } | values  # fmt: skip
    return settle(load_config(None, overrides))


def train(folder: Path, model: str, **values: object) -> Path:
    run = folder / f"run-{model}"
    train_run(settings(folder, model, **values), run, LocalContext(), progress=False)
    return run


def trained(folder: Path, model: str) -> Predictor:
    run = folder / f"run-{model}"
    return load_predictor(run if run.exists() else train(folder, model))


@pytest.fixture(scope="module")
def knn(folder) -> dict:
    run = train(folder, "knn", **{"priors.target_embedding": str(folder / "vectors.tsv")})
    return evaluate_run(run, progress=False)


@pytest.mark.parametrize("model", REFERENCES)
def test_a_run_scores_as_its_reference_row(folder, knn, model):
    mine, name = evaluate_run(train(folder, model), progress=False), NAMES[model]
    for metric, value in knn[name].items():
        if metric in ("e_dist", "wasserstein", "wasserstein_exact"):
            continue  # clouds are other draws of control cells
        if value is None:
            assert mine[name][metric] is None, metric
        else:
            assert mine[name][metric] == pytest.approx(value, rel=1e-4, abs=1e-5), metric


def test_additive_says_nothing_of_singles(folder):
    predictor = trained(folder, "additive")
    assert np.isnan(predictor.predict(Condition("k562", "A"), 8, 0)).all()


def test_a_target_outside_the_screen_is_refused(folder):
    predictor = trained(folder, "linear")
    with pytest.raises(UserError, match=r"model.name=linear predicts targets of the screen alone"):
        predictor.predict(Condition("k562", "NOBODY"), 8, 0)


def test_linear_ext_takes_genes_from_a_file(folder):
    run = train(folder, "linear_ext", **{"priors.gene_embedding": str(folder / "vectors.tsv")})
    predictor = load_predictor(run)
    store, split = predictor.store, predictor.split
    shifts = training_shifts(store, split.train, predictor.n_genes)
    table = {line.split("\t")[0]: np.array(line.split("\t")[1:], float) for line in (folder / "vectors.tsv").read_text().splitlines()}  # fmt: skip
    loadings = np.array([table.get(gene, np.zeros(3)) for gene in store.genes])
    context = split.test[0].context
    own = [row for row, c in enumerate(shifts.conditions) if c.context == context]
    assert len(own)
    wanted = predict_linear(seen_from(shifts, context), [split.test[0]], loadings=loadings, target_rows=table)[0]
    cells = predictor.predict(split.test[0], 32, 0).astype(np.float64)
    control = store.dense(store.cells(store.control(context))).mean(axis=0)
    np.testing.assert_allclose(cells.mean(axis=0) - control, wanted, atol=2e-4)


def test_linear_ext_rejects_loadings_of_its_own_cells(folder):
    with pytest.raises(UserError, match=r"priors.gene_embedding"):
        train_run(settings(folder, "linear_ext"), folder / "none", LocalContext(), progress=False)
    assert not (folder / "none").exists()


def test_knn_rejects_a_screen_without_vectors_of_targets(folder):
    with pytest.raises(UserError, match=r"priors.target_embedding or priors.ppi"):
        train_run(settings(folder, "knn"), folder / "none", LocalContext(), progress=False)


def test_one_nearest_neighbour_is_the_condition_itself(folder):
    store = trained(folder, "control").store
    train_ = [c for c in store.conditions if not c.is_control and c.context == "k562"]
    shifts = training_shifts(store, train_, 60)
    rng = np.random.default_rng(1)
    vectors = {target: rng.normal(size=8) for target in TARGETS}
    np.testing.assert_allclose(predict_knn(shifts, train_, vectors, 1), shifts.values)
    assert np.isnan(predict_knn(shifts, [Condition("k562", "Z")], vectors, 1)).all()
