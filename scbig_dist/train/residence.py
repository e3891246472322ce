"""How cells become dense, log-normalised tensors on the device that trains: three forms with one call.

The two forms for a GPU are tested equal to the third, on a GPU where there is one.
"""

from __future__ import annotations

import weakref
from collections import deque
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from scbig_dist.config_data import DataConfig
from scbig_dist.store.reader import Store

RESIDENT_SHARE = 0.4  # of a GPU's free memory that cells may take for good
BLOCK = 4096  # cells that pass through host memory at a time


class CellSource(Protocol):
    """Cells by position in the store."""

    def __call__(self, cells: np.ndarray, more: np.ndarray | None = None) -> Float[Tensor, "cell gene"]:
        """float32, log-normalised, over the panel; `more` are dense rows that follow the cells."""
        ...


class Buffers:
    """Host arrays that are used again once the last tensor on them is gone.

    A fresh array costs the kernel a page fault per 4 KB: at 10,000 genes more than filling it does.
    """

    def __init__(self, n_genes: int) -> None:
        self._n_genes = n_genes
        self._free: deque[np.ndarray] = deque()

    def take(self, n_cells: int) -> np.ndarray:
        """float32 (n_cells, gene), its content undefined."""
        base = self._free.popleft() if self._free else np.empty((0, self._n_genes), dtype=np.float32)
        if len(base) < n_cells:
            base = np.empty((n_cells, self._n_genes), dtype=np.float32)
        view = base[:n_cells]
        weakref.finalize(view, self._free.append, base).atexit = False
        return view


class HostCells:
    """Dense in host memory: for training on CPU."""

    def __init__(self, store: Store, n_genes: int) -> None:
        self._store, self._n_genes = store, n_genes
        self._buffers = Buffers(n_genes)

    def __call__(self, cells: np.ndarray, more: np.ndarray | None = None) -> Tensor:
        out = self._buffers.take(len(cells) + (0 if more is None else len(more)))
        self._store.dense(cells, self._n_genes, out=out[: len(cells)])
        if more is not None:
            out[len(cells) :] = more
        return torch.from_numpy(out)


class SparseCells:
    """Rows gathered as CSR, sent as they are and made dense on the device: a tenth of the bytes."""

    def __init__(self, store: Store, n_genes: int, device: torch.device) -> None:
        self._store, self._n_genes, self._device = store, n_genes, device

    def __call__(self, cells: np.ndarray, more: np.ndarray | None = None) -> Tensor:
        kept: list[Tensor] = []

        def empty(n: int, type_: type) -> np.ndarray:
            """Memory that a GPU reads without a copy; torch uses it again once what was sent has arrived."""
            signed = torch.int16 if type_ is np.uint16 else torch.int32
            kept.append(torch.empty(n, dtype=signed, pin_memory=self._device.type == "cuda"))
            return kept[-1].numpy().view(type_)

        rows = self._store.sparse(cells, self._n_genes, empty)
        genes, counts = (_unsigned(part.to(self._device, non_blocking=True)) for part in kept)
        length = to_device(np.diff(rows.pointer), self._device)
        scale = to_device(rows.scale, self._device)
        row = torch.repeat_interleave(
            torch.arange(len(cells), device=self._device), length, output_size=len(rows.genes)
        )
        out = torch.zeros(len(cells), self._n_genes, device=self._device)
        out.view(-1)[row * self._n_genes + genes] = counts.float().mul_(scale[row]).log1p_()
        return _followed(out, more)


