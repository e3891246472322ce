"""Public layouts are read without surprise, and every matrix layout gives the same store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from store_cases import config, screen, write

from scbig_dist.store import matrix, shards
from scbig_dist.store.build import build_store
from scbig_dist.store.integrity import check_store
from scbig_dist.store.reader import open_store


def labels_of(store) -> set[str]:
    return {condition.perturbation for condition in store.conditions}


def test_store_reads_gears_labels(tmp_path: Path) -> None:
    adata = screen(labels=["ctrl", "GENE3+ctrl", "ctrl+GENE7", "GENE7+GENE3"])
    adata.var["gene_name"] = adata.var_names
    adata.var_names = [f"ENSG{i:011d}" for i in range(adata.n_vars)]
    manifest = build_store(write(adata, tmp_path), tmp_path / "s", config(), progress=False)
    store = open_store(tmp_path / "s")
    assert labels_of(store) == {"control", "GENE3", "GENE7", "GENE3+GENE7"}
    assert store.genes[:2] == ["GENE3", "GENE7"] and manifest.data.gene_names == "gene_name"
    assert "column 'gene_name' 2: taken as gene names" in manifest.notes[0]


def test_store_reads_scperturb_labels(tmp_path: Path) -> None:
    adata = screen(labels=["control", "GENE3", "GENE7_GENE3", "nan"])
    adata.obs = adata.obs.rename(columns={"condition": "perturbation"})
    settings = config(data__condition="perturbation", data__separator="_")
    manifest = build_store(write(adata, tmp_path), tmp_path / "s", settings, progress=False)
    assert labels_of(open_store(tmp_path / "s")) == {"control", "GENE3", "GENE3+GENE7"}
    assert manifest.dropped.cells_unlabelled == 60


def test_store_reads_replogle_labels(tmp_path: Path) -> None:
    adata = screen(labels=["non-targeting", "GENE3", "GENE7"])
    adata.obs = adata.obs.rename(columns={"condition": "gene"})
    settings = config(data__condition="gene", data__control="non-targeting")
    build_store(write(adata, tmp_path), tmp_path / "s", settings, progress=False)
    assert labels_of(open_store(tmp_path / "s")) == {"control", "GENE3", "GENE7"}


def test_store_keeps_doses_apart_and_pools_control(tmp_path: Path) -> None:
    adata = screen(labels=["DMSO", "drugA", "drugA"])
    adata.obs["dose"] = pd.Categorical(["0" if i % 3 == 0 else ("0.5" if i % 3 == 1 else "10") for i in range(240)])
    settings = config(data__control="DMSO", data__dose="dose")
    manifest = build_store(write(adata, tmp_path), tmp_path / "s", settings, progress=False)
    store = open_store(tmp_path / "s")
    assert [c.name for c in store.conditions] == ["all/control", "all/drugA@0.5", "all/drugA@10"]
    assert np.isnan(store.obs["dose"].iloc[0]) and store.obs["dose"].iloc[-1] == 10
    assert manifest.targets.absent == {"drugA": 2}


@pytest.mark.parametrize("layout", ["csc", "dense", "layer", "raw", "int32", "unsorted"])
def test_store_is_equal_for_every_layout(tmp_path: Path, layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    adata = screen()
    build_store(write(adata, tmp_path), tmp_path / "csr", config(), progress=False)
    whole = open_store(tmp_path / "csr")
    monkeypatch.setattr(matrix, "PART_ENTRIES", 700)  # parts of a few cells
    monkeypatch.setattr(shards, "SHARD_CELLS", 50)
    monkeypatch.setattr(shards, "SHARD_ENTRIES", 4000)
    settings = config()
    if layout == "csc":
        adata.X = adata.X.tocsc()
    elif layout == "dense":
        adata.X = adata.X.toarray()
    elif layout == "layer":
        adata.layers["counts"] = adata.X.astype(np.int64)
        adata.X = adata.X.log1p()
        settings = config(data__counts_layer="counts")
    elif layout == "raw":
        adata.raw = adata.copy()
        adata = adata[:, :50].copy()
        adata.X = adata.X.log1p()
        settings = config(data__counts_layer="raw")
    elif layout == "int32":
        adata.X = adata.X.astype(np.int32)
    else:  # reversed indices in each row, one entry split in two, one stored zero
        counts = adata.X.tocoo()
        rows, columns, values = (np.append(x[::-1], x[:1]) for x in (counts.row, counts.col, counts.data))
        values[-1] = 0
        order = np.argsort(rows, kind="stable")
        pointer = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=240))])
        adata.X = sparse.csr_matrix((values[order], columns[order], pointer), shape=adata.shape)
    manifest = build_store(write(adata, tmp_path, "other.h5ad"), tmp_path / "s", settings, progress=False)
    store = open_store(tmp_path / "s", verify=True)
    assert len(manifest.shards) > 4 and check_store(tmp_path / "s") == []
    assert store.genes == whole.genes and store.conditions == whole.conditions
    pd.testing.assert_frame_equal(store.obs, whole.obs)
    cells = np.random.default_rng(0).permutation(store.n_cells)
    np.testing.assert_array_equal(store.dense(cells), whole.dense(cells))
    assert not list(tmp_path.glob(".*"))


def test_store_reads_columns_of_every_kind(tmp_path: Path) -> None:
    adata = screen()
    adata.obs["dose"] = 1 + np.arange(240) % 2
    settings = config(data__context="line", data__batch="plate", data__total_counts="total", data__dose="dose")
    build_store(write(adata, tmp_path), tmp_path / "categories", settings, progress=False)
    whole = open_store(tmp_path / "categories").obs
    plain = adata.copy()
    plain.obs["dose"] = plain.obs["dose"].astype("Int64")
    plain.obs["total"] = plain.obs["total"].astype(str)  # numbers as text
    plain.write_h5ad(tmp_path / "plain.h5ad", convert_strings_to_categoricals=False)
    build_store(tmp_path / "plain.h5ad", tmp_path / "plain", settings, progress=False)
    pd.testing.assert_frame_equal(open_store(tmp_path / "plain").obs, whole)
    numbered = adata.copy()
    numbered.obs["plate"] = pd.Categorical(np.arange(240) % 3 + 7)  # categories that are no text
    build_store(write(numbered, tmp_path, "n.h5ad"), tmp_path / "n", settings, progress=False)
    names = {f"p{i}": str(i + 7) for i in range(3)}
    pd.testing.assert_frame_equal(
        open_store(tmp_path / "n").obs, whole.assign(batch=whole["batch"].cat.rename_categories(names))
    )


def test_store_drops_small_conditions_and_contexts_without_control(tmp_path: Path) -> None:
    adata = screen()
    adata.obs.loc["cell1", "condition"] = "GENE3+GENE99"
    adata.obs.loc[(adata.obs["line"] == "A549") & (adata.obs["condition"] == "control"), "condition"] = "GENE3"
    settings = config(data__context="line", qc__min_cells_per_condition=5)
    manifest = build_store(write(adata, tmp_path), tmp_path / "s", settings, progress=False)
    assert manifest.dropped.small_conditions == {"K562/GENE3+GENE99": 1}
    assert manifest.dropped.contexts_without_control == {"A549": 120}
    assert (
        manifest.contexts == ["K562"]
        and manifest.n_cells == 119
        and "GENE99" not in manifest.genes[: manifest.n_targets]
    )


def test_store_makes_duplicate_names_unique_and_says_so(tmp_path: Path) -> None:
    adata = screen()
    adata.var_names = ["GENE0", "GENE0", *adata.var_names[2:]]
    adata.obs_names = ["cell0", "cell0", *adata.obs_names[2:]]
    with pytest.warns(UserWarning, match="not unique"):
        path = write(adata.copy(), tmp_path)
    manifest = build_store(path, tmp_path / "s", config(), progress=False)
    assert "1 duplicate gene names made unique with a suffix (first: GENE0 → GENE0-1)" in manifest.notes
    assert {"GENE0", "GENE0-1"} < set(manifest.genes)
    assert {"cell0", "cell0-1"} < set(open_store(tmp_path / "s").obs.index)


def test_store_builds_byte_for_byte_the_same_twice(tmp_path: Path) -> None:
    path = write(screen(), tmp_path)
    first, second = (build_store(path, tmp_path / name, config(), progress=False) for name in "ab")
    assert first == second and open_store(tmp_path / "a").key == open_store(tmp_path / "b").key


def test_store_remembers_what_the_data_is(tmp_path: Path) -> None:
    adata = screen()
    for text, label in (("SEMI-SYNTHETIC: drawn", "semi-synthetic"), ("simulated", "simulated"), ("GEO", None)):
        adata.uns["source"] = text
        assert build_store(write(adata, tmp_path), tmp_path / text[:3], config(), progress=False).data_label == label
