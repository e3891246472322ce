"""Every training cell once per epoch, whatever the blocks, pools and workers; pages are asked for before they are read."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_cases import config, screen, write

from scbig_dist.config_data import DataConfig
from scbig_dist.store.build import build_store
from scbig_dist.store.reader import Store, open_store
from scbig_dist.train.order import FullOrder, PoolOrder, epoch_order


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("order")
    build_store(write(screen(), folder), folder / "store", config(), progress=False)
    return open_store(folder / "store")


def walk(order: FullOrder | PoolOrder, n: int, size: int, epoch: int = 0) -> list[np.ndarray]:
    return [order.cells(epoch, start, start + size) for start in range(0, n, size)]


CASES = {
    "n": st.integers(1, 300),
    "block": st.integers(1, 40),
    "pool": st.integers(1, 120),
    "size": st.integers(1, 70),
    "gap": st.integers(1, 5),
}


@settings(deadline=None, max_examples=200)
@given(**CASES)
def test_pools_visit_each_cell_once_in_batches_of_the_right_size(n, block, pool, size, gap):
    cells = np.cumsum(np.random.default_rng(n).integers(1, gap + 1, n))
    batches = walk(PoolOrder(cells, 0, block, pool), n, size)
    assert [len(batch) for batch in batches[:-1]] == [size] * (len(batches) - 1)
    assert np.array_equal(np.sort(np.concatenate(batches)), cells)


@settings(deadline=None, max_examples=100)
@given(**CASES)
def test_batches_do_not_depend_on_what_was_read_before(n, block, pool, size, gap):
    cells = np.arange(n) * gap
    whole = walk(PoolOrder(cells, 3, block, pool), n, size, epoch=2)
    again = PoolOrder(cells, 3, block, pool)
    for index in np.random.default_rng(n).permutation(len(whole))[:5]:
        again.cells(int(index) % 3, 0, size)  # of another epoch, mostly
        assert np.array_equal(again.cells(2, index * size, (index + 1) * size), whole[index])


def test_a_pool_holds_whole_blocks():
    cells, block, pool = np.arange(1000), 10, 100
    order = PoolOrder(cells, 0, block, pool)
    for batch in walk(order, 1000, pool):
        assert len(set(batch // block)) == pool // block
        assert not np.array_equal(batch, np.sort(batch))
    one, other = order.cells(0, 0, 1000), order.cells(1, 0, 1000)
    assert not np.array_equal(one, other)


def test_order_is_named_by_the_settings():
    cells = np.arange(500)
    assert isinstance(epoch_order(cells, 0, DataConfig()), FullOrder)
    pools = epoch_order(cells, 0, DataConfig(shuffle="pools", block_cells=500, pool_cells=1))
    assert sorted(pools.cells(0, 0, 500)) == list(range(500)), "a pool is at least a block"


class Asked(Store):
    """A store that remembers what was asked for ahead."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.path, store.manifest, store.key)
        self.asked: list[int] = []

    def read_ahead(self, starts: np.ndarray, stops: np.ndarray) -> None:
        super().read_ahead(starts, stops)
        for start, stop in zip(starts, stops, strict=True):
            self.asked += range(start, stop)


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_pages_are_asked_for_before_they_are_read(store, world_size):
    cells, size = np.arange(store.n_cells), 16
    orders = [PoolOrder(cells, 0, 4, 64) for _ in range(world_size)]
    seen = [Asked(store) for _ in range(world_size)]
    n_missing = 0
    for start in range(0, len(cells), size):
        for rank, (order, own) in enumerate(zip(orders, seen, strict=True)):
            order.read_ahead(own, 0, start, start + size, rank, world_size)
            batch = np.array_split(np.sort(order.cells(0, start, start + size)), world_size)[rank]
            n_missing += len(set(batch.tolist()) - set(own.asked))
    assert n_missing == 0 if world_size == 1 else n_missing < 0.2 * len(cells)
    if world_size == 1:
        assert sorted(seen[0].asked) == cells.tolist(), "each page is asked for once"
    else:
        assert all(len(own.asked) < 0.8 * len(cells) for own in seen), "a rank asks for its part"


def test_a_run_that_goes_on_asks_for_the_pool_that_it_stands_in(store):
    own, order = Asked(store), PoolOrder(np.arange(store.n_cells), 0, 4, 64)
    order.read_ahead(own, 1, 80, 96, 0, 1)
    assert set(order.cells(1, 80, 96).tolist()) <= set(own.asked)


def test_reading_ahead_is_only_advice(store):
    store.expect_random(True)
    everything = store.dense(np.arange(store.n_cells))
    store.read_ahead(np.array([0, 7, 7, 200]), np.array([3, 7, 9, store.n_cells]))
    store.read_ahead(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
    store.expect_random(False)
    assert np.array_equal(store.dense(np.arange(store.n_cells)), everything)
