"""The semi-synthetic screen: real shifts go in, and come out of the drawn cells."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from scbig_dist.errors import UserError
from scbig_dist.screen.simulate_effects import simulate_from_effects

GENES = ["A", "B", "C", "D", "only_in_effects"]
LFC = np.array([[1.0, 0.5, -0.5, 0.0, 9.0], [-0.5, 2.0, 0.0, -3.0, 9.0]], dtype=np.float32)


@pytest.fixture
def tables(tmp_path):
    np.savez(
        tmp_path / "e.npz",
        genes_hvg=np.array(GENES),
        lfc_s=LFC,
        sing_labels=np.array(["A", "T"]),
        lfc_d=LFC[:1] + LFC[1:],
        doub_labels=np.array(["T+A"]),
    )
    pd.DataFrame(
        {
            "symbol": ["A", "B", "C", "D", "D", "T", None],
            "relative_expression": [0.01, 0.002, 0.05, 1e-6, 1e-7, 0.001, 0.1],
            "expression_size": [5.0, 20.0, 1.0, 1e-4, 3.0, 2.0, 1.0],
        }
    ).to_csv(tmp_path / "b.tsv.gz", sep="\t", index=False)
    return tmp_path


def pooled(screen: ad.AnnData, label: str) -> np.ndarray:
    """log1p CPM of all cells of a condition together."""
    here = screen[screen.obs.condition == label]
    return np.log1p(np.asarray(here.X.sum(axis=0)).ravel() / here.obs.n_umis_total.sum() * 1e6)


def test_shifts_of_the_cells_are_those_of_the_table(tables):
    simulate_from_effects(
        tables / "o.h5ad", tables / "e.npz", tables / "b.tsv.gz", n_cells=30_000, efficiency=1.0, progress=False
    )
    screen = ad.read_h5ad(tables / "o.h5ad")
    assert screen.uns["data_label"] == "semi-synthetic"
    assert list(screen.var_names) == ["A", "B", "C", "D", "T"]  # T: a target that only the baseline has
    assert set(screen.obs.condition) == {"A", "T", "A+T", "control"}
    truth = screen.uns["truth"]
    assert list(truth["conditions"]) == ["A", "T", "A+T"]
    # The table's own-target shifts: A in A (1.0), A in A+T (0.5); T takes their median.
    np.testing.assert_allclose(truth["effects"][:, 4], [0.0, 0.75, 0.75])
    for row, label in enumerate(truth["conditions"]):
        drawn = pooled(screen, label) - pooled(screen, "control")
        np.testing.assert_allclose(drawn[[0, 1, 2, 4]], truth["effects"][row, [0, 1, 2, 4]], atol=0.06)
    cpm = np.expm1(pooled(screen, "control"))
    np.testing.assert_allclose(cpm[[0, 1, 2, 4]], [1e4, 2e3, 5e4, 1e3], rtol=0.06)


def test_cells_that_do_not_respond_look_like_controls(tables):
    simulate_from_effects(
        tables / "o.h5ad", tables / "e.npz", tables / "b.tsv.gz", n_cells=30_000, efficiency=0.5, progress=False
    )
    screen = ad.read_h5ad(tables / "o.h5ad")
    drawn = np.expm1(pooled(screen, "A"))[0] / np.expm1(pooled(screen, "control"))[0]
    assert drawn == pytest.approx((1 + np.e) / 2, rel=0.06)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lfc_s": None}, "no array lfc_s; it holds doub_labels, genes_hvg, lfc_d, sing_labels"),
        ({"doub_labels": None}, "no array doub_labels"),
        ({"lfc_s": LFC[:, :3]}, r"lfc_s has shape \(2, 3\); sing_labels and genes_hvg make it \(2, 5\)"),
        ({"lfc_d": LFC[:1] * np.nan}, "lfc_d has values that are not finite numbers"),
        ({"sing_labels": np.array(["A", "A"])}, "conditions named twice: A;"),
        ({"sing_labels": np.array(["A", "control"])}, "a row is labelled control"),
        ({"genes_hvg": np.array(["A", "A", "B", "C", "D"])}, "genes named twice: A;"),
        ({"genes_hvg": np.array(list("VWXYZ"))}, "no gene in common"),
    ],
)
def test_effect_table_rejects(tables, change, message):
    arrays = {name: value for name, value in dict(np.load(tables / "e.npz"), **change).items() if value is not None}
    np.savez(tables / "bad.npz", **arrays)
    with pytest.raises(UserError, match=message) as caught:
        simulate_from_effects(tables / "o.h5ad", tables / "bad.npz", tables / "b.tsv.gz", progress=False)
    assert "\n" not in str(caught.value) and not (tables / "o.h5ad").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("symbol\tx\nA\t1\t2\t3\nB\t1\t2\n", "not a table|no column"),
        ("symbol\tother\nA\t1\n", "no column relative_expression, expression_size; columns: symbol, other"),
        ("symbol\trelative_expression\texpression_size\nA\t-1\t1\n", "1 genes without positive .*, first 'A'"),
        ("symbol\trelative_expression\texpression_size\nA\tx\t1\n", "1 genes without positive .*, first 'A'"),
    ],
)
def test_baseline_rejects(tables, text, message):
    (tables / "bad.tsv").write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        simulate_from_effects(tables / "o.h5ad", tables / "e.npz", tables / "bad.tsv", progress=False)
    assert "\n" not in str(caught.value)


def test_missing_and_foreign_files_are_named(tables):
    (tables / "text.npz").write_text("hello")
    for effects, baseline, message in (
        ("none.npz", "b.tsv.gz", "--effects .*none.npz: no such file"),
        ("e.npz", "none.tsv", "--baseline .*none.tsv: no such file"),
        ("text.npz", "b.tsv.gz", "not an .npz of plain arrays"),
        ("b.tsv.gz", "b.tsv.gz", "not an .npz of plain arrays"),
        ("e.npz", "e.npz", "not a text file"),
    ):
        with pytest.raises(UserError, match=message):
            simulate_from_effects(tables / "o.h5ad", tables / effects, tables / baseline, progress=False)
    with pytest.raises(UserError, match="--cells 10: too few for 3 conditions"):
        simulate_from_effects(tables / "o.h5ad", tables / "e.npz", tables / "b.tsv.gz", n_cells=10, progress=False)


def test_the_real_tables_give_a_screen(shared_data, tmp_path):
    summary = simulate_from_effects(
        tmp_path / "o.h5ad",
        shared_data / "norman2019_pseudobulk_2000hvg.npz",
        shared_data / "k562_10x_baseline_nb.tsv.gz",
        progress=False,
    )
    assert (summary.n_cells, summary.n_genes, summary.n_singles, summary.n_doubles) == (6000, 1657, 104, 130)
    assert 100 < summary.median_detected < 400
