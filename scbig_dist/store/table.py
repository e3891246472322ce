"""Annotation columns of cells, read one at a time: never a data frame with a string per cell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
from anndata.io import read_elem

from scbig_dist.store.matrix import unreadable

CHUNK = 262_144  # text values held at once as Python strings


class Factor(NamedTuple):
    """A column as codes into its labels."""

    codes: np.ndarray  # int32, -1: missing
    labels: list[str]  # unique


class Table(Protocol):
    """What is known of the cells of one file, or of several in a row."""

    @property
    def n_cells(self) -> int: ...

    def lacks(self, name: str) -> tuple[Path, Sequence[str]] | None:
        """The first file without the column, and the columns that it has."""

    def factor(self, name: str) -> Factor: ...

    def numbers(self, name: str) -> np.ndarray | None:
        """float64, NaN where missing; None where the column is no column of numbers."""

    def names(self, start: int, stop: int) -> pa.LargeStringArray:
        """Names of the cells from `start` to `stop`."""


@dataclass(frozen=True)
class H5Table:
    """`obs` of an .h5ad file as anndata ≥ 0.7 writes it."""

    path: Path
    n_cells: int
    columns: tuple[str, ...]
    index: str

    def lacks(self, name: str) -> tuple[Path, Sequence[str]] | None:
        return None if name in self.columns else (self.path, self.columns)

    def factor(self, name: str) -> Factor:
        with _opened(self.path) as file:
            element = file["obs"][name]
            if isinstance(element, h5py.Group) and {"codes", "categories"} <= set(element):
                return _relabel(element["codes"][:], read_elem(element["categories"]))
            if isinstance(element, h5py.Dataset) and "categories" in element.attrs:  # anndata 0.7
                return _relabel(element[:], read_elem(file[element.attrs["categories"]]))
            if isinstance(element, h5py.Dataset) and h5py.check_string_dtype(element.dtype):
                return _factorize(element.asstr()[start : start + CHUNK] for start in range(0, self.n_cells, CHUNK))
            return _factorize([read_elem(element)])

    def numbers(self, name: str) -> np.ndarray | None:
        with _opened(self.path) as file:
            element = file["obs"][name]
            if isinstance(element, h5py.Dataset):
                plain = element.dtype.kind in "biuf" and "categories" not in element.attrs
                return element[:].astype(np.float64, copy=False) if plain else None
            if not str(element.attrs.get("encoding-type", "")).startswith("nullable-"):
                return None
            values = read_elem(element)
        return values.to_numpy(np.float64, na_value=np.nan) if pd.api.types.is_numeric_dtype(values) else None

    def names(self, start: int, stop: int) -> pa.LargeStringArray:
        with _opened(self.path) as file:
            element = file["obs"][self.index]
            if isinstance(element, h5py.Group):
                return _text(np.asarray(read_elem(element))[start:stop].astype(str))
            return _text(element[start:stop])


@dataclass(frozen=True)
class FrameTable:
    """Cells of a small table in memory."""

    path: Path
    frame: pd.DataFrame  # by cell name

    @property
    def n_cells(self) -> int:
        return len(self.frame)

    def lacks(self, name: str) -> tuple[Path, Sequence[str]] | None:
        return None if name in self.frame.columns else (self.path, tuple(map(str, self.frame.columns)))

    def factor(self, name: str) -> Factor:
        return _factorize([self.frame[name]])

    def numbers(self, name: str) -> np.ndarray | None:
        column = self.frame[name]
        return column.to_numpy(np.float64, na_value=np.nan) if pd.api.types.is_numeric_dtype(column) else None

    def names(self, start: int, stop: int) -> pa.LargeStringArray:
        return _text(self.frame.index[start:stop].astype(str).to_numpy())


@dataclass(frozen=True)
class JoinedTable:
    """Several tables in a row."""

    tables: tuple[Table, ...]

    @property
    def n_cells(self) -> int:
        return sum(table.n_cells for table in self.tables)

    def lacks(self, name: str) -> tuple[Path, Sequence[str]] | None:
        return next((lack for table in self.tables if (lack := table.lacks(name))), None)

    def factor(self, name: str) -> Factor:
        place: dict[str, int] = {}
        codes = []
        for table in self.tables:
            part = table.factor(name)
            new = [place.setdefault(label, len(place)) for label in part.labels]
            codes.append(np.array([*new, -1], dtype=np.int32)[part.codes])
        return Factor(np.concatenate(codes), list(place))

    def numbers(self, name: str) -> np.ndarray | None:
        parts = [table.numbers(name) for table in self.tables]
        return None if any(part is None for part in parts) else np.concatenate(parts)  # type: ignore[arg-type]

    def names(self, start: int, stop: int) -> pa.LargeStringArray:
        pieces, first = [], 0
        for table in self.tables:
            low, high = max(start - first, 0), min(stop - first, table.n_cells)
            if low < high:
                pieces.append(table.names(low, high))
            first += table.n_cells
        return pa.concat_arrays(pieces) if pieces else pa.array([], pa.large_string())


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, KeyError, RuntimeError) as error:
        raise unreadable(path, error) from None


def _relabel(codes: np.ndarray, categories: Sequence[object]) -> Factor:
    """Codes with categories that need not be text, nor differ as text."""
    labels = _factorize([pd.Series(np.asarray(categories))])
    return Factor(np.append(labels.codes, np.int32(-1))[codes], labels.labels)


def _factorize(chunks: Sequence[object] | Iterator[object]) -> Factor:
    place: dict[str, int] = {}
    codes = []
    for chunk in chunks:
        part, values = pd.factorize(chunk)  # type: ignore[call-overload]  # -1 where NaN
        new = [place.setdefault(str(value), len(place)) for value in values]
        codes.append(np.array([*new, -1], dtype=np.int32)[part])
    return Factor(np.concatenate(codes) if codes else np.zeros(0, np.int32), list(place))


def _text(values: np.ndarray) -> pa.LargeStringArray:
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8")
    if values.dtype.kind == "O" and len(values) and isinstance(values[0], bytes):
        return pa.array(values, pa.large_binary()).cast(pa.large_string())
    return pa.array([str(value) for value in values], pa.large_string())
