"""`scbig interpret` on small trained runs: what it writes, without truth too, and what it refuses."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from training_cases import TINY, make_store

from scbig_dist.cli import main
from scbig_dist.interpret.condition import gather_cells
from scbig_dist.interpret.interpretation import interpret_condition
from scbig_dist.settings import build_config
from scbig_dist.train.context import LocalContext
from scbig_dist.train.experiment import settle
from scbig_dist.train.predictor import load_predictor
from scbig_dist.train.run import train_run

FILES = {"modules.csv", "coactivation.csv", "cells.csv", "interpret.md", "interpret.html", "cells_pca.png"}
FILES |= {"cells_pca.pdf", "coactivation.png", "coactivation.pdf"}
ATTENTION = {"attention.csv", "attention.png", "attention.pdf"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("interpret"))


@pytest.fixture(scope="module")
def runs(store: Path) -> dict[str, Path]:
    """One run with attention among modules, one on principal components."""
    made = {}
    for encoder in ("gcae", "pca"):
        config = build_config(TINY | {"store": str(store), "gcae.encoder": encoder})
        made[encoder] = store.parent / encoder
        train_run(settle(config), made[encoder], LocalContext(), progress=False)
    return made


def scbig(line: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["scbig", *line.split()])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def unseen_pair(run: Path) -> str:
    """Two targets of the screen that were never hit together."""
    predictor = load_predictor(run)
    targets = predictor.experiment.targets
    known = {condition.perturbation for condition in predictor.store.conditions}
    return next(f"{a}+{b}" for a in targets for b in targets if a < b and f"{a}+{b}" not in known)


def test_a_test_condition_is_shown_beside_its_true_cells(runs, tmp_path, monkeypatch, capsys):
    run = runs["gcae"]
    condition = load_predictor(run).split.test[0]
    line = f"interpret {run} --condition {condition.perturbation} --n-cells 40 -o {tmp_path}"
    assert scbig(line, monkeypatch) == 0
    assert {path.name for path in tmp_path.iterdir()} == FILES | ATTENTION
    modules, pairs = pd.read_csv(tmp_path / "modules.csv"), pd.read_csv(tmp_path / "coactivation.csv")
    labels = sorted(pd.read_csv(run / "modules.tsv", sep="\t")["module"].unique())
    for kind in ("predicted", "true"):
        assert sorted(modules[modules["cells"] == kind]["module"]) == labels
        assert len(pairs[pairs["cells"] == kind]) == len(labels) * (len(labels) - 1) // 2
    attention = pd.read_csv(tmp_path / "attention.csv")
    rows = attention.groupby(["cells", "attending"])["shift"].sum()
    np.testing.assert_allclose(rows, 0, atol=1e-6)
    own = attention[attention["cells"] == "predicted"].groupby("attended")["shift"].mean()
    frame = modules[modules["cells"] == "predicted"].set_index("module")
    np.testing.assert_allclose(own, (frame["attention"] - frame["attention_control"]).loc[own.index], atol=1e-7)
    counts = pd.read_csv(tmp_path / "cells.csv")["cells"].value_counts()
    assert counts["predicted"] == counts["control"] == 40 and 0 < counts["true"] <= 40
    assert "in the run's test part" in (tmp_path / "interpret.md").read_text()
    assert "simulated" in (tmp_path / "interpret.md").read_text()
    assert "coactivation" in capsys.readouterr().out
    again = interpret_condition(load_predictor(run), run, condition, 40, 0, None, umap=False)
    assert again.pairs.to_csv(index=False) == (tmp_path / "coactivation.csv").read_text(), "a seed gives its numbers"


def test_a_condition_outside_the_screen_has_predicted_cells_alone(runs, tmp_path, monkeypatch, capsys):
    line = f"interpret {runs['gcae']} --condition {unseen_pair(runs['gcae'])} --n-cells 30 -o {tmp_path}"
    assert scbig(line, monkeypatch) == 0
    assert set(pd.read_csv(tmp_path / "modules.csv")["cells"]) == {"predicted"}
    assert set(pd.read_csv(tmp_path / "cells.csv")["cells"]) == {"control", "predicted"}
    assert "is not in the screen" in capsys.readouterr().err


def test_principal_components_have_modules_and_no_attention(runs, tmp_path, monkeypatch, capsys):
    run = runs["pca"]
    condition = load_predictor(run).split.test[0].perturbation
    assert scbig(f"interpret {run} --condition {condition} --n-cells 30 -o {tmp_path}", monkeypatch) == 0
    assert {path.name for path in tmp_path.iterdir()} == FILES
    assert "has no attention among modules" in capsys.readouterr().err


def test_gene_sets_name_the_modules(runs, tmp_path, monkeypatch):
    run = runs["pca"]
    table = pd.read_csv(run / "modules.tsv", sep="\t")
    (tmp_path / "own.gmt").write_text(
        "".join(f"SET_{label}\tx\t" + "\t".join(own) + "\n" for label, own in table.groupby("module")["gene"])
    )
    condition = load_predictor(run).split.test[0].perturbation
    out = tmp_path / "out"
    line = f"interpret {run} --condition {condition} --n-cells 30 --gmt {tmp_path / 'own.gmt'} -o {out}"
    assert scbig(line, monkeypatch) == 0
    named = pd.read_csv(out / "modules.csv")
    assert (named["top_term"] == "SET_" + named["module"].astype(str)).all()


def test_control_beside_predicted_cells_went_through_the_autoencoder(runs):
    """A prediction has lost what the latent cannot carry; raw control cells would show that as a shift."""
    predictor = load_predictor(runs["pca"])
    condition = predictor.split.test[0]
    cells = gather_cells(predictor, condition, 30, 0)
    np.testing.assert_allclose(cells.unmoved, predictor.reconstruct(cells.control))
    assert cells.groups()["predicted"][1] is cells.unmoved and cells.groups()["true"][1] is cells.control
    assert cells.part == "test"
    store = predictor.store
    assert np.isin(cells.true, store.dense(store.cells(condition), predictor.n_genes)).all()


def test_a_prediction_that_keeps_its_noise_is_compared_with_control_as_it_is(store, tmp_path):
    """With a head for means (`shift.head`) a predicted cell is its control cell, moved."""
    config = build_config(TINY | {"store": str(store), "gcae.encoder": "pca", "shift.head": "ridge"})
    train_run(settle(config), tmp_path / "run", LocalContext(), progress=False)
    predictor = load_predictor(tmp_path / "run")
    cells = gather_cells(predictor, predictor.split.test[0], 30, 0)
    assert cells.groups()["predicted"][1] is cells.control and "keep the noise" in cells.compared


WRONG = {
    "an unknown target": ("--condition {known}+NOPE", "target 'NOPE'"),
    "control": ("--condition control", "nothing to predict"),
    "an unknown context": ("--condition {known} --context mars", "--context mars"),
    "a dose without doses": ("--condition {known} --dose 2", "--dose 2"),
    "gmt that is not gmt": ("--condition {known} --gmt {here}/table.gmt", "table.gmt: line 1 is not GMT"),
    "gmt without a panel gene": ("--condition {known} --gmt {here}/other.gmt", "other.gmt: no panel gene"),
    "too few cells": ("--condition {known} --n-cells 1", "--n-cells"),
}


@pytest.mark.parametrize("name", WRONG)
def test_interpret_rejects(name, runs, tmp_path, monkeypatch, capsys):
    options, expected = WRONG[name]
    (tmp_path / "table.gmt").write_text("gene,score\nA,1\n")
    (tmp_path / "other.gmt").write_text("set\tnone\tZ1\tZ2\tZ3\tZ4\tZ5\n")
    known = load_predictor(runs["gcae"]).experiment.targets[0]
    line = f"interpret {runs['gcae']} {options.format(known=known, here=tmp_path)}"
    assert_refused(line, expected, monkeypatch, capsys)
    assert not (runs["gcae"] / "interpret").exists()


def test_interpret_rejects_a_run_that_has_not_ended(runs, tmp_path, monkeypatch, capsys):
    for kept in ("config.yaml", "split.json", "store.json", "modules.tsv"):
        (tmp_path / kept).write_text((runs["gcae"] / kept).read_text())
    assert_refused(f"interpret {tmp_path} --condition A", "training has not ended", monkeypatch, capsys)


def test_interpret_rejects_what_is_no_run(store, monkeypatch, capsys):
    assert_refused(f"interpret {store} --condition A", "not a run", monkeypatch, capsys)


def assert_refused(line: str, expected: str, monkeypatch, capsys) -> None:
    capsys.readouterr()
    assert scbig(line, monkeypatch) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1 and said[0].startswith("error: ") and expected in said[0], said
