"""What `dense` returns is what scanpy computes."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import scanpy as sc
from store_cases import config, screen, write

from scbig_dist.conditions import Condition
from scbig_dist.errors import UserError
from scbig_dist.store.build import build_store
from scbig_dist.store.kernel import log1p
from scbig_dist.store.reader import Store, open_store


@pytest.fixture(scope="module")
def adata():
    return screen()


@pytest.fixture(scope="module")
def store(adata, tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("dense")
    settings = config(data__context="line", data__batch="plate")
    build_store(write(adata, folder), folder / "store", settings, progress=False)
    return open_store(folder / "store")


def scanpy_values(adata, store: Store, totals: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """normalize_total by given totals is division by them; log1p from scanpy."""
    own = adata[store.obs.index[cells]].copy()
    own.X = own.X.multiply(1e4 / totals[:, None]).tocsr().astype(np.float32)
    sc.pp.log1p(own)
    return own[:, store.genes].X.toarray()


def test_store_dense_equals_scanpy(adata, store: Store) -> None:
    cells = np.random.default_rng(1).permutation(store.n_cells)[:100]
    expected = sc.pp.log1p(sc.pp.normalize_total(adata, target_sum=1e4, copy=True), copy=True)
    wanted = expected[store.obs.index[cells], store.genes].X.toarray()
    np.testing.assert_allclose(store.dense(cells), wanted, rtol=2e-6)
    np.testing.assert_allclose(
        store.dense(cells), scanpy_values(adata, store, store.obs["total_counts"].to_numpy()[cells], cells), rtol=2e-6
    )
    raw = store.dense(cells, normalized=False)
    np.testing.assert_array_equal(raw, adata[store.obs.index[cells], store.genes].X.toarray())
    assert raw.max() > 64, "some counts lie beyond the table of logarithms"


def test_store_prefix_panel_is_the_head_of_the_whole(store: Store) -> None:
    cells = np.array([5, 5, 0, store.n_cells - 1])
    whole = store.dense(cells)
    for n_genes in (0, 1, 17, len(store.genes)):
        np.testing.assert_array_equal(store.dense(cells, n_genes), whole[:, :n_genes])


def test_store_total_counts_column_normalises(adata, tmp_path: Path) -> None:
    build_store(
        write(adata, tmp_path), tmp_path / "s", config(data__total_counts="total", panel__n_hvg=20), progress=False
    )
    store = open_store(tmp_path / "s")
    cells = np.arange(0, store.n_cells, 7)
    totals = adata.obs.loc[store.obs.index[cells], "total"].to_numpy(np.float64)
    np.testing.assert_array_equal(store.obs["total_counts"].to_numpy()[cells], totals)
    np.testing.assert_allclose(store.dense(cells), scanpy_values(adata, store, totals, cells), rtol=2e-6)


def test_store_out_is_overwritten_and_returned(store: Store) -> None:
    out = np.full((3, 10), 7, dtype=np.float32)
    assert store.dense([1, 2, 3], 10, out=out) is out
    np.testing.assert_array_equal(out, store.dense([1, 2, 3], 10))
    with pytest.raises(ValueError, match="C-ordered float32 array of shape"):
        store.dense([1, 2], 10, out=out)
    with pytest.raises(ValueError, match="C-ordered"):
        store.dense([1, 2, 3], 10, out=np.zeros((10, 3), dtype=np.float32).T)


@pytest.mark.parametrize("cells", [[-1], [0, 240], [0.5], [[0]], [True]])
def test_store_rejects_cells_that_are_not_there(store: Store, cells: list) -> None:
    with pytest.raises(IndexError, match="cell"):
        store.dense(cells)


def test_store_accepts_no_cells_and_rejects_too_many_genes(store: Store) -> None:
    assert store.dense([]).shape == (0, len(store.genes))
    with pytest.raises(IndexError, match="n_genes=161: the store has 160"):
        store.dense([0], 161)


def test_store_cells_are_sorted_by_condition_and_stable(adata, store: Store) -> None:
    assert list(store.conditions) == sorted(store.conditions)
    assert store.control("A549") == Condition("A549", "control")
    for condition in store.conditions:
        part = store.obs.iloc[store.cells(condition)]
        assert (part["context"] == condition.context).all() and (part["condition"] == condition.perturbation).all()
        places = adata.obs_names.get_indexer(part.index)
        assert (np.diff(places) > 0).all()
        assert (adata.obs.loc[part.index, "plate"] == part["batch"].astype(str)).all()
    assert store.runs[-1, 2] == store.n_cells == len(store.obs)
    assert "GENE3+GENE7" in set(store.obs["condition"])
    with pytest.raises(UserError, match="did you mean 'K562/GENE11'"):
        store.cells(Condition("K562", "GENE111"))
    with pytest.raises(UserError, match="context k562"):
        store.control("k562")


def test_store_is_the_same_in_threads_and_other_processes(store: Store) -> None:
    cells = np.arange(store.n_cells)
    expected = store.dense(cells)
    with ThreadPoolExecutor(4) as pool:
        for result in pool.map(lambda _: store.dense(cells), range(8)):
            np.testing.assert_array_equal(result, expected)
    copy = pickle.loads(pickle.dumps(store))
    assert copy.key == store.key
    np.testing.assert_array_equal(copy.dense(cells), expected)


def test_store_widens_counts_beyond_uint16(tmp_path: Path) -> None:
    adata = screen(60, 40)
    adata.X[3, 5] = 70_000
    manifest = build_store(write(adata, tmp_path), tmp_path / "s", config(), progress=False)
    assert manifest.count_type == "uint32"
    store = open_store(tmp_path / "s")
    cell = list(store.obs.index).index("cell3")
    np.testing.assert_array_equal(store.dense([cell], normalized=False)[0], adata["cell3", store.genes].X.toarray()[0])


def test_store_logarithm_is_numpys() -> None:
    x = np.concatenate([np.logspace(-7, 9, 200_001), np.linspace(0, 64, 200_001)])
    own = np.array([log1p(value) for value in x])
    np.testing.assert_allclose(own, np.log1p(x), rtol=1e-8)
    assert log1p(0.0) == 0
