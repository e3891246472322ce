"""The cell cycle that the semi-synthetic cells were drawn with comes out in gene modules, and not in random ones."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pytest

from scbig_dist.interpret.module_audit import Enrichment, enrich, read_sets
from scbig_dist.interpret.partition import cluster_store
from scbig_dist.settings import build_config
from scbig_dist.store.build import build_store
from scbig_dist.train.random import generator

N_CELLS = 12_000


@pytest.fixture(scope="module")
def store(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of a part of the cells, drawn at random; all 1,657 genes."""
    folder = tmp_path_factory.mktemp("semisynthetic")
    whole = ad.read_h5ad(shared_data / "norman2019_semisynthetic_41100x1657.h5ad")
    rows = np.sort(np.random.default_rng(0).choice(whole.n_obs, N_CELLS, replace=False))
    whole[rows].copy().write_h5ad(folder / "part.h5ad")
    config = build_config({"data.total_counts": "n_umis_total", "qc.min_genes": 0})
    build_store(folder / "part.h5ad", folder / "store", config, progress=False)
    return folder / "store"


def found(store: Path, shared_data: Path, clustering: str) -> Enrichment:
    values = {
        "priors.pathways": str(shared_data / "reactome_pathways.gmt.gz"),
        "priors.ppi": str(shared_data / "string_v12_links_symbol.tsv.gz"),
        "grc.clustering": clustering,
        "train.threads": 1,
    }
    partition = cluster_store(str(store), None, values)
    sets = read_sets(partition.experiment)
    assert sets is not None
    return enrich(partition.module_of_gene, sets, generator(0, "test"))


@pytest.mark.parametrize("clustering", ["grc", "kmeans"])
def test_the_cell_cycle_is_a_module(store, shared_data, clustering):
    enriched = found(store, shared_data, clustering)
    first = enriched.table.iloc[0]
    assert "Cell Cycle" in first["pathway"], "the most significant gene set of all"
    assert first["q"] < 1e-3 and first["overlap"] > 5 * first["expected"]
    assert enriched.n_random.mean() < 1


def test_the_cell_cycle_is_in_no_random_module(store, shared_data):
    enriched = found(store, shared_data, "random")
    rows = enriched.table[enriched.table["pathway"].str.contains("Cell Cycle|Mitotic")]
    assert len(rows) > 50 and (rows["q"] > 0.05).all()
