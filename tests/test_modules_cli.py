"""`scbig modules`: planted modules are found, chance is not, and every mistake is one line."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import fisher_exact, rankdata
from training_cases import TINY

from scbig_dist.cli import main
from scbig_dist.screen.pathways import pathway_matrix, read_pathways
from scbig_dist.screen.simulate import simulate_screen
from scbig_dist.screen.simulate_truth import Recipe
from scbig_dist.settings import build_config
from scbig_dist.store.build import build_store
from scbig_dist.store.reader import open_store
from scbig_dist.train.context import LocalContext
from scbig_dist.train.experiment import settle
from scbig_dist.train.run import train_run

N_MODULES = 6
PRIORS = "--gmt {folder}/priors/pathways.gmt --ppi {folder}/priors/ppi.tsv"
CLUSTER = f"{{folder}}/store {PRIORS} --set grc.n_modules={N_MODULES}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A screen of planted modules, its priors and its store."""
    folder = tmp_path_factory.mktemp("modules")
    recipe = Recipe(n_cells=1500, n_genes=180, n_perturbations=6, n_contexts=1, n_modules=N_MODULES)
    simulate_screen(folder / "screen.h5ad", recipe, priors=folder / "priors", progress=False)
    config = build_config({"qc.min_genes": 10, "qc.min_cells": 5, "panel.n_hvg": 180})
    build_store(folder / "screen.h5ad", folder / "store", config, progress=False)
    return folder


@pytest.fixture(scope="module")
def run(folder: Path, request: pytest.FixtureRequest) -> Path:
    """A trained run on that store, of the encoder that a test asks for."""
    encoder = getattr(request, "param", "gcae")
    run = folder / f"run_{encoder}"
    if not run.exists():
        config = build_config(TINY | {"store": str(folder / "store"), "gcae.encoder": encoder, "flow.steps": 4})
        train_run(settle(config), run, LocalContext(), progress=False)
    return run


