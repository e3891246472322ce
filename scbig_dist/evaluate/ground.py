"""What predictions are measured against that no prediction enters: cells at hand, PCs, control cells."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from scbig_dist.conditions import Condition
from scbig_dist.metrics.de import index_control
from scbig_dist.models.means import BLOCK
from scbig_dist.nn.pca import PrincipalComponents, fit_pca
from scbig_dist.screen.splits import Split
from scbig_dist.store.reader import Store

Array = NDArray[np.float64]
X = TypeVar("X")
Y = TypeVar("Y")

N_COMPONENTS = 50
MAX_PCA_CELLS = 20_000  # more cells move the components less than their sampling error
MAX_KEPT_VALUES = 100_000_000  # 400 MB
MAX_CONTROL_CELLS = 2_000  # for differential expression and for the cells of baselines
MAX_CONDITION_CELLS = 2_000  # for differential expression


@dataclass(frozen=True)
class ControlPool:
    """A seeded draw of one context's control cells: positions in the store, and the same in PCs."""

    cells: NDArray[np.int64]
    cloud: Array


@dataclass(frozen=True)
class Ground:
    """A store's panel, the principal components of the training cells, and the control cells.

    `threads` work on conditions side by side. `cache` is where p-values of differential expression
    are kept between evaluations (significance.py); None: nowhere.
    """

    store: Store
    n_genes: int
    n_cells: int
    seed: int
    pca: PrincipalComponents
    n_pca_cells: int
    pools: dict[str, ControlPool]
    threads: int = 1
    cache: Path | None = None
    _indexed: dict[str, Any] = field(default_factory=dict)

    def rng(self, purpose: str) -> np.random.Generator:
        return generator(self.seed, purpose)

    def project(self, cells: NDArray[Any]) -> Array:
        """(cell, gene) expression as (cell, component), float64."""
        return np.asarray((cells - self.pca.mean) @ self.pca.components.T, dtype=np.float64)

    def draw(self, cells: NDArray[np.int64], n: int, purpose: str) -> NDArray[np.int64]:
        """At most n of the cells, ascending."""
        return draw(cells, n, self.rng(purpose))

    def cloud(self, cells: NDArray[np.int64]) -> Array:
        """The store's cells in PCs."""
        return self.project(self.store.dense(cells, self.n_genes))

    def indexed_control(self, context: str) -> Any:
        """The context's drawn control cells as rank sums take them; made at the first question."""
        if context not in self._indexed:
            self._indexed[context] = index_control(self.store.dense(self.pools[context].cells, self.n_genes))
        return self._indexed[context]

    def control_cloud(self, condition: Condition) -> Array:
        """`n_cells` control cells of the condition's context (fewer where there are fewer), its own draw."""
        cloud = self.pools[condition.context].cloud
        rows = self.draw(np.arange(len(cloud)), self.n_cells, f"controls {condition.name}")
        return cloud[rows]


def generator(seed: int, purpose: str) -> np.random.Generator:
    """A generator for one purpose: draws for one condition do not depend on the others."""
    return np.random.default_rng([seed, zlib.crc32(purpose.encode())])


def draw(cells: NDArray[np.int64], n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """At most n of the cells without replacement, ascending."""
    return cells if len(cells) <= n else np.sort(rng.choice(cells, n, replace=False))


def side_by_side(threads: int, work: Callable[[X], Y], items: Sequence[X]) -> list[Y]:
    """`work` of every item, in their order; for work that lets go of the GIL."""
    if threads == 1 or len(items) < 2:
        return [work(item) for item in items]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, items))


def lay_ground(
    store: Store,
    split: Split,
    contexts: Sequence[str],
    n_genes: int,
    n_cells: int,
    seed: int,
    threads: int = 1,
    cache: Path | None = None,
) -> Ground:
    """PCs of the training cells (all controls and the training conditions), controls of the contexts."""
    controls = [condition for condition in store.conditions if condition.is_control]
    cells = np.sort(np.concatenate([store.cells(condition) for condition in (*controls, *split.train)]))
    cells = draw(cells, MAX_PCA_CELLS, generator(seed, "pca cells"))

    def blocks() -> Iterator[NDArray[np.float32]]:
        for start in range(0, len(cells), BLOCK):
            yield store.dense(cells[start : start + BLOCK], n_genes)

    # The fit walks over the cells about ten times: a small panel is read once and kept meanwhile.
    kept = list(blocks()) if len(cells) * n_genes <= MAX_KEPT_VALUES else None
    n_components = min(N_COMPONENTS, n_genes, len(cells) - 1)
    pca = fit_pca(blocks if kept is None else lambda: kept, n_genes, n_components, generator(seed, "pca"))
    ground = Ground(store, n_genes, n_cells, seed, pca, len(cells), {}, threads, cache)
    for context in sorted(set(contexts)):
        rows = ground.draw(store.cells(store.control(context)), MAX_CONTROL_CELLS, f"pool {context}")
        ground.pools[context] = ControlPool(rows, ground.cloud(rows))
    return ground
