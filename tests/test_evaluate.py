"""Evaluation of predictors whose right scores are known, and the files it leaves."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from evaluate_cases import N_GENES, conditions, make_store
from rich.console import Console

from scbig_dist.conditions import Condition
from scbig_dist.config import Config
from scbig_dist.errors import UserError
from scbig_dist.evaluate import run as evaluate
from scbig_dist.evaluate.ground import lay_ground
from scbig_dist.evaluate.prediction import write_prediction
from scbig_dist.evaluate.request import find_request
from scbig_dist.evaluate.table import print_scores
from scbig_dist.evaluate.truth import find_truth, split_halves
from scbig_dist.metrics.summary import METRICS
from scbig_dist.screen.splits import Split
from scbig_dist.settings import build_config
from scbig_dist.store.reader import Store

METHODS = ["scBIG", "Control", "Mean-shift", "Additive", "Ridge-additive", "Linear", "noise ceiling"]


class Oracle:
    """Predicts a condition's own true cells; `offset` spoils them."""

    def __init__(self, store: Store, split: Split, offset: float = 0.0, n_cells: int = 32) -> None:
        self.store, self.split, self.offset = store, split, offset
        self.config: Config = build_config({"evaluate.n_cells": n_cells})
        self.n_genes = N_GENES
        self.has_latent = True
        self.asked: list[tuple[Condition, int]] = []

    def predict(self, condition: Condition, n_cells: int, seed: int) -> np.ndarray:
        self.asked.append((condition, n_cells))
        return self.store.dense(self.store.cells(condition), self.n_genes) + np.float32(self.offset)

    def reconstruct(self, cells: np.ndarray) -> np.ndarray:
        return cells


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return make_store(tmp_path_factory.mktemp("evaluate"))


@pytest.fixture(scope="module")
def split(store: Store) -> Split:
    test = tuple(c for context in ("k562", "rpe1") for c in conditions(context, "A+B", "C+D", "B+C"))
    extra = conditions("k562", "A+E")
    train = tuple(
        c for c in store.conditions if not c.is_control and c not in {*test, *extra, *conditions("rpe1", "A+C")}
    )
    parts = {"easy": test[:2], "one_unseen": extra, "unused": conditions("rpe1", "A+E")}
    train = tuple(c for c in train if c not in parts["unused"])
    return Split("additive", 0, train, conditions("rpe1", "A+C"), test, parts)


