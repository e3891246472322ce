"""Who reads batches of cells: ours, a bare loop, and what peers use. Each gives dense float32 raw counts of the same cells."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import anndata as ad
import h5py
import numba
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from anndata.io import read_elem
from scipy import sparse

from scbig_dist.store.reader import Store
from scbig_dist.train.order import PoolOrder

BATCH, BLOCK, POOL = 1024, 64, 16_384
Read = Callable[[np.ndarray], np.ndarray]


class Screen:
    """The .h5ad and its store, with the way from one to the other."""

    def __init__(self, source: Path, store: Store) -> None:
        self.source, self.store, self.folder = source, store, source.parent
        self.row = np.array([int(name.removeprefix("cell")) for name in store.obs.index])  # of the file, by position
        self.column = np.array([int(name.removeprefix("G")) for name in store.genes])

        self.flat = self._flat()

    def _flat(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Row pointer, and uint16 genes and counts in the store's order as memory-mapped files.

        On return every page of them and of the store is in memory and mapped: warm means that.
        """
        lengths, files = [], [self.folder / name for name in ("genes.bin", "counts.bin")]
        with open(files[0], "wb") as genes, open(files[1], "wb") as counts:
            for start in range(0, self.store.n_cells, POOL):
                rows = self.store.sparse(np.arange(start, min(start + POOL, self.store.n_cells)))
                lengths.append(np.diff(rows.pointer))
                genes.write(rows.genes.data)
                counts.write(rows.counts.data)
        maps = [np.memmap(path, dtype=np.uint16, mode="r") for path in files]
        assert all(values.max() < 2**16 for values in maps)
        return np.cumsum(np.concatenate([[0], *lengths])), maps[0], maps[1]


@numba.njit(nogil=True)
def bare_scatter(cells, pointer, genes, counts, n_genes, out):
    """What reading random rows of a memory-mapped CSR costs at least, written plainly."""
    for row in range(len(cells)):
        out[row, :] = 0
        for i in range(pointer[cells[row]], pointer[cells[row] + 1]):
            if genes[i] >= n_genes:
                break
            out[row, genes[i]] = counts[i]


def bare(screen: Screen, n_genes: int) -> Read:
    pointer, genes, counts = screen.flat
    out = np.empty((BATCH, n_genes), dtype=np.float32)

    def read(cells: np.ndarray) -> np.ndarray:
        bare_scatter(cells, pointer, genes, counts, n_genes, out)
        return out

    return read


def ours(screen: Screen, n_genes: int) -> Read:
    out = np.empty((BATCH, n_genes), dtype=np.float32)
    return lambda cells: screen.store.dense(cells, n_genes, normalized=False, out=out)


def ours_log(screen: Screen, n_genes: int) -> Read:
    out = np.empty((BATCH, n_genes), dtype=np.float32)
    return lambda cells: screen.store.dense(cells, n_genes, out=out)


def ours_sparse(screen: Screen, n_genes: int) -> Read:
    """CSR rows, to be sent to a GPU; not dense."""
    return lambda cells: screen.store.sparse(cells, n_genes).genes


def arrow_take(screen: Screen, n_genes: int) -> Read:
    pointer, genes, counts = screen.flat
    lists = {
        name: pa.LargeListArray.from_arrays(pointer, values) for name, values in (("genes", genes), ("counts", counts))
    }
    batch = pa.record_batch(lists)
    out = np.empty((BATCH, n_genes), dtype=np.float32)

    def read(cells: np.ndarray) -> np.ndarray:
        return lists_to_dense(batch.take(pa.array(cells)), out)

    return read


def lists_to_dense(rows: pa.RecordBatch | pa.Table, out: np.ndarray) -> np.ndarray:
    """Rows with list columns `genes` and `counts` into the first rows of `out`."""
    genes, counts = (
        column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        for column in (rows["genes"], rows["counts"])
    )
    pointer = np.asarray(genes.offsets, dtype=np.int64)
    genes, counts = np.asarray(genes.values), np.asarray(counts.values)
    bare_scatter(np.arange(len(pointer) - 1), pointer, genes, counts, out.shape[1], out)
    return out


def scipy_in_memory(screen: Screen, n_genes: int) -> Read:
    with h5py.File(screen.source) as file:
        matrix = read_elem(file["X"])
    columns = screen.column[:n_genes]
    return lambda cells: matrix[screen.row[cells]][:, columns].toarray()


def backed_h5ad(screen: Screen, n_genes: int) -> Read:
    adata = ad.read_h5ad(screen.source, backed="r")
    columns = screen.column[:n_genes]

    def read(cells: np.ndarray) -> np.ndarray:
        rows, back = np.unique(screen.row[cells], return_inverse=True)  # h5py reads rising rows alone
        return adata.X[rows][:, columns][back].toarray()

    return read


def blocks_of_store(screen: Screen, read: Read) -> Iterator[np.ndarray]:
    """Batches in the order of `data.shuffle=pools`, without end."""
    order, epoch = PoolOrder(np.arange(screen.store.n_cells), 0, BLOCK, POOL), 0
    while True:
        for start in range(0, screen.store.n_cells - BATCH, BATCH):
            yield read(order.cells(epoch, start, start + BATCH))
        epoch += 1


def scdataset_batches(screen: Screen, n_genes: int, block: int, fetch: int) -> Iterator[np.ndarray] | None:
    """scDataset on the backed .h5ad, dense batches without end; None where it is not installed."""
    if importlib.util.find_spec("scdataset") is None:
        return None
    from scdataset import BlockShuffling, scDataset

    adata = ad.read_h5ad(screen.source, backed="r")
    columns = screen.column[:n_genes]

    def fetched(collection, rows) -> sparse.csr_matrix:
        return collection.X[rows][:, columns]

    def walk() -> Iterator[np.ndarray]:
        while True:
            for batch in scDataset(
                adata, BlockShuffling(block_size=block), BATCH, fetch_factor=fetch, fetch_callback=fetched
            ):
                yield batch.toarray()

    return walk()


def ray_batches(screen: Screen, n_genes: int) -> Iterator[np.ndarray] | None:
    """Ray Data on Parquet (list columns of uint16, a row group per 1,024 cells) with its local shuffle buffer; several processes."""
    import ray
    import ray.data

    folder = screen.folder / "parquet"
    if not folder.exists():
        folder.mkdir()
        for index in range(4):  # a third of the cells: Ray's object store holds them
            rows = screen.store.sparse(np.arange(index * POOL, (index + 1) * POOL))
            lists = {
                name: pa.LargeListArray.from_arrays(rows.pointer, values)
                for name, values in (("genes", rows.genes), ("counts", rows.counts))
            }
            pq.write_table(pa.table(lists), folder / f"{index}.parquet", row_group_size=1024)
    if not ray.is_initialized():
        ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    out = np.empty((BATCH, n_genes), dtype=np.float32)

    def walk() -> Iterator[np.ndarray]:
        while True:
            rows = ray.data.read_parquet(str(folder))
            for batch in rows.iter_batches(
                batch_size=BATCH, batch_format="pyarrow", local_shuffle_buffer_size=POOL, drop_last=True
            ):
                yield lists_to_dense(batch, out)

    return walk()
