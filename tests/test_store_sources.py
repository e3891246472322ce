"""Several files become one store, and 10x files are read with a table beside them."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from store_cases import config, screen, write
from test_store_bad_input import refuse

from scbig_dist.errors import UserError
from scbig_dist.store import matrix, shards
from scbig_dist.store.build import build_store
from scbig_dist.store.integrity import check_store
from scbig_dist.store.reader import Store, open_store


def rows_by_name(store: Store) -> pd.DataFrame:
    """Raw counts by cell and gene name."""
    counts = store.dense(np.arange(store.n_cells), normalized=False)
    return pd.DataFrame(counts, index=store.obs.index, columns=store.genes)


def split_screen(folder: Path, adata: ad.AnnData, n_files: int = 2) -> Path:
    """The cells of a screen in several files of another gene order each."""
    folder.mkdir()
    for number, cells in enumerate(np.array_split(np.arange(adata.n_obs), n_files)):
        genes = np.random.default_rng(number).permutation(adata.n_vars) if number else np.arange(adata.n_vars)
        write(adata[cells][:, genes].copy(), folder, f"batch{number}.h5ad")
    return folder


def write_tenx(adata: ad.AnnData, path: Path, table: bool = True, guides: int = 3) -> Path:
    """A file as Cell Ranger 3 writes it, and the table of cells beside it."""
    counts = sparse.hstack([adata.X, sparse.csr_matrix(np.ones((adata.n_obs, guides)))]).tocsr()
    features = [*adata.var_names, *(f"guide{i}" for i in range(guides))]
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        group["barcodes"] = np.array(adata.obs_names, dtype="S")
        group["data"], group["indices"] = counts.data.astype(np.int32), counts.indices.astype(np.int64)
        group["indptr"], group["shape"] = counts.indptr.astype(np.int64), np.array(counts.shape[::-1], dtype=np.int32)
        group["features/id"] = np.array([f"ENSG{i}" for i in range(len(features))], dtype="S")
        group["features/name"] = np.array(features, dtype="S")
        kinds = ["Gene Expression"] * adata.n_vars + ["CRISPR Guide Capture"] * guides
        group["features/feature_type"] = np.array(kinds, dtype="S")
    if table:
        adata.obs.sample(frac=1, random_state=0).to_csv(path.with_suffix(".csv"))
    return path


def test_store_of_a_directory_equals_that_of_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adata = screen()
    settings = config(data__context="line", data__batch="plate")
    build_store(write(adata, tmp_path), tmp_path / "one", settings, progress=False)
    monkeypatch.setattr(matrix, "PART_ENTRIES", 2000)
    monkeypatch.setattr(shards, "SHARD_CELLS", 50)
    manifest = build_store(split_screen(tmp_path / "in", adata, 3), tmp_path / "many", settings, progress=False)
    one, many = open_store(tmp_path / "one"), open_store(tmp_path / "many")
    assert one.genes == many.genes and one.conditions == many.conditions and check_store(tmp_path / "many") == []
    pd.testing.assert_frame_equal(one.obs, many.obs)
    pd.testing.assert_frame_equal(rows_by_name(one), rows_by_name(many))
    assert [Path(source.path).name for source in manifest.sources] == ["batch0.h5ad", "batch1.h5ad", "batch2.h5ad"]
    assert [source.n_cells for source in manifest.sources] == [80, 80, 80] and manifest.data.path == str(
        tmp_path / "in"
    )


def test_store_is_the_same_for_any_number_of_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from scbig_dist.store.workers import threads

    monkeypatch.setattr(matrix, "PART_ENTRIES", 700)
    monkeypatch.setattr(shards, "SHARD_CELLS", 20)
    path = write(screen(), tmp_path)
    keys = []
    for n_threads in (1, 5):
        with threads(n_threads) as run:
            build_store(path, tmp_path / str(n_threads), config(panel__hvg_flavor="seurat"), progress=False, run=run)
        keys.append(open_store(tmp_path / str(n_threads), verify=True).key)
    assert keys[0] == keys[1]


def test_store_names_cells_of_several_files_apart(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(2):
        write(screen(120, seed=number), tmp_path / "in", f"batch{number}.h5ad")
    manifest = build_store(tmp_path / "in", tmp_path / "s", config(), progress=False)
    names = open_store(tmp_path / "s").obs.index
    assert names.is_unique and set(names) == {f"cell{i}{end}" for i in range(120) for end in ("", "-batch1")}
    assert "120 duplicate cell names made unique with a suffix (first: cell0 → cell0-batch1)" in manifest.notes


def test_store_of_several_files_keeps_the_genes_of_all(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    whole = screen()
    write(whole[:120, :150].copy(), tmp_path / "in", "a.h5ad")
    write(whole[120:, 20:].copy(), tmp_path / "in", "b.h5ad")
    with pytest.raises(
        UserError, match=r"GENE11: a target, and no gene of .*b.h5ad \(it is one of .*a.h5ad\)"
    ) as error:
        build_store(tmp_path / "in", tmp_path / "s", config(), progress=False)
    assert "\n" not in str(error.value)
    write(whole[120:, 2:].copy(), tmp_path / "in", "b.h5ad")
    manifest = build_store(tmp_path / "in", tmp_path / "s", config(), progress=False)
    assert set(manifest.genes) == {f"GENE{i}" for i in range(2, 150)}
    assert manifest.notes[:2] == [
        "a.h5ad: 2 of 150 genes are not in every file and count nowhere",
        "b.h5ad: 10 of 158 genes are not in every file and count nowhere",
    ]
    build_store(write(whole[:, 2:150].copy(), tmp_path), tmp_path / "cut", config(), progress=False)
    pd.testing.assert_frame_equal(open_store(tmp_path / "s").obs, open_store(tmp_path / "cut").obs)


def test_store_reads_10x_files_with_a_table_beside_them(tmp_path: Path) -> None:
    adata = screen()
    settings = config(data__context="line", data__batch="plate", data__total_counts="total")
    build_store(write(adata, tmp_path), tmp_path / "one", settings, progress=False)
    manifest = build_store(write_tenx(adata, tmp_path / "run.h5"), tmp_path / "tenx", settings, progress=False)
    one, tenx = open_store(tmp_path / "one"), open_store(tmp_path / "tenx")
    pd.testing.assert_frame_equal(one.obs, tenx.obs)
    pd.testing.assert_frame_equal(rows_by_name(one), rows_by_name(tenx))
    assert "3 features that are no gene expression left out" in manifest.notes
    assert manifest.sources[0].labels == str(tmp_path / "run.csv") and manifest.sources[0].labels_sha256


def test_store_leaves_out_barcodes_that_the_table_does_not_have(tmp_path: Path) -> None:
    path = write_tenx(screen(), tmp_path / "run.h5")
    table = pd.read_csv(tmp_path / "run.csv", index_col=0)
    table.iloc[40:].to_csv(tmp_path / "run.csv")
    manifest = build_store(path, tmp_path / "s", config(), progress=False)
    assert manifest.dropped.cells_unlabelled == 40 and manifest.n_cells == 200


def test_store_rejects_a_10x_file_without_labels(tmp_path: Path) -> None:
    path = write_tenx(screen(), tmp_path / "run.h5", table=False)
    refuse(path, r"a 10x file has no labels of cells; put a table beside it, run.csv \(or .tsv\)")
    (tmp_path / "run.csv").write_text("barcode,condition\nAAAC-1,control\n")
    refuse(path, r"none of its 1 cells is a barcode of run.h5 \(there: cell0\)")
    (tmp_path / "run.csv").write_text("barcode,condition\ncell1,control\ncell1,GENE3\n")
    refuse(path, r"1 barcodes stand twice \(first: cell1\)")
    (tmp_path / "run.csv").write_text('a,b\n"' + "x,y,z\n" * 9)
    refuse(path, "no table that can be read")


def test_store_rejects_h5_files_that_are_not_10x(tmp_path: Path) -> None:
    path = write(screen(), tmp_path)
    path.rename(tmp_path / "in.h5")
    refuse(tmp_path / "in.h5", "an AnnData file; name it .h5ad")
    with h5py.File(tmp_path / "in.h5", "w") as file:
        file["hg19/barcodes"], file["hg19/gene_names"] = np.zeros(3), np.zeros(3)
    refuse(tmp_path / "in.h5", "written by Cell Ranger 2; read it with scanpy.read_10x_h5")
    with h5py.File(tmp_path / "in.h5", "w") as file:
        file["matrix/barcodes"] = np.zeros(3)
    refuse(tmp_path / "in.h5", "a 10x file without matrix/data")


def test_store_rejects_directories_that_cannot_be_one_store(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "notes.txt").write_text("no cells")
    refuse(folder, "a directory without any .h5ad or 10x .h5 file")
    path = write(screen(), folder, "a.h5ad")
    write_tenx(screen(), folder / "b.h5")
    refuse(folder, "a.h5ad and .*b.h5: .h5ad and 10x .h5 files do not mix")
    (folder / "b.h5").unlink()
    (folder / "b.h5ad").write_bytes(path.read_bytes())
    refuse(folder, "b.h5ad: the same content as .*a.h5ad; give every file once")
    other = screen(seed=1)
    other.var_names = [f"OTHER{i}" for i in range(other.n_vars)]
    write(other, folder, "b.h5ad")
    refuse(folder, "no gene is in all 2 files")
    other = screen(seed=1)
    other.obs = other.obs.drop(columns="condition")
    write(other, folder, "b.h5ad")
    refuse(folder, "data.condition=condition: no such column in obs of .*b.h5ad")
    with pytest.raises(UserError, match=r"a.h5ad: given twice"):
        build_store([path, path], tmp_path / "s", config(), progress=False)


def test_store_rejects_a_disk_without_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from collections import namedtuple

    from scbig_dist.store import room

    path = write(screen(), tmp_path)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(room.shutil, "disk_usage", lambda folder: usage(10**9, 10**9, 1000))
    refuse(path, r"0.0 GB are needed on this disk and 0.0 GB are free; free space or name a STORE elsewhere")