@pytest.fixture(scope="module")
def run(store: Store, split: Split, tmp_path_factory) -> Path:
    """A run folder after the evaluation of the oracle."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate, "load_predictor", lambda path: Oracle(store, split))
        evaluate.evaluate_run(folder, progress=False)
    return folder


def strict(path: Path) -> dict:
    def refuse(name: str) -> float:
        raise AssertionError(f"{name} is not JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


def test_scores_hold_every_method_and_metric_and_nothing_else(run):
    scores = strict(run / "scores.json")
    assert list(scores) == METHODS
    for row in scores.values():
        assert list(row) == list(METRICS)
        assert all(value is None or math.isfinite(value) for value in row.values())
    assert sorted(path.name for path in run.iterdir()) == ["conditions.parquet", "scores.json", "scores_meta.json"]


def test_the_oracle_wins_and_control_is_undefined(run):
    scores = strict(run / "scores.json")
    oracle = scores["scBIG"]
    for name in ("pearson_delta", "pearson_delta_de", "acc", "acc_de", "des", "pds", "discr_cos"):
        assert oracle[name] == pytest.approx(1), name
    assert oracle["mse"] == pytest.approx(0, abs=1e-10)
    assert oracle["e_dist"] < 0.2 < scores["Control"]["e_dist"]
    assert scores["Control"]["pearson_delta"] is None
    assert scores["Control"]["pds"] == pytest.approx(0.5, abs=0.35)
    assert scores["Additive"]["pearson_delta"] > scores["Mean-shift"]["pearson_delta"]
    assert scores["Ridge-additive"]["pearson_delta"] > 0.8
    assert 0.9 < scores["noise ceiling"]["pearson_delta"] < 1


def test_scores_are_the_means_of_the_condition_table(run, split):
    table = pd.read_parquet(run / "conditions.parquet")
    assert list(table.columns) == ["method", "part", "subset", "condition", "n_significant", *METRICS]
    test = table[table["part"] == "test"]
    assert set(test["condition"]) == {condition.name for condition in split.test}
    means = test.groupby("method")[list(METRICS)].mean()
    for method, row in strict(run / "scores.json").items():
        for name, value in row.items():
            assert (value is None and math.isnan(means.loc[method, name])) or value == pytest.approx(
                means.loc[method, name]
            )


def test_meta_counts_what_is_undefined_and_reports_the_parts(run, split):
    meta = strict(run / "scores_meta.json")
    assert meta["undefined"]["Control"]["pearson_delta"] == len(split.test)
    assert "scBIG" in meta["undefined"] and not meta["undefined"]["scBIG"]
    assert meta["n_conditions"] == {"train": len(split.train), "val": 1, "test": 6}
    assert set(meta["part_scores"]) == {"easy", "one_unseen"}
    assert meta["part_scores"]["one_unseen"]["Additive"]["mse"] is not None  # E is a training single
    assert meta["linear_absent_targets"] == ["E"]
    assert meta["latent_ceiling"]["pearson_delta"] == pytest.approx(1, abs=0.01)
    assert abs(meta["latent_ceiling"]["e_dist"]) < 0.2
    assert meta["n_cells"] == 32 and meta["data_label"] == "real or unknown"


def test_a_shifted_prediction_is_scored_as_shifted(store, split):
    found = evaluate.evaluate_predictor(Oracle(store, split, offset=0.5), "val", split.val)
    scores = evaluate.macro_means(found.methods)["scBIG"]
    assert scores["mse"] == pytest.approx(0.25, rel=1e-4)
    assert scores["mae"] == pytest.approx(0.5, rel=1e-4)
    assert scores["pearson_delta"] == pytest.approx(1)
    assert scores["pds"] is None  # one condition in its context
    assert found.latent is None


def test_validation_writes_nothing(store, split, tmp_path, monkeypatch):
    oracle = Oracle(store, split)
    monkeypatch.setattr(evaluate, "load_predictor", lambda path: oracle)
    scores = evaluate.evaluate_run(tmp_path, "val", progress=False)
    assert list(scores) == METHODS
    assert not list(tmp_path.iterdir())
    assert {condition for condition, _ in oracle.asked} == set(split.val)  # test is not looked at


def test_a_split_without_validation_is_refused(store, split, tmp_path, monkeypatch):
    bare = Split("additive", 0, split.train, (), split.test)
    monkeypatch.setattr(evaluate, "load_predictor", lambda path: Oracle(store, bare))
    with pytest.raises(UserError, match=r"no val conditions.*split\.n_val"):
        evaluate.evaluate_run(tmp_path, "val", progress=False)


def test_scores_depend_on_the_seed_alone_not_on_the_other_conditions(store, split):
    few = evaluate.evaluate_predictor(Oracle(store, split), "val", split.test[:2])
    all_ = evaluate.evaluate_predictor(Oracle(store, split), "val", split.test)
    for method in METHODS:
        for name in set(METRICS) - {"pds"}:
            np.testing.assert_allclose(few.methods[method][name], all_.methods[method][name][:2], rtol=1e-6)


def test_discrimination_is_within_a_context(store, split):
    """rpe1 alone or beside k562: the same ranks."""
    rpe1 = tuple(condition for condition in split.test if condition.context == "rpe1")
    alone = evaluate.evaluate_predictor(Oracle(store, split), "val", rpe1)
    beside = evaluate.evaluate_predictor(Oracle(store, split), "val", split.test)
    np.testing.assert_array_equal(alone.methods["Linear"]["pds"], beside.methods["Linear"]["pds"][3:])


def test_what_a_model_does_not_predict_is_undefined_and_counted(store, split, tmp_path, monkeypatch):
    class Partial(Oracle):
        def predict(self, condition, n_cells, seed):
            cells = super().predict(condition, n_cells, seed)
            return cells * np.float32(np.nan) if condition == split.test[0] else cells

    monkeypatch.setattr(evaluate, "load_predictor", lambda path: Partial(store, split))
    scores = evaluate.evaluate_run(tmp_path, progress=False)["scBIG"]
    assert scores["pearson_delta"] == pytest.approx(1)
    meta = strict(tmp_path / "scores_meta.json")
    assert meta["undefined"]["scBIG"] == dict.fromkeys(METRICS, 1)
    assert all(each["n"] == 5 for each in meta["intervals"]["scBIG"].values())
    assert meta["part_undefined"]["easy"]["scBIG"] == dict.fromkeys(METRICS, 1)  # of two
    assert meta["part_undefined"]["one_unseen"]["scBIG"] == {"pds": 1}  # alone in its context


def test_validation_ranks_no_model_that_leaves_conditions_out(store, tmp_path, split, monkeypatch):
    """Else the mean over the easy ones would win a sweep."""

    class Partial(Oracle):
        def predict(self, condition, n_cells, seed):
            cells = super().predict(condition, n_cells, seed)
            return cells * np.float32(np.nan) if condition == self.split.val[0] else cells

    two = replace(split, val=split.test[:2], test=split.test[2:], parts={})
    monkeypatch.setattr(evaluate, "load_predictor", lambda path: Partial(store, two))
    scores = evaluate.evaluate_run(tmp_path, "val", progress=False)
    assert set(scores["scBIG"].values()) == {None} and scores["Additive"]["mse"] is not None


def test_a_mean_over_some_conditions_says_so_and_is_not_the_best():
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    scores = {"scBIG": {"mse": 0.3, "des": 0.5}, "Additive": {"mse": 0.1, "des": 0.6}}
    undefined = {"scBIG": {"des": 2}, "Additive": {"mse": 4, "des": 2}}
    print_scores(scores, "real or unknown", "test", console, undefined, 10)
    text = console.export_text()
    assert "300.000*" in text and "100.000 (6 of 10)" in text
    assert "0.500 (8 of 10)" in text and "0.600* (8 of 10)" in text  # two lack a truth: equal for all


def test_intervals_hold_the_mean_and_their_count(run):
    scores, meta = strict(run / "scores.json"), strict(run / "scores_meta.json")
    assert meta["model"] == "scBIG" and list(meta["intervals"]) == METHODS
    for method, row in meta["intervals"].items():
        for name, each in row.items():
            if scores[method][name] is None:
                assert each == {"se": None, "low": None, "high": None, "n": 0}
            else:
                assert each["low"] <= scores[method][name] <= each["high"] and each["se"] >= 0 and each["n"] == 6


def test_halves_share_no_cell_and_miss_none(store, split):
    ground = lay_ground(store, split, ["k562"], N_GENES, 64, 0)
    truth = find_truth(ground, split.test[:1])
    half, other = split_halves(ground, truth)
    np.testing.assert_allclose((half.means + other.means) / 2, truth.means, rtol=1e-6)  # 40 cells: equal halves
    assert len(half.clouds[0]) == len(other.clouds[0]) == 20


def test_table_shows_undefined_direction_and_label():
    console = Console(width=60, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    scores = {"scBIG": {name: 0.5 for name in METRICS}, "Control": {name: None for name in METRICS}}
    print_scores(scores, "semi-synthetic", "3 test conditions", console)
    text = console.export_text()
    assert "3 test conditions: mean over conditions, semi-synthetic data" in text
    assert "pearson_delta ↑" in text and "e_dist ↓" in text and "wasserstein_exact ↓" in text
    assert "0.500*" in text and "–" in text
    assert max(len(line) for line in text.splitlines()) <= 60


def test_prediction_file_is_clamped_and_says_what_it_is(tmp_path):
    cells = np.array([[-0.5, 1.0], [0.25, 2.0]], dtype=np.float32)
    path = tmp_path / "new" / "out.h5ad"
    for seed in (0, 1):  # the second replaces the first
        write_prediction(path, cells, ["A", "B"], Condition("k562", "A+B"), Config(), tmp_path, seed)
    data = ad.read_h5ad(path)
    np.testing.assert_array_equal(data.X, [[0, 1], [0.25, 2]])
    assert list(data.var_names) == ["A", "B"]
    assert set(data.obs["condition"]) == {"A+B"} and set(data.obs["context"]) == {"k562"}
    assert data.uns["scbig"]["source"] == "predicted by scBIG" and data.uns["scbig"]["seed"] == 1
    assert [p.name for p in path.parent.iterdir()] == ["out.h5ad"]


def test_request_is_found_in_any_spelling(store):
    assert find_request(store, "B+A", "rpe1") == Condition("rpe1", "A+B")
    assert find_request(store, "A+ctrl", "k562") == Condition("k562", "A")


@pytest.mark.parametrize(
    ("label", "context", "dose", "message"),
    [
        ("control", "k562", None, "is control, nothing to predict"),
        ("A+B", None, None, r"--context k562\|rpe1"),
        ("A+B", "k563", None, "did you mean 'k562'"),
        ("A+B", "k562", 2.0, "no doses"),
    ],
)
def test_request_names_what_is_wrong(store, label, context, dose, message):
    with pytest.raises(UserError, match=message) as error:
        find_request(store, label, context, dose)
    assert "\n" not in str(error.value)
