"""Every mistake is one clear line, and nothing is written."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
from store_cases import config, screen, write

from scbig_dist.errors import UserError
from scbig_dist.store import panel
from scbig_dist.store.build import build_store

ERASED = "\r\x1b[1A\x1b[2K"  # back to the bar's line, and nothing left on it


def refuse(source: Path, match: str, **settings: Any) -> None:
    """`build_store` refuses in one line and leaves the folder as it was."""
    before = sorted(source.parent.rglob("*"))
    with pytest.raises(UserError, match=match) as caught:
        build_store(source, source.parent / "deep" / "store", config(**settings), progress=False)
    assert "\n" not in str(caught.value)
    assert sorted(source.parent.rglob("*")) == before


def with_value(value: float, folder: Path) -> Path:
    adata = screen()
    adata.X.data[1000] = value
    return write(adata, folder)


def test_store_rejects_a_missing_file(tmp_path: Path) -> None:
    refuse(tmp_path / "none.h5ad", "none.h5ad: no such file")


def test_store_rejects_a_directory(tmp_path: Path) -> None:
    (tmp_path / "in.h5ad").mkdir()
    refuse(tmp_path / "in.h5ad", "a directory without any .h5ad or 10x .h5 file")


def test_store_rejects_a_file_that_is_no_h5ad(tmp_path: Path) -> None:
    (tmp_path / "in.h5ad").write_text("gene,count\nA,1\n" * 100)
    refuse(tmp_path / "in.h5ad", "not an .h5ad file")
    (tmp_path / "in.h5ad").write_bytes(b"")
    refuse(tmp_path / "in.h5ad", "not an .h5ad file")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["X"] = np.ones((3, 3))
    (tmp_path / "other.h5").rename(tmp_path / "other.h5ad")
    refuse(tmp_path / "other.h5ad", "without 'obs': not an .h5ad file")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_store_rejects_a_file_cut_short(tmp_path: Path, share: float) -> None:
    path = write(screen(), tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    refuse(path, "cut short")


@pytest.mark.parametrize(
    ("value", "what"),
    [(-1, "the negative value -1"), (0.5, "the fractional value 0.5"), (np.nan, "NaN"), (np.inf, "an infinite value")],
)
def test_store_rejects_values_that_are_no_counts(tmp_path: Path, value: float, what: str) -> None:
    refuse(
        with_value(value, tmp_path), rf"X holds {what} \(cell cell\d+, gene GENE\d+\), not counts.*data.counts_layer"
    )


@pytest.mark.parametrize("terminal", [False, True])
def test_no_bar_stands_before_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    monkeypatch.setenv("TERM", "xterm")
    with pytest.raises(UserError, match="the negative value"):
        build_store(with_value(-1, tmp_path), tmp_path / "store", config(), progress=True)
    said = capsys.readouterr().err
    assert said.endswith(ERASED) if terminal else said == ""


@pytest.mark.parametrize("dense", [True, False])
def test_store_names_the_layers_where_x_is_normalised(tmp_path: Path, dense: bool) -> None:
    adata = screen()
    adata.layers["counts"] = adata.X.copy()
    adata.X = adata.X.log1p()
    if dense:
        adata.X = adata.X.toarray()
    refuse(write(adata, tmp_path), r"looks log-normalised; name raw counts with data.counts_layer \(layers: counts\)")


def test_store_rejects_a_missing_layer(tmp_path: Path) -> None:
    adata = screen()
    refuse(
        write(adata, tmp_path), "data.counts_layer=counts: no such layer.*has no layers", data__counts_layer="counts"
    )
    adata.layers["counts"] = adata.X
    refuse(write(adata, tmp_path), "data.counts_layer=count: .*did you mean 'counts'", data__counts_layer="count")


def test_store_rejects_an_unknown_column(tmp_path: Path) -> None:
    path = write(screen(), tmp_path)
    refuse(
        path,
        "data.condition=perturbation: no such column.*condition, line, plate, total",
        data__condition="perturbation",
    )
    refuse(
        path,
        "data.condition=conditions: .*did you mean 'condition'.*columns: condition, line",
        data__condition="conditions",
    )
    for name in ("context", "total_counts", "batch", "dose"):
        refuse(path, f"data.{name}=nowhere: no such column", **{f"data__{name}": "nowhere"})
    refuse(path, "data.gene_names=symbol: no such column in var", data__gene_names="symbol")


def test_store_rejects_a_control_label_that_is_absent(tmp_path: Path) -> None:
    path = write(screen(labels=["WT", "WT", "GENE3"]), tmp_path)
    refuse(path, r"data.control=control: no such label in column 'condition'.*'WT' \(160\), 'GENE3' \(80\)")


def test_store_rejects_only_control_cells(tmp_path: Path) -> None:
    refuse(write(screen(labels=["control", "ctrl"]), tmp_path), "only control cells in column 'condition'")


@pytest.mark.parametrize("missing", [0.6, 1.0])
def test_store_rejects_most_labels_missing(tmp_path: Path, missing: float) -> None:
    adata = screen()
    adata.obs["condition"] = adata.obs["condition"].where(np.arange(240) >= 240 * missing, np.nan).astype("category")
    refuse(write(adata, tmp_path), rf"{missing:.0%} of 240 cells have no label \(column 'condition'\)")


def test_store_rejects_when_no_condition_has_enough_cells(tmp_path: Path) -> None:
    path = write(screen(), tmp_path)
    refuse(
        path,
        r"no condition has qc.min_cells_per_condition=100 cells \(largest: all/ABSENT, 40\)",
        qc__min_cells_per_condition=100,
    )
    few = screen(labels=["control", *["GENE3"] * 11])
    refuse(
        write(few, tmp_path),
        "the control has 20 cells, fewer than qc.min_cells_per_condition=30",
        qc__min_cells_per_condition=30,
    )


def test_store_rejects_contexts_that_all_lack_control(tmp_path: Path) -> None:
    adata = screen(labels=["control", "GENE3"])
    adata.obs["line"] = adata.obs["condition"].map({"control": "A", "GENE3": "B"})
    refuse(write(adata, tmp_path), "no context has both", data__context="line")


def test_store_rejects_an_empty_panel_and_names_the_thresholds(tmp_path: Path) -> None:
    path = write(screen(), tmp_path)
    refuse(path, "no cell has qc.min_genes=161 detected genes", qc__min_genes=161)
    refuse(path, r"qc.min_cells=241 of the 240 cells that pass qc.min_genes=0.*panel is empty", qc__min_cells=241)


@pytest.mark.parametrize(("value", "shown"), [(0, "0"), (-3, "-3"), (np.nan, "nan"), (np.inf, "inf")])
def test_store_rejects_library_sizes_that_are_not_positive(tmp_path: Path, value: float, shown: str) -> None:
    adata = screen()
    adata.obs.loc["cell8", "total"] = value
    refuse(
        write(adata, tmp_path),
        rf"data.total_counts=total: {shown} for cell cell8 .*\(1 cells",
        data__total_counts="total",
    )


def test_store_rejects_text_where_numbers_are_asked(tmp_path: Path) -> None:
    path = write(screen(), tmp_path)
    refuse(path, "data.dose=line: 'K562' .*is not a number", data__dose="line")
    refuse(path, "data.total_counts=line: 'K562' .*is not a number", data__total_counts="line")


def test_store_rejects_more_genes_than_it_can_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panel, "MAX_GENES", 100)
    refuse(write(screen(), tmp_path), "a panel of 160 genes, at most 100 fit a store; set panel.n_hvg=97 or less")


def damage(name: str, change: Callable[[np.ndarray], None]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            values = file[name][:]
            change(values)
            file[name][:] = values

    return apply


@pytest.mark.parametrize("layout", ["csr", "csc"])
@pytest.mark.parametrize(("name", "value"), [("X/indices", 10_000), ("X/indices", -1), ("X/indptr", 10**8)])
def test_store_rejects_a_damaged_matrix(tmp_path: Path, layout: str, name: str, value: int) -> None:
    adata = screen()
    adata.X = adata.X.asformat(layout)
    path = write(adata, tmp_path)
    damage(name, lambda values: values.__setitem__(5, value))(path)
    refuse(path, "X is damaged")


def test_store_rejects_annotations_that_do_not_fit(tmp_path: Path) -> None:
    path = write(screen(), tmp_path)
    with h5py.File(path, "r+") as file:
        del file["obs"]
    other = screen(30)
    other.obs = pd.DataFrame(index=other.obs_names).assign(condition=other.obs["condition"])
    other_path = write(other, tmp_path, "other.h5ad")
    with h5py.File(path, "r+") as file, h5py.File(other_path) as donor:
        donor.copy("obs", file)
    refuse(path, "X is 240 × 160, but obs has 30 rows")


def test_store_rejects_a_source_that_changes_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(screen(), tmp_path)
    from scbig_dist.store import build

    def choose_and_touch(*arguments: Any) -> Any:
        path.touch()
        return panel.choose_panel(*arguments)

    monkeypatch.setattr(build, "choose_panel", choose_and_touch)
    refuse(path, "changed while it was read")


def test_store_manifest_is_json_without_nan(tmp_path: Path) -> None:
    build_store(write(screen(), tmp_path), tmp_path / "s", config(), progress=False)
    json.loads((tmp_path / "s" / "manifest.json").read_text(), parse_constant=lambda name: pytest.fail(name))
