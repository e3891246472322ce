"""`scbig store build | info | check`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from store_cases import screen, write
from typer.testing import CliRunner

from scbig_dist.cli.store import app
from scbig_dist.errors import UserError

QC = ["--set", "qc.min_genes=0", "--set", "qc.min_cells=0", "--quiet"]


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=True)
    if isinstance(result.exception, UserError):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output


def test_store_build_info_and_check_by_command(tmp_path: Path) -> None:
    path = write(screen(), tmp_path)
    built = run("build", path, tmp_path / "s", *QC, "--set", "panel.n_hvg=50", "--set", "data.context=line")
    assert "240 cells × 53 genes" in built or "240 cells × 5" in built
    assert "12 conditions (8 singles, 2 doubles, 2 control)" in built
    assert "dropped: " in built and "genes outside the panel (panel.n_hvg=50)" in built
    assert "note: 1 of 4 targets are no gene of the files (conditions): ABSENT 2" in built
    shown = run("info", tmp_path / "s")
    for word in ("cells", "240", "HVG method", "seurat_v3", "A549 120, K562 120", "schema", "key"):
        assert word in shown
    facts = json.loads(run("info", tmp_path / "s", "--json"))
    assert facts["n_cells"] == 240 and facts["n_doubles"] == 2 and facts["schema_version"] == 2
    assert run("check", tmp_path / "s").endswith("OK, every shard matches its checksum\n")
    run("build", path, tmp_path / "s", *QC, "--force")
    assert json.loads(run("info", tmp_path / "s", "--json"))["n_genes"] == 160


def test_store_check_by_command_names_the_shard(tmp_path: Path) -> None:
    run("build", write(screen(), tmp_path), tmp_path / "s", *QC)
    shard = tmp_path / "s" / "cells-00000.arrow"
    content = bytearray(shard.read_bytes())
    content[1000] ^= 255
    shard.write_bytes(content)
    with pytest.raises(UserError, match="1 problem; build the store again"):
        run("check", tmp_path / "s")


def test_store_build_reads_a_config_and_set_wins(tmp_path: Path) -> None:
    path = write(screen(), tmp_path)
    (tmp_path / "c.yaml").write_text(
        "qc: {min_genes: 0, min_cells: 0}\npanel: {n_hvg: 20}\nflow: {lr: 1e-4}\ndata: {path: elsewhere.h5ad}\n"
    )
    run("build", path, tmp_path / "s", "--config", tmp_path / "c.yaml", "--set", "panel.n_hvg=30", "--quiet")
    facts = json.loads(run("info", tmp_path / "s", "--json"))
    assert facts["n_hvg"] == 30 and facts["data"]["path"] == str(path)


@pytest.mark.parametrize(
    ("option", "match"),
    [
        ("flow.lr=1e-4", r"--set flow.lr: no setting of a store; accepted here: data.\*, qc.\*, panel.\*"),
        ("store=x", "--set store: no setting of a store"),
        ("qc.min_genes", "no '='"),
        ("qc.min_gene=3", "did you mean 'qc.min_genes'"),
        ("qc.min_genes=many", "qc.min_genes"),
        ("panel.n_hvg=0", "panel.n_hvg"),
        ("data.path=other.h5ad", "leave data.path out"),
        ("data.placement=shard", "--set data.placement: how cells reach a training; for train and sweep"),
        ("data.pool_cells=64", "--set data.pool_cells: how cells reach a training"),
    ],
)
def test_store_build_rejects_options(tmp_path: Path, option: str, match: str) -> None:
    path = write(screen(60, 60), tmp_path)
    with pytest.raises(UserError, match=match):
        run("build", path, tmp_path / "s", "--set", option)
    assert not (tmp_path / "s").exists()


def test_store_append_and_build_of_several_files_by_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")  # paths stand on one line
    one, two = (write(screen(120, seed=seed), tmp_path, f"batch{seed}.h5ad") for seed in range(2))
    run("build", one, two, tmp_path / "both", *QC)
    run("build", one, tmp_path / "s", *QC)
    said = run("append", tmp_path / "s", two, "--quiet")
    assert "120 cells more in 1 shard" in said and "240 cells × 160 genes" in said
    assert (
        "note: 120 cells appended from" in said and "panel, HVG ranking and QC of genes are those of the build" in said
    )
    for store in ("both", "s"):
        facts = json.loads(run("info", tmp_path / store, "--json"))
        assert facts["n_cells"] == 240 and [source["path"] for source in facts["sources"]] == [str(one), str(two)]
        assert str(two) in run("info", tmp_path / store)
    with pytest.raises(UserError, match="its cells are in"):
        run("append", tmp_path / "s", one, "--quiet")


@pytest.mark.parametrize("uri", ["s3://bucket/s", "file:///elsewhere/s"])
def test_store_build_and_append_rejects_a_uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(screen(), tmp_path)
    for arguments in (("build", path, uri), ("build", uri, tmp_path / "s"), ("append", uri, path)):
        with pytest.raises(UserError, match="a URI; stores are built and appended to on a disk of this machine"):
            run(*arguments, "--quiet")
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_store_export_rejects_more_genes_than_the_store_has(tmp_path: Path) -> None:
    run("build", write(screen(), tmp_path), tmp_path / "s", *QC, "--set", "panel.n_hvg=50")
    with pytest.raises(UserError, match=r"--genes 51: store .* has 50 HVGs; lower it"):
        run("export", tmp_path / "s", tmp_path / "out.h5ad", "--genes", "51")


def test_store_export_rejects_a_store_with_a_changed_byte(tmp_path: Path) -> None:
    run("build", write(screen(), tmp_path), tmp_path / "s", *QC)
    shard = tmp_path / "s" / "cells-00000.arrow"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(UserError, match="checksum differs"):
        run("export", tmp_path / "s", tmp_path / "out.h5ad", "--quiet")
    assert not (tmp_path / "out.h5ad").exists()
