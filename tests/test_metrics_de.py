"""Rank sums against scipy and scanpy, the adjustment against statsmodels."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from scipy import stats
from statsmodels.stats.multitest import multipletests

from scbig_dist.metrics.de import index_control, rank_sum_p, significant_genes
from scbig_dist.metrics.profiles import log2_fold_change


@pytest.fixture
def cells() -> tuple[np.ndarray, np.ndarray]:
    """Log-normalised condition and control cells with many ties; gene 0 is silent, genes 1-5 move."""
    rng = np.random.default_rng(11)
    rate = rng.uniform(0.05, 4, 30)
    rate[0], rate[1:6] = 0, 1
    moved = rate.copy()
    moved[1:6] *= 3
    return np.log1p(rng.poisson(moved, (60, 30))).astype(np.float32), np.log1p(rng.poisson(rate, (200, 30))).astype(
        np.float32
    )


def test_rank_sum_equals_scipy(cells):
    condition, control = cells
    p = rank_sum_p(condition, index_control(control))
    condition, control = condition.astype(float), control.astype(float)  # scipy would rank in float32
    expected = stats.mannwhitneyu(condition[:, 1:], control[:, 1:], method="asymptotic", use_continuity=False).pvalue
    np.testing.assert_allclose(p[1:], expected, rtol=1e-8)
    assert p[0] == 1  # the silent gene


def test_rank_sum_and_fold_changes_equal_scanpy(cells):
    condition, control = cells
    names = [f"g{i}" for i in range(30)]
    data = ad.AnnData(
        np.concatenate([condition, control]),
        obs=pd.DataFrame({"group": pd.Categorical(["a"] * 60 + ["control"] * 200)}, index=[str(i) for i in range(260)]),
        var=pd.DataFrame(index=names),
    )
    data.uns["log1p"] = {"base": None}
    sc.tl.rank_genes_groups(data, "group", groups=["a"], reference="control", method="wilcoxon", tie_correct=True)
    table = sc.get.rank_genes_groups_df(data, "a").set_index("names").loc[names]
    p = rank_sum_p(condition, index_control(control))
    np.testing.assert_allclose(p[1:], table["pvals"].to_numpy()[1:], rtol=1e-6)
    np.testing.assert_array_equal(significant_genes(p[None])[0], table["pvals_adj"].fillna(1).to_numpy() < 0.05)
    ours = log2_fold_change(condition.mean(axis=0, dtype=np.float64), control.mean(axis=0, dtype=np.float64))
    np.testing.assert_allclose(ours, table["logfoldchanges"], rtol=1e-4, atol=1e-4)


def test_adjustment_equals_statsmodels_per_condition():
    p = np.random.default_rng(0).random((3, 50)) ** 4
    for row, found in zip(p, significant_genes(p), strict=True):
        np.testing.assert_array_equal(found, multipletests(row, 0.05, "fdr_bh")[0])
    assert not significant_genes(np.full((1, 5), np.nan)).any()


def test_moved_genes_are_found_and_null_genes_are_not(cells):
    condition, control = cells
    found = significant_genes(rank_sum_p(condition, index_control(control))[None])[0]
    assert found[1:6].all()
    assert found[6:].sum() <= 3


def test_without_cells_nothing_is_known(cells):
    _, control = cells
    assert np.isnan(rank_sum_p(control[:0], index_control(control))).all()