class ResidentCells:
    """Counts of all training cells on the device, a byte or two per entry; normalised when they are asked for."""

    def __init__(self, store: Store, cells: np.ndarray, n_genes: int, device: torch.device, largest: int) -> None:
        assert largest < 2**16, "wider counts are not held: see cell_source"
        self._device, is_byte = device, largest < 2**8
        type_, held = (np.uint8, np.uint8) if is_byte else (np.uint16, np.int16)
        kind = torch.uint8 if is_byte else torch.int16
        self._counts = torch.empty(len(cells), n_genes, dtype=kind, device=device)
        self._scale = torch.empty(len(cells), device=device)
        self._place = torch.full((store.n_cells,), -1, dtype=torch.int64, device=device)
        self._place[torch.from_numpy(cells).to(device)] = torch.arange(len(cells), device=device)
        buffer = np.empty((min(BLOCK, len(cells)), n_genes), dtype=type_)
        for start in range(0, len(cells), BLOCK):
            part = cells[start : start + BLOCK]
            block = store.narrow(part, buffer[: len(part)])
            self._counts[start : start + len(part)] = torch.from_numpy(block.view(held)).to(device)
            self._scale[start : start + len(part)] = torch.from_numpy(store.scales(part)).to(device)

    def __call__(self, cells: np.ndarray, more: np.ndarray | None = None) -> Tensor:
        place = self._place[to_device(cells, self._device)]
        counts = self._counts[place]
        if counts.dtype == torch.int16:
            counts = _unsigned(counts)
        return _followed(counts.float().mul_(self._scale[place, None]).log1p_(), more)


def cell_source(store: Store, cells: np.ndarray, n_genes: int, device: torch.device) -> tuple[CellSource, str | None]:
    """The form that fits the device, for the training cells `cells`; on a GPU a note that says which and why."""
    if device.type == "cpu":
        return passing_source(store, n_genes, device), None
    torch.cuda.empty_cache()  # what an earlier stage or trial of this process let go is free, too
    free = torch.cuda.mem_get_info(device)[0]
    largest = max_count(store, cells, n_genes)
    n_bytes = len(cells) * n_genes * (1 if largest < 2**8 else 2)
    fit = f"{n_bytes / 1e9:.1f} GB of counts, {free / 1e9:.1f} GB free on the GPU"
    if largest < 2**16 and n_bytes <= RESIDENT_SHARE * free:
        return ResidentCells(store, cells, n_genes, device, largest), f"training cells stay on the GPU ({fit})"
    return passing_source(store, n_genes, device), f"cells are sent to the GPU as sparse rows ({fit})"


def passing_source(store: Store, n_genes: int, device: torch.device) -> CellSource:
    """The form for cells that are asked for once."""
    return HostCells(store, n_genes) if device.type == "cpu" else SparseCells(store, n_genes, device)


def memory_note(store: Store, data: DataConfig) -> str | None:
    """A warning where random cells would wait for the disk."""
    size, free = store.bytes_of_rows, available_memory()
    if data.shuffle == "pools" or free is None or size <= free:
        return None
    return (
        f"the store's rows ({size / 1e9:.1f} GB) exceed the memory that is free here ({free / 1e9:.1f} GB), so random "
        "cells wait for the disk; data.shuffle=pools reads neighbouring cells ahead"
    )


def available_memory() -> int | None:
    """Bytes that programs and the page cache may still take; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def max_count(store: Store, cells: np.ndarray, n_genes: int) -> int:
    """The largest count of these cells in the panel."""
    parts = (store.sparse(cells[start : start + BLOCK], n_genes).counts for start in range(0, len(cells), BLOCK))
    return max((int(part.max(initial=0)) for part in parts), default=0)


def to_device(array: np.ndarray, device: torch.device) -> Tensor:
    """The array on a device; to a GPU from pinned memory, so that nobody waits for the copy."""
    tensor = torch.from_numpy(array)
    return tensor if device.type == "cpu" else tensor.pin_memory().to(device, non_blocking=True)


def _unsigned(tensor: Tensor) -> Tensor:
    """int64 values of unsigned bits in a signed type; torch computes little with the unsigned ones."""
    return tensor.long() & ((1 << 8 * tensor.element_size()) - 1)


def _followed(out: Tensor, more: np.ndarray | None) -> Tensor:
    return out if more is None else torch.cat([out, to_device(more, out.device)])
