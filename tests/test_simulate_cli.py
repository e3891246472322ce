"""`scbig simulate`: its options reach the screen, and help says what they mean."""

from __future__ import annotations

import anndata as ad
import pytest
import typer
from typer.testing import CliRunner

from scbig_dist.cli.simulate import simulate
from scbig_dist.errors import UserError

SMALL = ["--cells", "300", "--genes", "40", "--perturbations", "3", "--doubles", "2", "--modules", "4", "--quiet"]


def run(*arguments: str):
    app = typer.Typer()
    app.command()(simulate)
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=True)
    if isinstance(result.exception, UserError):
        raise result.exception
    return result


def test_options_reach_the_screen(tmp_path):
    out = str(tmp_path / "s.h5ad")
    result = run(out, *SMALL, "--contexts", "1", "--seed", "3", "--library", "500", "--priors", str(tmp_path / "p"))
    assert result.exit_code == 0, result.output
    assert "300 cells × 40 genes (simulated), 3 singles, 2 doubles, contexts context1" in result.output
    screen = ad.read_h5ad(out)
    assert screen.shape == (300, 40) and screen.uns["truth"]["seed"] == 3
    assert sorted(path.name for path in (tmp_path / "p").iterdir()) == ["pathways.gmt", "ppi.tsv"]


def test_help_shows_defaults():
    text = run("--help").output
    for word in ("6000", "600", "24", "1.5 per perturbed gene", "--effects", "--baseline", "--priors"):
        assert word in text


def test_real_effects_need_both_tables_and_no_design(tmp_path):
    out = str(tmp_path / "s.h5ad")
    with pytest.raises(UserError, match="--effects needs --baseline"):
        run(out, "--effects", "e.npz")
    with pytest.raises(UserError, match="--baseline needs --effects"):
        run(out, "--baseline", "b.tsv")
    with pytest.raises(UserError, match="--genes does not go with --effects"):
        run(out, "--effects", "e.npz", "--baseline", "b.tsv", "--genes", "5")
    with pytest.raises(UserError, match=r"--effects e\.npz: no such file"):
        run(out, "--effects", "e.npz", "--baseline", "b.tsv")


def test_a_file_that_is_there_is_said_first(tmp_path):
    out = tmp_path / "s.h5ad"
    out.write_text("kept")
    with pytest.raises(UserError, match=r"s\.h5ad: exists"):
        run(str(out), "--cells", "3")
    assert out.read_text() == "kept"


def test_a_wrong_type_is_a_usage_error(tmp_path):
    assert run(str(tmp_path / "s.h5ad"), "--cells", "many").exit_code == 2
