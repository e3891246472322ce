"""The door: a user's mistake is one line on stderr, exit code 2, and no file."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from contextlib import suppress
from importlib.metadata import version
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
    "wrong type of setting": ("train --set flow.lr=fast", "flow.lr='fast': should be a number above 0"),
    "setting out of range": ("train --set gcae.n_inducing=0", "gcae.n_inducing=0: should be a whole number from 1"),
    "range with two ends": ("train --set flow.dropout=1", "flow.dropout=1: should be a number from 0, below 1"),
    "neither true nor false": ("train --set flow.train_autoencoder=maybe", "should be true or false"),
    "no choice": ("train --set flow.pooling=summ", "should be 'attention' or 'sum'; did you mean 'sum'?"),
    "no workers": ("train --workers 0", "'--workers': 0: should be a number from 1, or a range such as 1-4"),
    "word for a setting": ("train --set flow.learning=1e-4", "settings of flow: lr, schedule"),
    "setting without its section": ("train --set n_modules=8", "did you mean 'grc.n_modules'?"),
    "setting of another section": ("train --set flow.n_modules=8", "did you mean 'grc.n_modules'?"),
    "section that is not there": ("train --set optimizer.rate=1", "sections: data, qc"),
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
    assert end.value.code == 2
    assert len(said) == 1 and said[0].startswith("error: "), said
    assert expected in said[0]
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert left == [], "files were left behind"


def test_a_name_with_brackets_is_printed_as_it_is(store, tmp_path, monkeypatch, capsys):
    place = tmp_path / "a[red] b[1]"
    place.symlink_to(store)
    for command in (
        ["store", "info", str(place)],
        ["split", str(place), "--set", "split.n_test=3", "--set", "split.n_val=1"],
    ):
        monkeypatch.setattr(sys, "argv", ["scbig", *command])
        with suppress(SystemExit):
            main()
        assert "a[red] b[1]" in capsys.readouterr().out.replace("\n", "")


def test_interrupted_training_goes_on(store, tmp_path):
    """Ctrl-C through the real program: exit code 130, and --resume takes the newest checkpoint."""
    tiny = [word for address, value in TINY.items() for word in ("--set", f"{address}={value}")]
    scbig = [sys.executable, "-c", "from scbig_dist.cli import main; main()", "train", "-o", str(tmp_path / "run")]
    checkpoints = tmp_path / "run" / "checkpoints" / "flow"
    said = interrupt([*scbig, "--store", str(store), *tiny, "--set", "flow.steps=200000"], checkpoints)
    assert said.strip().splitlines()[-1].startswith("interrupted")
    assert said.splitlines().count(f"run: {tmp_path / 'run'}") == 1
    assert not (tmp_path / "run" / "run.json").exists()
    before = newest(checkpoints)
    interrupt([*scbig, "--resume"], checkpoints)
    assert newest(checkpoints) > before


def newest(checkpoints: Path) -> str:
    return max((path.name for path in checkpoints.glob("step-*")), default="")


def interrupt(command: list[str], checkpoints: Path) -> str:
    """Run until there is a newer checkpoint, press Ctrl-C, return what was said on stderr."""
    before = newest(checkpoints)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        end = time.monotonic() + 120
        while newest(checkpoints) == before:
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < end, "no checkpoint in two minutes"
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    return said


def test_version_is_the_packages(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["scbig", "--version"])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code and capsys.readouterr().out == f"scbig {version('scbig-dist')}\n"
