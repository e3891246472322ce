"""Predictions of other tools: scored when they fit, refused in one line when they do not."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from scbig_dist.conditions import Condition
from scbig_dist.errors import UserError
from scbig_dist.evaluate.given import read_given

GENES = ["A", "B", "g0", "g1"]
CONDITIONS = [Condition("k562", "A+B"), Condition("rpe1", "A+B"), Condition("k562", "C")]
LABELS = [("A+B", "k562"), ("B+A", "rpe1"), ("C", "k562"), ("control", "k562")]


def make(path: Path, genes=GENES, labels=LABELS, value=0.5, columns=("condition", "context"), sparse=False) -> Path:
    """Three cells per label; cell i of the file is i + `value` in gene A, 0 elsewhere."""
    rows = [label for label in labels for _ in range(3)]
    obs = pd.DataFrame(rows, columns=["condition", "context"], index=[f"c{i}" for i in range(len(rows))])[list(columns)]
    x = np.zeros((len(rows), len(genes)), dtype=np.float32)
    x[:, list(genes).index("A") if "A" in genes else 0] = np.arange(len(rows)) + value
    data = ad.AnnData(sp.csc_matrix(x) if sparse else x, obs=obs, var=pd.DataFrame(index=list(genes)))
    data.write_h5ad(path)
    return path


@pytest.mark.parametrize("sparse", [False, True])
def test_cells_come_by_condition_in_the_panels_order(tmp_path, sparse):
    given = read_given(make(tmp_path / "p.h5ad", genes=GENES[::-1], sparse=sparse), GENES, CONDITIONS)
    np.testing.assert_array_equal(given.cells(Condition("rpe1", "A+B"))[:, 0], [3.5, 4.5, 5.5])  # written as B+A
    assert not given.cells(Condition("k562", "C"))[:, 1:].any()


def test_one_context_needs_no_column(tmp_path):
    labels = [("A+B", "x"), ("C", "x")]
    path = make(tmp_path / "p.h5ad", labels=labels, columns=("condition",))
    assert len(read_given(path, GENES, [Condition("k562", "A+B"), Condition("k562", "C")]).rows) == 2


def test_doses_tell_conditions_apart(tmp_path):
    path = make(tmp_path / "p.h5ad", labels=[("A", "k562"), ("A", "k562")])
    data = ad.read_h5ad(path)
    data.obs["dose"] = [1.0] * 3 + [10.0] * 3
    data.write_h5ad(path)
    wanted = [Condition("k562", "A", 1.0), Condition("k562", "A", 10.0)]
    np.testing.assert_array_equal(read_given(path, GENES, wanted).cells(wanted[1])[:, 0], [3.5, 4.5, 5.5])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"genes": ["A", "B", "g0", "h1"]}, r"genes are not the 4 of the run's panel: it lacks 'g1' and has 'h1'"),
        ({"genes": ["A", "B", "g0"]}, "lacks 'g1'"),
        ({"genes": [*GENES, "extra"]}, "has 'extra' beyond them; give it the panel that 'scbig predict RUN' writes"),
        ({"genes": ["A", "B", "g0", "g0"]}, "'g0' stands there twice"),
        (
            {"labels": LABELS[:2]},
            r"not the run's 3 test conditions: it lacks 'k562/C'; predict what RUN/split.json lists",
        ),
        ({"labels": [*LABELS, ("Q", "k562")]}, "has 'k562/Q' beyond them"),
        ({"columns": ("context",)}, r"no obs column 'condition' \(there: context\)"),
        ({"columns": ("condition",)}, "no obs column 'context'"),
        ({"value": 0}, "whole numbers, so counts"),
        ({"value": np.nan}, "NaN or infinite values; give every gene of every cell a number"),
    ],
)
def test_evaluate_rejects_a_prediction_that_does_not_fit(tmp_path, options, message):
    with pytest.raises(UserError, match=message) as error:
        read_given(make(tmp_path / "p.h5ad", **options), GENES, CONDITIONS)
    assert "\n" not in str(error.value) and str(tmp_path / "p.h5ad") in str(error.value)


def test_evaluate_rejects_what_is_no_prediction_file(tmp_path):
    (tmp_path / "text.h5ad").write_text("no HDF5")
    for name, message in (("text.h5ad", "not an .h5ad file"), ("none.h5ad", "no such file")):
        with pytest.raises(UserError, match=f"^--prediction .*{message}"):
            read_given(tmp_path / name, GENES, CONDITIONS)
