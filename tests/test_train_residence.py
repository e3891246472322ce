"""Three forms of cells on a device give the same tensors; buffers come back when nobody holds them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from store_cases import config, screen, write

from scbig_dist.config_data import DataConfig
from scbig_dist.store.build import build_store
from scbig_dist.store.reader import Store, open_store
from scbig_dist.train import residence
from scbig_dist.train.residence import (
    Buffers,
    HostCells,
    ResidentCells,
    SparseCells,
    cell_source,
    max_count,
    memory_note,
)

CPU = torch.device("cpu")


def make(folder: Path, largest: int) -> Store:
    """Counts up to 255, beyond a byte, or beyond two."""
    adata = screen(120, 60)
    adata.X.data = np.minimum(adata.X.data, 255)
    adata.X[3, 5] = largest
    build_store(write(adata, folder), folder / "store", config(), progress=False)
    return open_store(folder / "store")


@pytest.fixture(scope="module", params=[255, 256, 65_535, 70_000])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make(tmp_path_factory.mktemp("residence"), request.param)


@pytest.mark.parametrize("n_genes", [1, 33, 60])
def test_the_forms_are_equal(store, n_genes):
    train = np.arange(7, store.n_cells)
    largest = max_count(store, train, n_genes)
    assert largest == store.dense(train, n_genes, normalized=False).max()
    forms = [HostCells(store, n_genes), SparseCells(store, n_genes, CPU)]
    if largest < 2**16:
        forms.append(ResidentCells(store, train, n_genes, CPU, largest))
    rng = np.random.default_rng(0)
    for cells in (rng.choice(train, 50), train[:1], train[:0]):
        more = rng.random((3, n_genes), dtype=np.float32)
        expected = np.log1p(
            store.dense(cells, n_genes, normalized=False).astype(np.float64)
            * (1e4 / store.obs["total_counts"].to_numpy()[cells, None])
        )
        for form in forms:
            torch.testing.assert_close(form(cells).double().numpy(), expected, rtol=1e-6, atol=0)
            both = form(cells, more)
            assert both.dtype == torch.float32 and torch.equal(both[: len(cells)], form(cells))
            assert np.array_equal(both[len(cells) :].numpy(), more)


def test_a_byte_holds_what_fits_one(store):
    train = np.arange(store.n_cells)
    largest = max_count(store, train, 60)
    if largest < 2**16:
        held = ResidentCells(store, train, 60, CPU, largest)._counts
        assert held.element_size() == (1 if largest < 256 else 2)


def test_sparse_rows_are_the_dense_ones(store):
    cells = np.random.default_rng(2).integers(0, store.n_cells, 40)
    for n_genes in (0, 1, 17, 60):
        rows = store.sparse(cells, n_genes)
        dense = np.zeros((40, n_genes), dtype=np.float32)
        owner = np.repeat(np.arange(40), np.diff(rows.pointer))
        dense[owner, rows.genes] = rows.counts
        assert np.array_equal(dense, store.dense(cells, n_genes, normalized=False))
    assert np.array_equal(rows.scale, store.scales(cells))


def test_store_rejects_a_buffer_of_another_type(store):
    with pytest.raises(ValueError, match="uint8 or uint16 array of shape"):
        store.narrow([0, 1], np.empty((2, 5), dtype=np.float32))


def test_buffers_are_used_again_once_let_go(store):
    source = HostCells(store, 60)
    held = [source(np.arange(start, start + 20)) for start in (0, 20, 40)]
    kept = [tensor.clone() for tensor in held]
    addresses = {tensor.data_ptr() for tensor in held}
    assert len(addresses) == 3
    part = held.pop()[5:7]  # a view holds its buffer
    again = source(np.arange(60, 80))
    assert again.data_ptr() not in addresses
    assert torch.equal(part, kept[2][5:7]) and torch.equal(held[0], kept[0])
    del part
    assert source(np.arange(80, 90)).data_ptr() in addresses, "fewer cells fit as well"


def test_buffers_grow():
    buffers = Buffers(4)
    first = buffers.take(2)
    del first
    assert buffers.take(5).shape == (5, 4)


def test_cpu_reads_dense_batches(store):
    source, note = cell_source(store, np.arange(store.n_cells), 60, CPU)
    assert isinstance(source, HostCells) and note is None


def test_note_where_the_store_exceeds_memory(store, monkeypatch):
    assert memory_note(store, DataConfig()) is None
    monkeypatch.setattr(residence, "available_memory", lambda: 1000)
    note = memory_note(store, DataConfig())
    assert note is not None and "data.shuffle=pools" in note
    assert memory_note(store, DataConfig(shuffle="pools")) is None
