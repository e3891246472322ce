"""Real and semi-synthetic screens, cell by cell against the source."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import scanpy as sc

from scbig_dist.settings import build_config
from scbig_dist.store.build import build_store
from scbig_dist.store.integrity import check_store
from scbig_dist.store.reader import open_store


def compare(store, adata: ad.AnnData, totals: np.ndarray, seed: int) -> None:
    """Raw and normalised values of 200 random cells."""
    cells = np.random.default_rng(seed).choice(store.n_cells, 200, replace=False)
    places = adata.obs_names.get_indexer(store.obs.index[cells])
    own = ad.AnnData(adata[places, store.genes].X.copy().astype(np.float32))
    np.testing.assert_array_equal(store.dense(cells, normalized=False), own.X.toarray())
    own.X = own.X.multiply(1e4 / totals[places][:, None]).tocsr()
    sc.pp.log1p(own)
    np.testing.assert_allclose(store.dense(cells), own.X.toarray(), rtol=2e-6)


def test_store_of_real_cells(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "norman19_mcfaline23_5961x500.h5ad"
    values = {
        "data.counts_layer": "counts_recovered",
        "data.total_counts": "ncounts",
        "data.context": "cell_type",
        "qc.min_genes": 0,
        "qc.min_cells": 3,
    }
    manifest = build_store(path, tmp_path / "s", build_config(values), progress=False)
    assert check_store(tmp_path / "s") == []
    store = open_store(tmp_path / "s")
    assert store.n_cells == 5961 and manifest.contexts == ["A172", "T98G", "U87MG", "k562"]
    assert sum(len(c.targets) == 2 for c in store.conditions) == 15
    assert manifest.n_targets == 1 and len(manifest.targets.absent) == 30
    adata = ad.read_h5ad(path)
    adata.X = adata.layers["counts_recovered"]
    compare(store, adata, adata.obs["ncounts"].to_numpy(), 0)
    own = adata.copy()
    sc.pp.filter_genes(own, min_cells=3)
    sc.pp.highly_variable_genes(own, flavor="seurat_v3", n_top_genes=own.n_vars)
    order = own.var["highly_variable_rank"].sort_values(kind="stable").index.tolist()
    ranked = sorted(zip(manifest.hvg_ranks, manifest.genes, strict=True))
    assert [gene for _, gene in ranked] == order


def test_store_of_semi_synthetic_cells(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "norman2019_semisynthetic_41100x1657.h5ad"
    values = {"data.total_counts": "n_umis_total", "qc.min_genes": 0, "panel.n_hvg": 500}
    manifest = build_store(path, tmp_path / "s", build_config(values), progress=False)
    assert check_store(tmp_path / "s") == []
    assert manifest.data_label == "semi-synthetic" and manifest.n_cells == 41_100
    assert sum(len(entry.condition.targets) == 2 for entry in manifest.conditions) == 130
    store = open_store(tmp_path / "s")
    adata = ad.read_h5ad(path)
    compare(store, adata, adata.obs["n_umis_total"].to_numpy(np.float64), 1)
    sc.pp.filter_genes(adata, min_cells=50)
    sc.pp.highly_variable_genes(adata, flavor="seurat_v3", n_top_genes=500)
    assert set(adata.var_names[adata.var["highly_variable"]]) <= set(store.genes)
    ranks = adata.var["highly_variable_rank"].reindex(store.genes).to_numpy()
    known = ~np.isnan(ranks)
    np.testing.assert_array_equal(np.array(manifest.hvg_ranks, dtype=float)[known], ranks[known])
