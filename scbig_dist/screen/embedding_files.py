"""Readers of the four file forms that gene vectors come in."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pandas as pd

from scbig_dist.errors import UserError, no_file, suggest
from scbig_dist.screen.textfile import is_number, read_first_lines, split_fields

FORMS = ".npz, .csv, .tsv (also .gz), .pt, .h5ad (file.h5ad:key for an entry of varm)"
SYMBOL_KEYS = ("genes", "gene", "symbols", "names")
VECTOR_KEYS = ("vectors", "embeddings", "embedding")


class Content(NamedTuple):
    """What a file holds, not yet checked."""

    name: str
    genes: list[str]
    vectors: np.ndarray


def read(path: Path | str) -> Content:
    """Symbols and vectors of a file; the form is told by the name's ending."""
    text = str(path)
    file, key = Path(text), None
    if ".h5ad:" in text:
        stem, _, key = text.rpartition(":")
        file = Path(stem)
    where = f"embedding {path}"
    suffixes = [suffix for suffix in file.suffixes if suffix != ".gz"]
    form = suffixes[-1].lower() if suffixes else ""
    readers = {".npz": read_npz, ".csv": read_table, ".tsv": read_table, ".pt": read_torch, ".h5ad": read_h5ad}
    if form not in readers:
        raise UserError(f"{where}: unknown form '{form or file.name}'; choices: {FORMS}")
    if not file.is_file():
        absent = "a directory; give a file" if file.is_dir() else no_file(file, f"name a file of vectors: {FORMS}")
        raise UserError(f"{where}: {absent}")
    genes, vectors = readers[form](file, where) if form != ".h5ad" else read_h5ad(file, where, key)
    try:
        matrix = np.asarray(vectors, dtype=np.float32)
    except (ValueError, TypeError):
        raise UserError(f"{where}: the vectors are not numbers of one width") from None
    return Content(file.name if key is None else f"{file.name}:{key}", [str(gene) for gene in genes], matrix)


def read_npz(file: Path, where: str) -> tuple[Any, Any]:
    """Arrays `genes` and `vectors` (or `embeddings`), or one vector per symbol."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            content = {key: arrays[key] for key in arrays.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, AttributeError, TypeError):
        raise UserError(f"{where}: not an .npz of plain arrays; write it with numpy.savez") from None
    return from_mapping(content, where)


def read_table(file: Path, where: str) -> tuple[Any, Any]:
    """First column symbols, the others numbers; a header is optional."""
    line = read_first_lines(file, where)[0]
    separator = "\t" if ".tsv" in file.suffixes else ","
    fields = split_fields(line, separator)
    if len(fields) < 2:
        raise UserError(
            f"{where}: one column; expected a symbol and its vector, separated by {'tabs' if separator == chr(9) else 'commas'}"
        )
    named = fields[0] in ("", "symbol", "index", *SYMBOL_KEYS) or not any(is_number(field) for field in fields[1:])
    try:
        table = pd.read_csv(
            file,
            sep=separator,
            header=0 if named else None,
            dtype={0: str},
            keep_default_na=False,
            na_values={"nan", "NaN", ""},
        )
    except (pd.errors.ParserError, UnicodeDecodeError, OSError, EOFError) as error:
        raise UserError(f"{where}: not a table ({str(error).splitlines()[0]})") from None
    if table.empty:
        raise UserError(f"{where}: no vectors in it")
    numbers = table.iloc[:, 1:]
    wrong = [str(column) for column, kind in numbers.dtypes.items() if not np.issubdtype(kind, np.number)]
    if wrong:
        raise UserError(f"{where}: column '{wrong[0]}' is not numeric; expected a symbol column, then numbers")
    return table.iloc[:, 0].tolist(), numbers.to_numpy(dtype=np.float32)


def read_torch(file: Path, where: str) -> tuple[Any, Any]:
    """A mapping symbol -> tensor, or {'genes': [...], 'vectors': tensor}; no code in the file is run."""
    import torch

    try:
        content = torch.load(file, weights_only=True, map_location="cpu")
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError, KeyError, AttributeError):
        raise UserError(f"{where}: not a .pt of plain tensors; save a dict symbol -> tensor with torch.save") from None
    if not isinstance(content, dict):
        raise UserError(
            f"{where}: holds a {type(content).__name__}; expected a dict symbol -> tensor, or 'genes' and 'vectors'"
        )
    return from_mapping(
        {str(k): v.float().numpy() if isinstance(v, torch.Tensor) else v for k, v in content.items()}, where
    )


def read_h5ad(file: Path, where: str, key: str | None = None) -> tuple[Any, Any]:
    """An entry of `varm`, the first by default, by the names of `var`."""
    import anndata.io

    try:
        with h5py.File(file, "r") as h5:
            keys = sorted(h5["varm"]) if "varm" in h5 else []
            if not keys:
                raise UserError(f"{where}: `varm` is empty; put the vectors there or use another form: {FORMS}")
            if key is not None and key not in keys:
                raise UserError(f"{where}: no '{key}' in `varm`; {suggest(key, keys)}")
            vectors = anndata.io.read_elem(h5["varm"][key or keys[0]])
            genes = anndata.io.read_elem(h5["var"]).index.tolist()
    except (OSError, KeyError) as error:
        raise UserError(f"{where}: not an .h5ad file ({str(error).splitlines()[0]})") from None
    if hasattr(vectors, "toarray"):
        vectors = vectors.toarray()
    return genes, np.asarray(vectors)


def from_mapping(content: dict[str, Any], where: str) -> tuple[Any, Any]:
    """Symbols and vectors of a mapping in either form."""
    symbols = next((key for key in SYMBOL_KEYS if key in content), None)
    vectors = next((key for key in VECTOR_KEYS if key in content), None)
    if symbols is not None and vectors is not None:
        return list(content[symbols]), content[vectors]
    if not content:
        raise UserError(f"{where}: no vectors in it")
    shapes = {np.shape(value) for value in content.values()}
    if len(shapes) > 1 or len(next(iter(shapes))) != 1:
        raise UserError(
            f"{where}: expected 'genes' and 'vectors', or one vector of equal width per symbol; found {', '.join(list(content)[:5])}"
        )
    return list(content), np.stack(list(content.values()))
