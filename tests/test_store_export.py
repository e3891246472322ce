"""A store given back as an .h5ad file: equal to what was kept, and built into the same store again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from scipy import sparse
from store_cases import LOOSE, config, screen, write
from typer.testing import CliRunner

from scbig_dist.cli.store import app
from scbig_dist.errors import UserError
from scbig_dist.settings import build_config
from scbig_dist.store import export
from scbig_dist.store.build import build_store
from scbig_dist.store.export import export_store
from scbig_dist.store.reader import open_store


def rich_screen() -> ad.AnnData:
    """Every column that a store knows, labels spelled in their own way, cells and a batch without labels."""
    adata = screen(240, 120)
    spelled = {"control": "NT", "GENE7+GENE3": "GENE7;GENE3"}
    adata.obs["guide"] = [spelled.get(label, label) for label in adata.obs["condition"]]
    adata.obs["um"] = [np.nan if label == "NT" else 0.5 * (i % 2) + 0.1 for i, label in enumerate(adata.obs["guide"])]
    adata.obs["guide"] = adata.obs["guide"].mask(np.arange(240) % 50 == 7)
    adata.obs["plate"] = adata.obs["plate"].mask(np.arange(240) % 9 == 0)
    adata.uns["data_label"] = "simulated"
    return adata


RICH: dict[str, Any] = {
    "data.condition": "guide",
    "data.control": "NT",
    "data.separator": ";",
    "data.context": "line",
    "data.batch": "plate",
    "data.dose": "um",
    "data.total_counts": "total",
}


def build(adata: ad.AnnData, folder: Path, values: dict[str, Any]) -> Path:
    build_store(
        write(adata, folder), folder / "s", build_config({**LOOSE, "panel.n_hvg": None} | values), progress=False
    )
    return folder / "s"


@pytest.mark.parametrize(
    ("values", "block"), [(RICH, 7), ({}, 4096), ({"data.context": "line", "panel.n_hvg": 30}, 50)]
)
def test_export_equals_the_input_and_builds_the_same_store(
    tmp_path: Path, values: dict[str, Any], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "BLOCK_CELLS", block)
    adata = rich_screen()
    store = open_store(build(adata, tmp_path, values))
    assert export_store(store, tmp_path / "out.h5ad", progress=False) == (store.n_cells, len(store.genes))
    out = ad.read_h5ad(tmp_path / "out.h5ad")
    own = adata[out.obs_names, out.var_names]
    assert out.X.dtype == np.float32 and sparse.isspmatrix_csr(out.X) and out.X.has_sorted_indices
    assert (out.X != own.X).nnz == 0 and out.obs_names.tolist() == store.obs.index.tolist()
    assert out.var_names.tolist() == store.genes
    total = values.get("data.total_counts", "total_counts")
    np.testing.assert_array_equal(out.obs[total], store.obs["total_counts"])
    for column in ("line", "plate", "um") if values is RICH else ("line",) if values else ():
        pd.testing.assert_series_equal(
            out.obs[column].astype(object), own.obs[column].astype(object), check_names=False, check_dtype=False
        )
    label = values.get("data.condition", "condition")
    separator = values.get("data.separator", "+")
    assert [set(text.split(separator)) for text in out.obs[label]] == [set(t.split(separator)) for t in own.obs[label]]
    assert out.uns["data_label"] == "simulated" and out.uns["store"]["key"] == store.key
    sc.pp.normalize_total(out)  # scanpy takes it as it is
    again = build_config({**LOOSE, "panel.n_hvg": None} | values | {"data.total_counts": total})
    manifest = build_store(tmp_path / "out.h5ad", tmp_path / "again", again, progress=False)
    assert manifest.data_label == "simulated"
    if "panel.n_hvg" not in values:  # a cut panel is ranked anew
        assert manifest.shards == store.manifest.shards and manifest.genes == store.genes
    assert manifest.conditions == store.manifest.conditions


def test_export_of_some_conditions_and_genes(tmp_path: Path) -> None:
    store = open_store(build(screen(240, 120), tmp_path, {"data.context": "line"}))
    asked = ["control", "GENE7+GENE3", "K562/GENE11"]
    n_cells, n_genes = export_store(store, tmp_path / "out.h5ad", 20, asked, progress=False)
    out = ad.read_h5ad(tmp_path / "out.h5ad")
    assert out.shape == (n_cells, n_genes) == (100, store.n_genes(20))
    assert set(zip(out.obs["line"], out.obs["condition"], strict=True)) == {
        ("A549", "control"), ("K562", "control"), ("A549", "GENE3+GENE7"), ("K562", "GENE3+GENE7"), ("K562", "GENE11")
    }  # fmt: skip
    keep = store.obs.index.get_indexer(out.obs_names)
    np.testing.assert_array_equal(out.X.toarray(), store.dense(keep, n_genes, normalized=False))


def test_export_keeps_names_that_meet(tmp_path: Path) -> None:
    adata = screen(60, 40)
    adata.obs["total_counts"] = adata.obs.pop("plate")
    store = open_store(build(adata[:, :].copy(), tmp_path, {"data.batch": "total_counts"}))
    export_store(store, tmp_path / "out.h5ad", progress=False)
    out = ad.read_h5ad(tmp_path / "out.h5ad")
    assert set(out.obs.columns) == {"condition", "total_counts", "store_total_counts"}


def test_export_of_real_cells_equals_the_file(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "norman19_mcfaline23_5961x500.h5ad"
    values = {
        "data.counts_layer": "counts_recovered",
        "data.total_counts": "ncounts",
        "data.context": "cell_type",
        "qc.min_genes": 0,
        "qc.min_cells": 3,
    }
    build_store(source, tmp_path / "s", build_config(values), progress=False)
    store = open_store(tmp_path / "s")
    export_store(store, tmp_path / "out.h5ad", progress=False)
    out, own = ad.read_h5ad(tmp_path / "out.h5ad"), ad.read_h5ad(source)
    own = own[out.obs_names, out.var_names]
    assert out.n_obs == 5961 and (own.layers["counts_recovered"] != out.X).nnz == 0
    assert out.obs["cell_type"].tolist() == own.obs["cell_type"].tolist()
    np.testing.assert_array_equal(out.obs["ncounts"], own.obs["ncounts"])
    del values["data.counts_layer"]
    again = build_store(tmp_path / "out.h5ad", tmp_path / "again", build_config(values), progress=False)
    # Genes of the very same counts have no order of their own (scanpy's sort), so columns are compared by name.
    same = open_store(tmp_path / "again")
    assert sorted(again.genes) == sorted(store.genes) and again.conditions == store.manifest.conditions
    columns = [again.genes.index(gene) for gene in store.genes]
    cells = np.arange(store.n_cells)
    np.testing.assert_array_equal(same.dense(cells)[:, columns], store.dense(cells))
    assert same.obs.equals(store.obs)


def test_export_rejects_what_it_cannot_do(tmp_path: Path) -> None:
    store = open_store(build(screen(60, 40), tmp_path, {}))
    out = tmp_path / "out.h5ad"
    for arguments, match in (
        ((out, None, ["GENE33"]), r"--condition GENE33: not in the store; did you mean 'GENE3'"),
        ((tmp_path / "out.csv",), "ends with .h5ad"),
        ((tmp_path / "none" / "out.h5ad",), "no directory"),
        ((tmp_path,), "ends with .h5ad"),
    ):
        with pytest.raises(UserError, match=match):
            export_store(store, *arguments, progress=False)
    assert not out.exists()
    out.write_text("mine")
    with pytest.raises(UserError, match="exists; choose another name or write over it with --force"):
        export_store(store, out, progress=False)
    assert out.read_text() == "mine"
    export_store(store, out, force=True, progress=False)
    assert ad.read_h5ad(out).n_obs == 60 and not list(tmp_path.glob(".out*"))


def test_export_rejects_a_disk_that_fills_up(tmp_path: Path) -> None:
    store = build(screen(240, 120), tmp_path, {})
    script = (
        "import resource, sys\nfrom pathlib import Path\nfrom scbig_dist.errors import UserError\n"
        "from scbig_dist.store.export import export_store\nfrom scbig_dist.store.reader import open_store\n"
        "store = open_store(sys.argv[1])\nstore.sparse([0])\nresource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "try: export_store(store, Path(sys.argv[2]), progress=False)\nexcept UserError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, store, tmp_path / "out.h5ad"], capture_output=True, text=True)
    assert "out.h5ad: cannot be written (File too large); free some room" in done.stdout, done.stderr
    assert not list(tmp_path.glob("*out*")) and not list(tmp_path.glob(".out*"))


def test_export_of_a_store_of_one_cell_per_condition(tmp_path: Path) -> None:
    store = build_store(
        write(screen(12, 40), tmp_path), tmp_path / "s", config(panel__hvg_flavor="seurat"), progress=False
    )
    assert export_store(open_store(tmp_path / "s"), tmp_path / "out.h5ad", progress=False)[0] == store.n_cells


def test_export_and_a_stray_shard_by_command(tmp_path: Path) -> None:
    store, out = build(screen(60, 40), tmp_path, {"panel.hvg_flavor": "seurat"}), tmp_path / "out.h5ad"
    arguments = ["export", str(store), str(out), "--genes", "5", "--condition", "GENE3", "--quiet"]
    done = CliRunner().invoke(app, arguments)
    assert done.output == f"{out}: 10 cells × {open_store(store).n_genes(5)} genes\n", done.output
    (store / "cells-00007.arrow").write_bytes(b"")
    assert "note: cells-00007.arrow is not in the manifest" in CliRunner().invoke(app, ["check", str(store)]).output
