"""Column-major counts turned into blocks of cells, through bucket files on disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from scipy import sparse

Triplets = tuple[np.ndarray, np.ndarray, np.ndarray]  # cells, genes, values


def csc_blocks(
    pieces: Iterable[Triplets], shape: tuple[int, int], n_entries: int, block_entries: int, scratch: Path
) -> Iterator[tuple[int, sparse.csr_matrix]]:
    """(first cell, CSR block) in rising order, from triplets in any order.

    One pass writes each entry to the bucket of its block of cells, a second reads bucket by
    bucket: memory is bounded by a piece and a bucket, and the file is read once.
    """
    n_buckets = max(1, -(-n_entries // block_entries))
    n_rows = -(-shape[0] // n_buckets)
    value_type = np.dtype(np.float64)
    for cells, genes, values in pieces:
        value_type = values.dtype
        bucket = cells // n_rows
        order = np.argsort(bucket, kind="stable")
        ends = np.cumsum(np.bincount(bucket, minlength=n_buckets))
        begin = 0
        for index, end in enumerate(ends):
            if end > begin:
                part = order[begin:end]
                for name, column in (("cells", cells), ("genes", genes), ("values", values)):
                    kept = column[part] if name == "values" else column[part].astype(np.int32)
                    with open(scratch / f"bucket-{index}-{name}", "ab") as bucket_file:
                        bucket_file.write(kept.tobytes())
            begin = end
    for index, start in enumerate(range(0, shape[0], n_rows)):
        rows = min(n_rows, shape[0] - start)
        files = [scratch / f"bucket-{index}-{name}" for name in ("cells", "genes", "values")]
        if not files[0].exists():
            yield start, sparse.csr_matrix((rows, shape[1]), dtype=value_type)
            continue
        cells, genes = (np.fromfile(file, dtype=np.int32) for file in files[:2])
        values = np.fromfile(files[2], dtype=value_type)
        for file in files:
            file.unlink()
        yield start, sparse.coo_matrix((values, (cells - start, genes)), shape=(rows, shape[1])).tocsr()
