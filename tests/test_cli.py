"""The door: a user's mistake is one line on stderr, exit code 2, and no file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from training_cases import TINY, make_store

from scbig_dist.cli import main

WRONG = {
    "unknown command": ("foo", "No such command 'foo'"),
    "unknown option": ("train --st x", "No such option: --st"),
    "missing argument": ("store build", "Missing argument"),
    "wrong type of option": ("train --workers many --store {store}", "--workers"),
    "missing config": ("train missing.yaml --store {store}", "missing.yaml: no such file"),
    "no store": ("train", "no store"),
    "store that is not there": ("train --store nowhere", "nowhere"),
    "unknown setting": ("train --store {store} --set flow.lrr=1", "did you mean 'flow.lr'?"),
    "setting without =": ("train --store {store} --set flow.lr", "no '='"),
    "wrong type of setting": ("train --store {store} --set flow.lr=fast", "flow.lr='fast'"),
    "setting out of range": ("train --store {store} --set gcae.n_inducing=0", "gcae.n_inducing=0"),
    "more modules than genes": ("train --store {store} {tiny} --set grc.n_modules=5000 -o run", "grc.n_modules=5000"),
    "setting against the store": ("train --store {store} --set qc.min_genes=3", "built with qc.min_genes=10"),
    "missing prior": ("train --store {store} {tiny} --set priors.ppi=none.tsv -o run", "none.tsv"),
    "GPU that is not there": ("train --store {store} {tiny} --set train.gpus=1 -o run", "train.gpus=1"),
    "resume of nothing": ("train --store {store} --resume", "-o RUN"),
    "evaluate what is no run": ("evaluate {store}", "not a run"),
    "predict from what is no run": ("predict {store} --condition A -o x.h5ad", "not a run"),
    "report of what is neither": ("report {store}", "neither"),
    "missing study": ("sweep tune/none.py --store {store}", "none.py: no such file"),
    "h5ad that is not there": ("store build none.h5ad out", "none.h5ad"),
    "check of what is no store": ("store check .", "not a cell store"),
    "simulate nothing": ("simulate x.h5ad --cells 0", "cells"),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("cli"))


@pytest.mark.parametrize("name", WRONG)
def test_mistake_is_one_line_and_leaves_no_file(name, store, tmp_path, monkeypatch, capsys):
    line, expected = WRONG[name]
    tiny = " ".join(f"--set {address}={value}" for address, value in TINY.items() if not address.startswith("grc"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["scbig", *line.format(store=store, tiny=tiny).split()])
    with pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr().err.strip().splitlines()
    said = [line for line in said if not line.startswith("run: ")]
    assert end.value.code == 2
    assert len(said) == 1 and said[0].startswith("error: "), said
    assert expected in said[0]
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert left == [], "files were left behind"


def test_interrupted_training_goes_on(store, tmp_path):
    """Ctrl-C through the real program: exit code 130, and --resume ends the run."""
    tiny = [word for address, value in TINY.items() for word in ("--set", f"{address}={value}")]
    command = [sys.executable, "-c", "from scbig_dist.cli import main; main()"]
    train = [*command, "train", "--store", str(store), *tiny, "--set", "flow.steps=200000", "-o", str(tmp_path / "run")]
    process = subprocess.Popen(train, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    while not list(tmp_path.glob("run/checkpoints/flow/step-*")):
        assert process.poll() is None, process.stderr and process.stderr.read()
        try:
            process.wait(0.2)
        except subprocess.TimeoutExpired:
            continue
    os.kill(process.pid, 2)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and said.strip().splitlines()[-1].startswith("interrupted")
    assert not (tmp_path / "run" / "run.json").exists()
    again = subprocess.Popen(
        [*command, "train", "--resume", "-o", str(tmp_path / "run")], stderr=subprocess.PIPE, text=True
    )
    newest = max(path.name for path in tmp_path.glob("run/checkpoints/flow/step-*"))
    while max((path.name for path in tmp_path.glob("run/checkpoints/flow/step-*")), default=newest) <= newest:
        assert again.poll() is None, again.stderr and again.stderr.read()
        try:
            again.wait(0.2)
        except subprocess.TimeoutExpired:
            continue
    again.terminate()
    again.wait()
