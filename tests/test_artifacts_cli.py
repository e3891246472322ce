"""`scbig artifacts`, `--artifacts` and what a dry run says of sharing."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
import yaml
from remote_cases import BUCKET, s3_server
from training_cases import TINY, make_store, write_study

from scbig_dist.artifacts import Shelf
from scbig_dist.artifacts.place import open_place
from scbig_dist.cli import main
from scbig_dist.cluster.outlook import artifact_root
from scbig_dist.settings import build_config
from scbig_dist.train.context import LocalContext
from scbig_dist.train.experiment import settle
from scbig_dist.train.run import train_run

SECONDS = {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
FAST = TINY | {"autoencoder.epochs": 1, "flow.steps": 8, "flow.validate_every": 4}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return str(make_store(tmp_path_factory.mktemp("store")))


def scbig(monkeypatch, capsys, *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["scbig", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    return ended.value.code or 0, said.out, said.err


def listed(monkeypatch, capsys, *arguments: str) -> list[dict]:
    code, out, _ = scbig(monkeypatch, capsys, "artifacts", *arguments, "--json")
    assert code == 0
    return json.loads(out)


def train(store: str, run: Path, root: str, **values) -> dict:
    config = settle(build_config({"store": store, **FAST, **{k.replace("__", "."): v for k, v in values.items()}}))
    train_run(config, run, LocalContext(), artifact_root=root, progress=False)
    return json.loads((run / "run.json").read_text())


def test_runs_of_two_studies_share_on_object_storage(store, tmp_path, monkeypatch, capsys):
    with s3_server() as port:
        at = f"endpoint_override=127.0.0.1:{port}&scheme=http&allow_bucket_creation=true"
        root = f"s3://{BUCKET}/shared?{at}"
        open_place(root)._system.create_dir(BUCKET)
        first = train(store, tmp_path / "a/run", root)
        second = train(store, tmp_path / "b/run", root, align__lambda_corr=1.0)
        kinds = {each["kind"]: each["reused"] for each in second["artifacts"]}
        assert kinds == {"pca": True, "modules": True, "autoencoder": True, "latents": True, "flow": False}
        assert not any(each["reused"] for each in first["artifacts"])
        assert all(each["seconds"] > 0 for each in second["artifacts"])
        entries = listed(monkeypatch, capsys, root)
        assert {each["kind"]: len(each["runs"]) for each in entries if each["kind"] != "flow"} == {
            "pca": 2, "modules": 2, "autoencoder": 2, "latents": 2,
        }  # fmt: skip
        code, _, err = scbig(monkeypatch, capsys, "artifacts", root, "--prune", "--kind", "flow")
        assert code == 0 and "removed 2" in err
        assert "flow" not in {each["kind"] for each in listed(monkeypatch, capsys, root)}


def test_prune_spares_what_is_used_made_or_read(store, tmp_path, monkeypatch, capsys):
    root = str(tmp_path / "root")
    train(store, tmp_path / "kept", root)
    with Shelf(root, run=str(tmp_path / "gone")) as shelf:
        shelf.put("de", "0123456789abcdef", {}, lambda beside: (beside / "x").write_text("x"))
        (tmp_path / "root/.making-pca-fedcba9876543210-0000000000000000-0").mkdir()
        unused = listed(monkeypatch, capsys, root, "--prune", "--unused", "--dry-run")
        assert len(unused) == 1  # the half: no run has it
        with shelf.claim("modules", "fedcba9876543210"):
            (tmp_path / "root/unfinished/modules-fedcba9876543210").mkdir(parents=True)
            assert [e["kind"] for e in listed(monkeypatch, capsys, root, "--leftovers")] == ["pca"]
    # What was read a moment ago is read no more: the run that used it never was.
    code, out, err = scbig(monkeypatch, capsys, "artifacts", root, "--prune", "--unused", "--kind", "de")
    assert code == 0 and "removed 1" in err and "de" in out
    left = {each["kind"] for each in listed(monkeypatch, capsys, root, "--older", "0m")}
    assert left == {"pca", "modules", "autoencoder", "latents", "flow"}
    assert not listed(monkeypatch, capsys, root, "--older", "1h")
    scbig(monkeypatch, capsys, "artifacts", root, "--prune", "--leftovers")
    assert not list((tmp_path / "root").glob(".making-*")) and (tmp_path / "kept/run.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--prune"], "say what: --older"),
        (["--dry-run"], "without --prune"),
        (["--kind", "module"], "--kind module: no such kind; choices: pca, modules"),
        (["--older", "30"], "--older 30: a number and a unit"),
        ([], "nothing there"),
    ],
)
def test_artifacts_refuses(tmp_path, monkeypatch, capsys, arguments, message):
    code, _, err = scbig(monkeypatch, capsys, "artifacts", str(tmp_path / "none"), *arguments)
    assert code == 2 and message in err and len(err.splitlines()) == 1


def test_prune_touches_no_folder_that_is_no_artefact(store, tmp_path, monkeypatch, capsys):
    root = tmp_path / "study"
    for name in ("trials/0000", "notes-2024/drafts", "unfinished/thesis"):
        (root / name).mkdir(parents=True)
        (root / name / "file.txt").write_text("mine")
    code, _, err = scbig(monkeypatch, capsys, "artifacts", str(root / "trials"), "--prune", "--leftovers")
    assert code == 2 and "no artefacts there" in err and len(err.splitlines()) == 1
    train(store, tmp_path / "run", str(root))
    for condition in ("--leftovers", "--unused"):
        assert listed(monkeypatch, capsys, str(root), "--prune", condition) == []
    assert len(list(root.glob("*/*/file.txt"))) == 3


def test_dry_run_says_what_is_shared_and_what_is_there(store, tmp_path, monkeypatch, capsys):
    path = write_study(
        tmp_path / "s.py", axes={"grc.n_modules": [4, 6], "align.lambda_corr": [0.1, 1.0, 2.0]}, fixed=FAST
    )
    root = str(tmp_path / "root")
    train(store, tmp_path / "run", root, align__lambda_corr=1.0)
    command = ["sweep", str(path), "-s", store, "-o", str(tmp_path / "study"), "--artifacts", root, "--dry-run"]
    code, out, _ = scbig(monkeypatch, capsys, *command, "--no-estimate")
    assert code == 0
    cells = {row[0]: row[1:] for line in out.splitlines() if len(row := line.replace("│", " ").split()) > 1}
    assert cells["pca"] == ["1", "6", "1"]
    assert cells["modules"] == ["2", "3", "(2×)", "1"]
    assert cells["autoencoder"] == ["2", "3", "(2×)", "1"]
    assert cells["flow"] == ["6", "1", "(6×)", "1"]
    assert cells["scores"] == ["6", "1", "(6×)", "0"]  # the run was trained, not scored
    assert not (tmp_path / "study").exists()


def test_dry_run_counts_a_trials_seeds(store, tmp_path, monkeypatch, capsys):
    path = write_study(tmp_path / "s.py", axes={"align.lambda_corr": [0.1, 1.0]}, fixed=FAST, seeds=3)
    command = ["sweep", str(path), "-s", store, "-o", str(tmp_path / "study"), "--dry-run", "--no-estimate"]
    _, out, _ = scbig(monkeypatch, capsys, *command)
    cells = {row[0]: row[1:] for line in out.splitlines() if len(row := line.replace("│", " ").split()) > 1}
    assert cells["autoencoder"] == ["3", "2", "(3×)", "0"] and cells["flow"] == ["6", "1", "(6×)", "0"]


def test_dry_run_of_a_search_is_of_one_trial_with_all_its_seeds(store, tmp_path, monkeypatch, capsys):
    path = write_study(
        tmp_path / "s.py", axes={"flow.lr": {"low": 1e-4, "high": 1e-2}}, sampler="tpe", n_trials=5, seeds=3, fixed=FAST
    )
    code, out, _ = scbig(monkeypatch, capsys, "sweep", str(path), "-s", store, "-o", str(tmp_path / "x"), "--dry-run")
    cells = {row[0]: row[1:] for line in out.splitlines() if len(row := line.replace("│", " ").split()) > 1}
    assert code == 0 and cells["autoencoder"] == ["3", "1", "(3×)", "0"] and "3 runs by themselves" in out
    assert re.search(r"^all 5 trials, if each is like that: [\d.]+ m?s by themselves$", out, re.MULTILINE)


def test_estimate_counts_what_is_shared_once(store, tmp_path, monkeypatch, capsys):
    path = write_study(tmp_path / "s.py", axes={"align.lambda_corr": [0.1, 1.0]}, fixed=FAST | {"flow.steps": 4000})
    code, out, _ = scbig(monkeypatch, capsys, "sweep", str(path), "-s", store, "-o", str(tmp_path / "x"), "--dry-run")
    times = [
        float(words[-2]) * SECONDS[words[-1]]
        for line in out.splitlines()
        if ("runs by themselves" in line or "made once" in line) and (words := line.replace("│", " ").split())
    ]
    assert code == 0 and "steps of 1 shape timed here" in out and "memory of a worker" in out
    alone, shared = times[-2:]
    assert 0 < shared <= alone


@pytest.mark.ray
def test_a_sweep_remembers_where_its_artefacts_lie(store, tmp_path, monkeypatch, capsys):
    path = write_study(tmp_path / "s.py", axes={"align.lambda_corr": [0.1, 1.0]}, fixed=FAST)
    root, out = tmp_path / "root", tmp_path / "study"
    command = ["sweep", str(path), "-s", store, "-o", str(out)]
    code, _, err = scbig(monkeypatch, capsys, *command, "--artifacts", str(root))
    assert code == 0 and "shared artefacts were used 4 times instead of made" in err
    assert yaml.safe_load((out / "study.yaml").read_text())["artifacts"] == str(root)
    assert len(list(root.glob("autoencoder-*"))) == 1 and len(list(root.glob("flow-*"))) == 2
    assert len(list(root.glob("scores-*"))) == 2
    assert not (out / "artifacts").exists()
    for trial in ("0000", "0001"):
        used = json.loads((out / "trials" / trial / "run.json").read_text())["artifacts"]
        assert {each["kind"] for each in used} == {"pca", "modules", "autoencoder", "latents", "flow"}
    assert artifact_root(out) == str(root), "for --resume without --artifacts"
