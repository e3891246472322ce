"""`scbig evaluate` and `scbig predict` on a run that was really trained, a little."""

from __future__ import annotations

import json
from pathlib import Path

import anndata as ad
import pytest
from evaluate_cases import N_GENES, make_store
from run_cases import train_small

from scbig_dist.cli.evaluate import evaluate, predict
from scbig_dist.errors import UserError
from scbig_dist.settings import load_config


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    return train_small(make_store(folder).path, folder / "run")


def test_evaluate_scores_a_trained_run_and_prints_the_table(run, capsys):
    evaluate(run)
    out, _ = capsys.readouterr()
    scores = json.loads((run / "scores.json").read_text())
    for method in scores:
        assert method in out
    assert "latent ceiling" in out and "latent ceiling" not in scores
    assert next(iter(scores)) == "CellFlow" and scores["CellFlow"]["mse"] > 0  # components, no alignment
    assert "95 % bootstrap intervals" in out
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


def test_a_run_of_a_baseline_stands_for_its_row_of_the_table(run, tmp_path):
    store = Path(load_config(run / "config.yaml").store or "")
    ridge = train_small(store, tmp_path / "ridge", model__name="ridge_additive")
    evaluate(ridge)
    rows = [list(json.loads((each / "scores.json").read_text())) for each in (ridge, run)]
    assert rows[0][0] == "Ridge-additive" and sorted(rows[0]) == sorted(rows[1][1:])
    scores, reference = (json.loads((each / "scores.json").read_text())["Ridge-additive"] for each in (ridge, run))
    assert scores["mse"] == pytest.approx(reference["mse"], rel=1e-4)
    assert json.loads((ridge / "scores_meta.json").read_text())["latent_ceiling"] is None


def test_evaluate_names_the_rows_of_predictions(run, tmp_path):
    for names, message in ((["CellFlow"], "a row of that name"), (["a", "b"], "given 2 times and --prediction 1")):
        with pytest.raises(UserError, match=message):
            evaluate(run, prediction=[tmp_path / "p.h5ad"], name=names)
    with pytest.raises(UserError, match="two predictions of that name"):
        evaluate(run, prediction=[tmp_path / "p.h5ad", tmp_path / "q" / "p.h5ad"])
