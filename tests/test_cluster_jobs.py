"""Sweeps as Ray jobs on a real head with a token: sent, left, taken up again, ended."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from cluster_cases import ROOT, TwoNodes, free_port, scbig, wait_for
from training_cases import make_store, write_study

from scbig_dist.cli.jobs import _sweep_values
from scbig_dist.cluster.jobs import Jobs, check_words, split_handle
from scbig_dist.errors import UserError

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with a study, beside what must not be uploaded."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "scbig_dist", folder / "scbig_dist", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("runs", "stores", "data", ".git"):
        (folder / name).mkdir()
        (folder / name / "large").write_bytes(os.urandom(4096))
    return folder


def program(cluster: TwoNodes, project: Path, *words: str) -> subprocess.Popen:
    command = [sys.executable, "-u", "-m", "scbig_dist", *words, "--address", cluster.head.dashboard]
    return subprocess.Popen(
        command, env=cluster.head.env, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_sweep_outlives_the_one_who_sent_it(cluster, project, tmp_path, monkeypatch):
    write_study(project / "mine.py", axes={"flow.lr": [1e-3]})
    store, out = make_store(tmp_path), tmp_path / "out"
    sent = program(cluster, project, "submit", "mine.py", "--store", str(store), "-o", str(out))
    assert sent.stderr is not None and sent.stdout is not None
    handle = sent.stderr.readline().removeprefix("job: ").strip()
    assert handle.startswith(cluster.head.dashboard)
    sent.stdout.readline()  # the job's first line: it has begun
    sent.send_signal(signal.SIGINT)
    _, said = sent.communicate(timeout=30)
    assert sent.returncode == 0 and f"scbig status {handle} --follow" in said
    done = scbig(cluster.head, "status", handle, "--follow")
    assert done.returncode == 0 and "succeeded" in done.stderr, done.stdout + done.stderr
    table = pd.read_parquet(out / "trials.parquet")
    assert table["status"].tolist() == ["finished"] and table["test_pearson_delta"].notna().all()
    # Nothing that the study or the job's output holds is the token.
    token = cluster.head.token_file.read_text()
    assert token not in done.stdout + done.stderr + said
    for file in out.rglob("*"):
        assert not file.is_file() or token.encode() not in file.read_bytes(), file


@pytest.mark.slow
def test_stop_is_the_ctrl_c_of_a_sweep(cluster, project, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", cluster.head.env["HOME"])
    monkeypatch.chdir(project)
    write_study(
        project / "long.py", axes={"flow.lr": [1e-3]}, fixed={"flow.steps": 100_000, "flow.validate_every": 1000}
    )
    store, out = make_store(tmp_path), tmp_path / "out"
    jobs = Jobs(cluster.head.dashboard)
    job = jobs.submit(project, ["sweep", "long.py", "--store", str(store), "-o", str(out), "--address", "auto"])
    wait_for(lambda: list(out.glob("trials/*/metrics.jsonl")))
    assert jobs.get(job).state == "running" and job in [each.id for each in jobs.all()]
    assert jobs.stop(job).state == "stopped"
    assert "--resume continues" in jobs.log(job) and "Traceback" not in jobs.log(job)
    uploaded = [path for path in Path("/tmp").glob("scbig-ray-*/**/working_dir_files/*/large")]
    assert uploaded == []
    with pytest.raises(UserError, match=r"no job 'scbig-none' at .*; the newest: scbig-long-"):
        jobs.get("scbig-none")


def refused(address: str) -> str:
    began = time.monotonic()
    with pytest.raises(UserError) as error:
        Jobs(address)
    assert time.monotonic() - began < 5 and "\n" not in str(error.value)
    return str(error.value)


def test_a_missing_and_a_wrong_token_are_named(cluster, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    assert "asks for a token" in refused(cluster.head.dashboard)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "b" * 64)
    assert "the token is not the head's" in refused(cluster.head.dashboard)


def test_an_address_without_a_dashboard_is_named_within_five_seconds(cluster):
    assert "no Ray dashboard answers" in refused(f"127.0.0.1:{free_port()}")
    assert "no Ray dashboard answers" in refused("http://192.0.2.1:8265")
    assert "not to Ray's own (6379)" in refused(cluster.head.address)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        assert "no Ray dashboard answers" in refused(f"127.0.0.1:{silent.getsockname()[1]}")
    assert "takes no jobs" in refused("ray://127.0.0.1:10001")


def test_the_dashboard_listens_on_loopback_alone(cluster):
    port = int(cluster.head.dashboard.rpartition(":")[2])
    listening = [
        line.split()[1]
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for line in Path(table).read_text().splitlines()[1:]
        if line.split()[3] == "0A" and int(line.split()[1].rpartition(":")[2], 16) == port
    ]
    assert listening and all(each.startswith("0100007F:") for each in listening)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["s.py", "--store", "/s"], "name the study's directory"),
        (["s.py", "-o", "out", "--store", "/s"], "-o out: a path of this machine"),
        (["s.py", "-o", "/out", "--store", "stores/s"], "--store stores/s: a path of this machine"),
        (["s.py", "-o", "/out", "--set", "priors.ppi=ppi.tsv"], "--set priors.ppi ppi.tsv: a path of this machine"),
        (["/else/s.py", "-o", "/out"], "/else/s.py is not a file of the project"),
        (["none.py", "-o", "/out"], "none.py is not a file of the project"),
    ],
)
def test_paths_that_a_cluster_cannot_have_are_refused(words, named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("s.py").write_text("axes = {}\n")
    with pytest.raises(UserError) as error:
        check_words(_sweep_values(words))
    assert named in str(error.value)
    check_words(_sweep_values(["s.py", "-o", "/out", "--store", "s3://b/s", "--set", "priors.gene_embedding=pca"]))


def test_an_option_that_sweep_lacks_is_a_usage_error():
    done = scbig(None, "submit", "tune/demo.py", "--stores", "x", "--address", "127.0.0.1:1")
    assert done.returncode == 2 and "No such option: --stores" in done.stderr and "Traceback" not in done.stderr


def test_a_handle_is_an_address_and_a_job():
    assert split_handle("http://h:8265/scbig-x", None) == ("http://h:8265", "scbig-x")
    assert split_handle("h:8265/scbig-x", None) == ("h:8265", "scbig-x")
    assert split_handle("http://h:8265", None) == ("http://h:8265", None)
    assert split_handle("scbig-x", "h:1") == ("h:1", "scbig-x") and split_handle(None, "h:1") == ("h:1", None)
