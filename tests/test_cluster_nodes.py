"""Ray started outside this process: two nodes, a head that asks for a token, a study stopped by Ctrl-C."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from training_cases import make_store, write_study

from scbig_dist.cluster.probe import check_address
from scbig_dist.cluster.session import ray_session
from scbig_dist.errors import UserError

pytestmark = pytest.mark.ray

# Two nodes with one CPU each: two workers cannot share one.
TWO_NODES = """
import json, sys
from pathlib import Path
import pandas as pd
from ray.cluster_utils import Cluster
from scbig_dist.cluster.plan import make_plan
from scbig_dist.cluster.session import ray_session
from scbig_dist.cluster.study import read_study
from scbig_dist.cluster.train import train_on_ray
from scbig_dist.train.context import LocalContext
from scbig_dist.train.run import train_run

path, store, out = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
plan = make_plan(read_study(path), path, {"store": store})
train_run(plan.base, out / "one", LocalContext(), progress=False)
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
cluster.add_node(num_cpus=1)
train_on_ray(plan.config({"train.workers": 2}), out / "two", cluster.address, progress=False)
cluster.shutdown()
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_store(tmp_path_factory.mktemp("store")))


def losses(run: Path) -> pd.Series:
    return pd.read_json(run / "metrics.jsonl", lines=True).set_index(["stage", "step"])["loss"]


def test_two_nodes_and_one_process_have_the_same_loss_curve(tmp_path, store):
    study = write_study(tmp_path / "s.py", axes={"flow.lr": [2e-3]})
    done = subprocess.run(
        [sys.executable, "-c", TWO_NODES, str(study), store, str(tmp_path)], capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    shared = one.index.intersection(two.index)
    assert len(shared) >= 6
    pd.testing.assert_series_equal(one[shared], two[shared], rtol=1e-4, atol=1e-5)


def test_ctrl_c_leaves_a_study_that_resume_finishes(tmp_path, store):
    study = write_study(
        tmp_path / "s.py",
        axes={"flow.lr": [1e-3, 2e-3]},
        fixed={"flow.steps": 600, "flow.validate_every": 100},
    )
    out = tmp_path / "out"
    scbig = [str(Path(sys.executable).with_name("scbig")), "sweep", str(study), "--store", store, "-o", str(out)]
    process = subprocess.Popen(scbig, stderr=subprocess.PIPE, text=True, start_new_session=True)
    checkpoints = out / "trials" / "0000" / "checkpoints" / "flow"
    wait_for(lambda: checkpoints.is_dir() and any(checkpoints.iterdir()), process)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "--resume continues" in said and "Traceback" not in said
    before = sorted(path.name for path in checkpoints.iterdir())
    assert not (out / "trials" / "0000" / "run.json").exists()
    done = subprocess.run([*scbig, "--resume"], stderr=subprocess.PIPE, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    table = pd.read_parquet(out / "trials.parquet")
    assert table["status"].tolist() == ["finished"] * 2 and table["trial"].tolist() == ["0000", "0001"]
    assert table["budget"].tolist() == [600, 600] and table["test_pearson_delta"].notna().sum() == 1
    # It went on from where it was: no step is in the log twice, none is missing before the checkpoint.
    steps = pd.read_json(out / "trials" / "0000" / "metrics.jsonl", lines=True).query("stage == 'flow'")["step"]
    assert steps.is_monotonic_increasing and steps.is_unique and before


def test_a_head_with_a_token_takes_that_token_alone(tmp_path, monkeypatch):
    (tmp_path / ".ray").mkdir()
    token = tmp_path / ".ray" / "auth_token"
    token.write_text("a" * 64)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    secure = {**os.environ, "HOME": str(tmp_path), "RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0"}
    ray_command = str(Path(sys.executable).with_name("ray"))
    head = [ray_command, "start", "--head", f"--port={port}", "--num-cpus=1", "--include-dashboard=false", "--block"]
    process = subprocess.Popen(head, env=secure, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    address = f"127.0.0.1:{port}"
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    try:
        wait_for(lambda: answers(address), process)
        with ray_session(address) as session:  # the mode is unset here: the head's wish is noticed
            assert not session.started_here
        assert "RAY_AUTH_MODE" not in os.environ
        token.write_text("b" * 64)
        with pytest.raises(UserError, match="token is not the head's"), ray_session(address):
            pass
        token.unlink()
        with pytest.raises(UserError, match="asks for a token"), ray_session(address):
            pass
    finally:
        process.terminate()
        process.wait(timeout=30)


def answers(address: str) -> bool:
    try:
        return check_address(address)
    except UserError:
        return False


def wait_for(happened, process: subprocess.Popen, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end, "not within the time"
        time.sleep(0.1)