def scbig(line: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code of a command."""
    monkeypatch.setattr(sys, "argv", ["scbig", *line.split()])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def planted(folder: Path) -> dict[str, int]:
    import anndata as ad

    screen = ad.read_h5ad(folder / "screen.h5ad", backed="r")
    return dict(zip(screen.var_names, screen.uns["truth"]["modules"].tolist(), strict=True))


@pytest.fixture(scope="module")
def shown(folder: Path) -> Path:
    """What the command writes of the store, clustered by GRC, with what it prints in `out.txt`."""
    out = folder / "shown"
    with pytest.MonkeyPatch.context() as patch, (folder / "out.txt").open("w") as said, redirect_stdout(said):
        assert scbig(f"modules {CLUSTER.format(folder=folder)} -o {out}", patch) == 0
    return out


def test_planted_modules_are_found_and_named(folder, shown):
    table, truth = pd.read_csv(shown / "modules.csv"), planted(folder)
    assert sorted(table["size"])[-1] - sorted(table["size"])[0] <= 1, "balanced"
    genes = table["genes"].str.split()
    assert sorted(genes.explode()) == sorted(open_store(folder / "store").genes)
    majority = [pd.Series([truth[gene] for gene in own]).value_counts() for own in genes]
    assert np.mean([counts.iloc[0] / counts.sum() for counts in majority]) > 0.8
    for (_, row), counts in zip(table.iterrows(), majority, strict=True):
        assert row["top_term"].startswith(f"MODULE_{counts.index[0]:02d}_"), "named by its planted set"
        assert row["q"] < 1e-6 and row["ppi_density_z"] > 5 and row["correlation_z"] > 5
    rows = pd.read_csv(shown / "enrichment.csv")
    assert not rows[rows["q"] < 0.05]["pathway"].str.startswith("RANDOM").any()
    out = (folder / "out.txt").read_text()
    assert "MODULE_" in out and "Random partitions of the same sizes" in out
    written = {path.name for path in shown.iterdir()}
    figures = {f"{name}.{kind}" for name in ("enrichment", "enrichment_broad", "coherence") for kind in ("png", "pdf")}
    assert figures | {"modules.csv", "enrichment.csv", "coherence.csv", "modules.md", "modules.html"} == written


def test_enrichment_equals_fisher_and_benjamini_hochberg(folder, shown):
    """p by scipy's exact test on the 2 × 2 table, q by ranks over all pairs; the background are genes of tested sets."""
    table, rows = pd.read_csv(shown / "modules.csv"), pd.read_csv(shown / "enrichment.csv")
    sets = pathway_matrix(
        read_pathways(folder / "priors" / "pathways.gmt"), open_store(folder / "store").genes, min_genes=5
    )
    genes = np.array(open_store(folder / "store").genes)
    known = set(genes[sets.matrix.any(0)])
    p = {}
    for _, module in table.iterrows():
        own = known & set(module["genes"].split())
        for name, member in zip(sets.names, sets.matrix, strict=True):
            in_set = set(genes[member > 0])
            both = len(own & in_set)
            counts = [[both, len(own) - both], [len(in_set) - both, len(known) - len(own) - len(in_set) + both]]
            p[module["module"], name] = fisher_exact(counts, alternative="greater").pvalue
    values = np.array(list(p.values()))
    adjusted = values * len(values) / rankdata(values, "max")
    q = {key: adjusted[values >= own].min() for key, own in p.items()}
    for row in rows.itertuples():
        assert row.p == pytest.approx(p[row.module, row.pathway], rel=1e-6, abs=1e-12)
        assert row.q == pytest.approx(min(q[row.module, row.pathway], 1), rel=1e-6, abs=1e-12)


def test_random_modules_are_not_enriched(folder, tmp_path, monkeypatch):
    line = f"modules {CLUSTER.format(folder=folder)} --set grc.clustering=random -o {tmp_path}"
    assert scbig(line, monkeypatch) == 0
    assert (pd.read_csv(tmp_path / "enrichment.csv")["q"] > 0.05).all()
    coherence = pd.read_csv(tmp_path / "coherence.csv")
    whole = coherence[coherence["module"] == "all"].set_index("measure")
    assert (whole["z"].abs() < 4).all()
    assert not (tmp_path / "enrichment.png").exists()


@pytest.mark.parametrize("run", ["gcae", "pca"], indirect=True)
def test_a_run_shows_its_own_modules(run, folder, tmp_path, monkeypatch):
    """Also one on principal components, whose model does not read them."""
    assert scbig(f"modules {run} {PRIORS.format(folder=folder)}", monkeypatch) == 0
    table = pd.read_csv(run / "modules" / "modules.csv")
    kept = pd.read_csv(run / "modules.tsv", sep="\t").groupby("module")["gene"].agg(" ".join)
    assert table.set_index("module")["genes"].sort_index().to_dict() == kept.to_dict()
    assert "validation cells" in (run / "modules" / "modules.md").read_text()


def test_without_gene_sets_coherence_is_left(run, tmp_path, monkeypatch, capsys):
    assert scbig(f"modules {run} -o {tmp_path}", monkeypatch) == 0
    said = capsys.readouterr()
    assert "give --gmt FILE" in said.err and "correlation of expression" in said.out
    assert not (tmp_path / "enrichment.csv").exists()
    assert "q" not in pd.read_csv(tmp_path / "modules.csv")


WRONG = {
    "neither run nor store": ("modules {here}", "neither a run"),
    "store that is not there": ("modules nowhere", "neither a run"),
    "gmt that is not there": ("modules {folder}/store --gmt none.gmt", "none.gmt: no such file"),
    "gmt that is not gmt": ("modules {folder}/store --gmt {here}/table.gmt", "table.gmt: line 1 is not GMT"),
    "gmt that is not text": ("modules {folder}/store --gmt {folder}/screen.h5ad", "screen.h5ad: not a text file"),
    "gmt without a panel gene": ("modules {folder}/store --gmt {here}/other.gmt", "other.gmt: no panel gene"),
    "gmt of small sets": (
        f"modules {CLUSTER} --set priors.min_genes=500",
        "pathways.gmt: no gene set has 500 panel genes",
    ),
    "ppi that is not there": ("modules {folder}/store --ppi none.tsv", "none.tsv"),
    "embedding without a panel gene": (
        "modules {folder}/store --set priors.gene_embedding={here}/vectors.csv",
        "vectors.csv: no panel gene",
    ),
    "more modules than genes": ("modules {folder}/store --set grc.n_modules=999", "grc.n_modules=999"),
    "clustering a run": ("modules {run} --set grc.n_modules=3", "grc.n_modules"),
    "a config for a run": ("modules {run} --config x.yaml", "x.yaml"),
    "a run without modules": ("modules {here}/young", "training has not come to them"),
}


@pytest.mark.parametrize("name", WRONG)
def test_modules_rejects(name, folder, run, tmp_path, monkeypatch, capsys):
    line, expected = WRONG[name]
    (tmp_path / "table.gmt").write_text("gene,score\nA,1\n")
    (tmp_path / "other.gmt").write_text("set\tnone\tZ1\tZ2\tZ3\tZ4\tZ5\n")
    (tmp_path / "vectors.csv").write_text("gene,x,y\nZ1,1,2\nZ2,2,1\n")
    (tmp_path / "young").mkdir()
    for kept in ("config.yaml", "split.json", "store.json"):
        (tmp_path / "young" / kept).write_text((run / kept).read_text())
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path)
    assert scbig(line.format(folder=folder, run=run, here=tmp_path), monkeypatch) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1 and said[0].startswith("error: ") and expected in said[0], said
    assert sorted(tmp_path.rglob("*")) == before, "nothing is written"
