"""Priors that know nothing of the screen: one line that names what, exit code 2, no run left half-made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from training_cases import TINY, make_store, write_study

from scbig_dist.cli import main
from scbig_dist.cluster.plan import make_plan
from scbig_dist.cluster.study import read_study
from scbig_dist.errors import UserError
from scbig_dist.settings import build_config
from scbig_dist.train.experiment import open_experiment, settle
from scbig_dist.train.inputs import prepare
from scbig_dist.train.target_vectors import target_vectors


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_store(tmp_path_factory.mktemp("store")))


@pytest.fixture
def priors(tmp_path: Path) -> Path:
    """Vectors and gene sets of a screen with other symbols."""
    np.savez(tmp_path / "other.npz", genes=np.array(["Tp53", "Klf1"]), vectors=np.eye(2, 4, dtype=np.float32))
    (tmp_path / "other.gmt").write_text("one\tmouse\tTp53\tKlf1\n")
    return tmp_path


def train(monkeypatch: pytest.MonkeyPatch, store: str, run: Path, **values: object) -> int:
    words = [f"{address}={'null' if value is None else value}" for address, value in (TINY | values).items()]
    options = [word for each in words for word in ("--set", each)]
    monkeypatch.setattr("sys.argv", ["scbig", "train", "--store", store, "-o", str(run), *options])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


@pytest.mark.parametrize(
    ("address", "name", "says"),
    [
        ("priors.target_embedding", "other.npz", "has a vector; it holds 'Tp53', 'Klf1'; give vectors under the names"),
        ("priors.gene_embedding", "other.npz", "has a vector; it holds 'Tp53', 'Klf1'; give vectors under the names"),
        ("priors.pathways", "other.gmt", "is in any of the 1 gene sets, which hold 'Klf1', 'Tp53'; give sets with"),
    ],
)
def test_train_rejects_a_prior_that_covers_nothing(monkeypatch, capsys, tmp_path, store, priors, address, name, says):
    assert train(monkeypatch, store, tmp_path / "run", **{address: priors / name}) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and address in lines[0] and says in lines[0]
    assert not (tmp_path / "run" / "run.json").exists()


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (
            {"priors.target_embedding": "pathways"},
            "priors.target_embedding=pathways: this stand-in is made from gene sets",
        ),
        ({"priors.gene_embedding": "pathways"}, "priors.gene_embedding=pathways: this stand-in is made from gene sets"),
        (
            {"priors.gene_embedding": "relations"},
            "relations: for targets alone; choices: pca, spectral, pathways, random",
        ),
        ({"priors.target_embedding": "relations"}, "relations: made from interactions and gene sets; give priors.ppi,"),
        ({"priors.target_embedding": "pca"}, "choices: spectral, pathways, relations, random, or a file"),
    ],
)
def test_train_rejects_a_stand_in_that_nothing_makes(monkeypatch, capsys, tmp_path, store, values, says):
    frozen = {"flow.target_embedding": "frozen"}
    assert train(monkeypatch, store, tmp_path / "run", **frozen, **values) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and says in lines[0]


def test_pathways_of_no_use_leave_targets_without_vectors(tmp_path, store, priors):
    values = {"priors.target_embedding": "pathways", "priors.pathways": str(priors / "other.gmt")}
    config = settle(build_config(TINY | {"store": store, "flow.target_embedding": "frozen", **values}))
    with pytest.raises(UserError, match=r"target_embedding=pathways: no target .* it holds none; give"):
        target_vectors(open_experiment(config), [])


def test_gene_sets_that_are_merely_small_are_a_note(tmp_path, store):
    config = settle(build_config(TINY | {"store": store, "priors.min_genes": 5}))
    gene = open_experiment(config).genes[0]
    (tmp_path / "small.gmt").write_text(f"one\tsmall\t{gene}\tNOWHERE\n")
    config = settle(build_config(TINY | {"store": store, "priors.pathways": str(tmp_path / "small.gmt")}))
    prepared = prepare(open_experiment(config), tmp_path / "artifacts")
    assert prepared.pathways is None
    assert "no pathway has 5 panel genes (priors.min_genes): the pathway loss is off" in prepared.notes


def test_a_vector_for_one_target_is_enough_and_counted(tmp_path, store):
    config = settle(build_config(TINY | {"store": store}))
    target = open_experiment(config).targets[0]
    np.savez(tmp_path / "one.npz", genes=np.array([target]), vectors=np.ones((1, 4), dtype=np.float32))
    config = settle(build_config(TINY | {"store": store, "priors.target_embedding": str(tmp_path / "one.npz")}))
    notes = prepare(open_experiment(config), tmp_path / "artifacts").notes
    assert any(note == "target embedding: one.npz, 1 of 8 targets" for note in notes), notes


@pytest.mark.parametrize(
    ("address", "name", "says"),
    [
        ("priors.target_embedding", "other.npz", "no target ("),
        ("priors.gene_embedding", "other.npz", "no panel gene ("),
        ("priors.pathways", "other.gmt", "other.gmt: no panel gene ("),
        ("priors.ppi", "none.tsv", "none.tsv: no such file; check its name"),
    ],
)
@pytest.mark.parametrize("in_a_point", [True, False])
def test_a_study_rejects_such_a_prior_before_any_trial(tmp_path, store, priors, address, name, says, in_a_point):
    values = {address: str(priors / name)}
    path = write_study(
        tmp_path / "s.py", points={"full": {}, "other": {"grc.n_modules": 3, **(values if in_a_point else {})}}
    )
    with pytest.raises(UserError) as error:
        make_plan(read_study(path), path, {"store": store, **({} if in_a_point else values)})
    assert says in str(error.value) and "\n" not in str(error.value)
