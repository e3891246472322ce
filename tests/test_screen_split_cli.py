"""`scbig split`: what it prints, the file that a person edits, and its refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from training_cases import make_store

from scbig_dist.cli import main


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_store(tmp_path_factory.mktemp("store")))


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["scbig", "split", *words])
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


SMALL = ("--set", "split.n_test=2", "--set", "split.n_val=1")


def test_a_split_is_printed_written_edited_and_looked_at_again(monkeypatch, capsys, tmp_path, store):
    out = tmp_path / "new" / "split.json"
    assert run(monkeypatch, store, *SMALL, "--set", "split.kind=holdout", "-o", str(out)) == 0
    text = capsys.readouterr().out
    assert f"holdout split of {store}, seed 0" in text and "test_single" in text and "one_unseen" in text
    assert "test: 2 targets never in training: '" in text and f"train with --set split.file={out}" in text
    tree = json.loads(out.read_text())
    assert (tree["kind"], tree["seed"]) == ("holdout", 0)
    assert tree["sizes"]["test"] == len(tree["test"]) and tree["sizes"]["train"] == len(tree["train"])
    assert f"{tree['sizes']['train']}" in text
    moved = tree["train"].pop()
    tree["parts"]["unused"] = [*tree["parts"].get("unused", []), moved]
    out.write_text(json.dumps(tree))
    assert run(monkeypatch, store, "--set", f"split.file={out}") == 0
    assert "unused" in capsys.readouterr().out


def test_without_an_output_nothing_is_written(monkeypatch, capsys, tmp_path, store):
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, store, *SMALL) == 0
    text = capsys.readouterr().out
    assert "additive split" in text and "no validation" not in text and not list(tmp_path.iterdir())
    assert run(monkeypatch, store, "--set", "split.n_test=2", "--set", "split.n_val=0") == 0
    assert "no validation conditions: a training keeps its last update" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "flow.lr=1"], "--set flow.lr: not part of a split"),
        (["--set", "split.kind=transfr"], "split.kind='transfr'"),
        (["--set", "split.n_test=500"], "lower split.n_test or split.n_val"),
        (["--set", "split.file=x.json", "--set", "split.seed=3"], "--set split.seed: split.file names every condition"),
        (["--set", "split.file=none.json"], "no such file"),
        ([*SMALL, "-o", "."], "a directory; name a file"),
        ([*SMALL, "-o", "kept.json"], "exists, perhaps edited; name another file or replace it with --force"),
    ],
)
def test_split_rejects(monkeypatch, capsys, tmp_path, store, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kept.json").write_text("mine")
    assert run(monkeypatch, store, *words) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert (tmp_path / "kept.json").read_text() == "mine"


def test_force_replaces_a_file(monkeypatch, tmp_path, store):
    out = tmp_path / "split.json"
    out.write_text("mine")
    assert run(monkeypatch, store, *SMALL, "-o", str(out), "--force") == 0
    assert json.loads(out.read_text())["kind"] == "additive"


def test_split_rejects_a_leak_in_a_file(monkeypatch, capsys, tmp_path, store):
    path: Path = tmp_path / "split.json"
    assert run(monkeypatch, store, *SMALL, "-o", str(path)) == 0
    capsys.readouterr()
    tree = json.loads(path.read_text())
    context, _, pair = tree["test"][0].partition("/")
    tree["train"].append(f"{context}/{'+'.join(reversed(pair.split('+')))}")
    path.write_text(json.dumps(tree))
    assert run(monkeypatch, store, "--set", f"split.file={path}") == 2
    error = capsys.readouterr().err
    assert f"'{tree['test'][0]}' is in both 'test' and 'train'; keep one" in error and error.count("\n") == 1
