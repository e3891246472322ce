"""In which order an epoch visits the training cells: a function of (seed, epoch), the same for any number of workers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scbig_dist.config_data import DataConfig
from scbig_dist.store.reader import Store
from scbig_dist.train.random import generator

SLACK = 0.05  # of a pool: how far the borders between the ranks' shares of a batch wander


@dataclass(frozen=True)
class _Epoch:
    """What is remembered of the epoch at hand."""

    index: int
    order: np.ndarray


class FullOrder:
    """A permutation of all cells, for a store whose pages stay in memory."""

    def __init__(self, cells: np.ndarray, seed: int) -> None:
        self._cells, self._seed = cells, seed
        self._epoch: _Epoch | None = None

    def cells(self, epoch: int, start: int, stop: int) -> np.ndarray:
        """The cells at these places of the epoch."""
        if self._epoch is None or self._epoch.index != epoch:
            self._epoch = _Epoch(epoch, generator(self._seed, "epoch", epoch).permutation(self._cells))
        return self._epoch.order[start:stop]

    def read_ahead(self, store: Store, epoch: int, start: int, stop: int, rank: int, world_size: int) -> None:
        """Nothing: any cell may come next."""


class PoolOrder:
    """Blocks of neighbouring cells are permuted and gathered into pools; cells are shuffled within their pool.

    The disk sees blocks; a batch sees cells of `pool / block` places of the store.
    """

    def __init__(self, cells: np.ndarray, seed: int, block: int, pool: int) -> None:
        self._cells, self._seed, self._block = cells, seed, block
        self._per_pool = max(pool // block, 1)  # blocks
        self._n_blocks = -(-len(cells) // block)
        self._epoch: _Epoch | None = None
        self._asked: tuple[tuple[int, int], ...] = ()
        self._pools: dict[tuple[int, int], np.ndarray] = {}  # the last two

    def cells(self, epoch: int, start: int, stop: int) -> np.ndarray:
        """The cells at these places of the epoch."""
        ends = self._ends(epoch)
        parts = []
        while start < min(stop, len(self._cells)):
            pool = int(np.searchsorted(ends, start, side="right"))
            first, end = (int(ends[pool - 1]) if pool else 0), int(ends[pool])
            parts.append(self._pool(epoch, pool)[start - first : stop - first])
            start = end
        return np.concatenate(parts) if parts else self._cells[:0]

    def read_ahead(self, store: Store, epoch: int, start: int, stop: int, rank: int, world_size: int) -> None:
        """Ask for the share of the next pool that lies as far into it as these places lie into theirs.

        A pool's pages are thus asked for evenly while the pool before it is consumed; the first one when it begins.
        """
        ends = self._ends(epoch)
        pool = int(np.searchsorted(ends, start, side="right"))
        first, end = (int(ends[pool - 1]) if pool else 0), int(ends[pool])
        if (epoch, pool) not in self._asked:  # of an epoch's start, or where a run goes on
            self._ask(store, self._share(epoch, pool, rank, world_size))
        self._asked = ((epoch, pool), (epoch, pool + 1))
        if pool + 1 < len(ends):
            blocks = self._share(epoch, pool + 1, rank, world_size)
            low, high = ((place - first) * len(blocks) // (end - first) for place in (start, min(stop, end)))
            self._ask(store, blocks[low:high])

    def _share(self, epoch: int, pool: int, rank: int, world_size: int) -> np.ndarray:
        """The blocks of a pool that a rank will read: its part of every batch is the same part of the store's order, roughly."""
        blocks = np.sort(self._blocks(epoch, pool))
        low, high = rank / world_size - SLACK, (rank + 1) / world_size + SLACK
        return blocks[max(int(low * len(blocks)), 0) : int(np.ceil(high * len(blocks)))]

    def _blocks(self, epoch: int, pool: int) -> np.ndarray:
        return self._permuted(epoch)[pool * self._per_pool : (pool + 1) * self._per_pool]

    def _permuted(self, epoch: int) -> np.ndarray:
        if self._epoch is None or self._epoch.index != epoch:
            self._epoch = _Epoch(epoch, generator(self._seed, "epoch", epoch).permutation(self._n_blocks))
        return self._epoch.order

    def _ends(self, epoch: int) -> np.ndarray:
        """Where each pool ends in the epoch; the store's last block may be short, wherever it falls."""
        order = self._permuted(epoch)
        n_pools = -(-self._n_blocks // self._per_pool)
        ends = np.minimum(np.arange(1, n_pools + 1) * self._per_pool, self._n_blocks) * self._block
        short = self._n_blocks * self._block - len(self._cells)
        ends[int(np.flatnonzero(order == self._n_blocks - 1)[0]) // self._per_pool :] -= short
        return ends

    def _pool(self, epoch: int, pool: int) -> np.ndarray:
        if (epoch, pool) not in self._pools:
            blocks = self._blocks(epoch, pool)
            places = (blocks[:, None] * self._block + np.arange(self._block)).ravel()
            rng = generator(self._seed, f"pool of epoch {epoch}", pool)
            cells = rng.permutation(self._cells[places[places < len(self._cells)]])
            self._pools = {**dict([*self._pools.items()][-1:]), (epoch, pool): cells}
        return self._pools[epoch, pool]

    def _ask(self, store: Store, blocks: np.ndarray) -> None:
        # Cells of a block are neighbours among training cells; where the store has others between them, those come too.
        last = np.minimum((blocks + 1) * self._block, len(self._cells)) - 1
        store.read_ahead(self._cells[blocks * self._block], self._cells[last] + 1)


def epoch_order(cells: np.ndarray, seed: int, data: DataConfig) -> FullOrder | PoolOrder:
    """The order that `data.shuffle` names, over ascending positions."""
    if data.shuffle == "full":
        return FullOrder(cells, seed)
    return PoolOrder(cells, seed, data.block_cells, data.pool_cells)
