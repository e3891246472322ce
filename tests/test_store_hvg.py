"""Gene rankings equal scanpy's; panels are prefixes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scanpy as sc
from store_cases import config, screen, write

from scbig_dist.errors import UserError
from scbig_dist.store import matrix
from scbig_dist.store.build import build_store
from scbig_dist.store.reader import open_store


def scanpy_ranking(adata, flavor: str) -> list[str]:
    """All genes, most variable first, by scanpy on data in memory."""
    own = adata.copy()
    if flavor == "seurat":
        sc.pp.normalize_total(own, target_sum=1e4)
        sc.pp.log1p(own)
        sc.pp.highly_variable_genes(own, flavor="seurat", n_top_genes=own.n_vars)
        return own.var["dispersions_norm"].sort_values(ascending=False, kind="stable").index.tolist()
    sc.pp.highly_variable_genes(own, flavor="seurat_v3", n_top_genes=own.n_vars)
    return own.var["highly_variable_rank"].sort_values(kind="stable").index.tolist()


def ranked_genes(manifest) -> list[str]:
    order = np.argsort([np.inf if rank is None else rank for rank in manifest.hvg_ranks], kind="stable")
    return [manifest.genes[place] for place in order]


@pytest.mark.parametrize("flavor", ["seurat_v3", "seurat"])
@pytest.mark.parametrize("seed", [0, 1])
def test_store_ranking_equals_scanpy(tmp_path: Path, flavor: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix, "PART_ENTRIES", 1000)  # many parts
    adata = screen(300, 400, seed)
    manifest = build_store(write(adata, tmp_path), tmp_path / "s", config(panel__hvg_flavor=flavor), progress=False)
    assert ranked_genes(manifest) == scanpy_ranking(adata, flavor)


@pytest.mark.parametrize("flavor", ["seurat_v3", "seurat"])
def test_store_ranking_equals_scanpy_after_qc(tmp_path: Path, flavor: str) -> None:
    adata = screen(300, 200, 2)
    counts = adata.X.toarray()
    counts[::9, 60:] = 0
    adata.X = type(adata.X)(counts)
    totals = np.asarray(adata.X.sum(axis=1)).ravel()
    settings = config(panel__hvg_flavor=flavor, qc__min_genes=70, qc__min_cells=120)
    manifest = build_store(write(adata, tmp_path), tmp_path / "s", settings, progress=False)
    rich = (adata.X > 0).sum(axis=1).A1 >= 70
    own, totals = adata[rich].copy(), totals[rich]
    passing = (own.X > 0).sum(axis=0).A1 >= 120
    assert manifest.dropped.cells_below_min_genes == (~rich).sum() > 0
    assert manifest.n_ranked == passing.sum() < 200
    if flavor == "seurat":  # library size is over all genes of the file
        own.X = own.X.multiply(1e4 / totals[:, None]).tocsr().astype(np.float32)
        own = own[:, passing].copy()
        sc.pp.log1p(own)
        sc.pp.highly_variable_genes(own, flavor="seurat", n_top_genes=own.n_vars)
        expected = own.var["dispersions_norm"].sort_values(ascending=False, kind="stable").index.tolist()
    else:
        expected = scanpy_ranking(own[:, passing], flavor)
    assert ranked_genes(manifest)[: manifest.n_ranked] == expected


def test_store_ranking_breaks_ties_as_scanpy(tmp_path: Path) -> None:
    adata = screen(200, 100, 3)
    counts = adata.X.toarray()
    counts[:, 85:] = 0
    for gene in range(85, 100):  # equal counts in different cells: equal scores
        counts[(gene * 3) % 200, gene] = 1
    adata.X = type(adata.X)(counts)
    manifest = build_store(write(adata, tmp_path), tmp_path / "s", config(), progress=False)
    assert len(set(manifest.hvg_ranks)) == 100
    assert ranked_genes(manifest) == scanpy_ranking(adata, "seurat_v3")


def test_store_puts_perturbed_genes_first_and_panels_are_prefixes(tmp_path: Path) -> None:
    adata = screen(300, 200, 4)
    path = write(adata, tmp_path)
    build_store(path, tmp_path / "all", config(), progress=False)
    store = open_store(tmp_path / "all")
    assert store.genes[:3] == ["GENE11", "GENE3", "GENE7"] and store.n_targets == 3
    ranks = store.manifest.hvg_ranks[3:]
    assert ranks == sorted(ranks)
    top = scanpy_ranking(adata, "seurat_v3")
    for n_hvg in (1, 10, 50, 200):
        panel = set(store.genes[: store.n_genes(n_hvg)])
        assert panel == set(top[:n_hvg]) | {"GENE11", "GENE3", "GENE7"}
    assert store.n_genes(None) == store.n_genes(5000) == 200
    build_store(path, tmp_path / "top", config(panel__n_hvg=50), progress=False)
    small = open_store(tmp_path / "top")
    assert small.genes == store.genes[: store.n_genes(50)]
    assert small.n_genes(10) == store.n_genes(10)
    with pytest.raises(UserError, match=r"keeps 50 HVGs of 200; build it with panel\.n_hvg=60"):
        small.n_genes(60)
    with pytest.raises(UserError, match="at least 1"):
        small.n_genes(0)


def test_store_caps_n_hvg_with_a_note(tmp_path: Path) -> None:
    manifest = build_store(write(screen(), tmp_path), tmp_path / "s", config(panel__n_hvg=5000), progress=False)
    assert manifest.n_hvg == 160 and "panel.n_hvg=5000 is above the 160 genes" in manifest.notes[0]


def test_store_keeps_a_perturbed_gene_below_min_cells(tmp_path: Path) -> None:
    adata = screen()
    counts = adata.X.toarray()
    counts[:, 7] = 0
    counts[5, 7] = 1
    adata.X = type(adata.X)(counts)
    manifest = build_store(write(adata, tmp_path), tmp_path / "s", config(qc__min_cells=3), progress=False)
    assert manifest.targets.below_min_cells == ["GENE7"]
    assert manifest.hvg_ranks[manifest.genes.index("GENE7")] is None
    assert manifest.targets.absent == {"ABSENT": 1}


def test_store_rejects_a_trend_that_cannot_be_fitted(tmp_path: Path) -> None:
    adata = screen(60, 4, labels=["control", "GENE1"])
    with pytest.raises(
        UserError, match=r"seurat_v3: the trend over . genes cannot be fitted .* panel.hvg_flavor=seurat"
    ):
        build_store(write(adata, tmp_path), tmp_path / "s", config(), progress=False)
    build_store(write(adata, tmp_path), tmp_path / "s", config(panel__hvg_flavor="seurat"), progress=False)
