"""Why trials end: causes in one line, deaths counted, a full disk, a store that is gone, a trial that stands still."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch
from ray.exceptions import OutOfMemoryError
from ray.train import WorkerGroupError
from training_cases import TINY, make_store, write_study

from scbig_dist.cluster.attempts import read_lines, whereabouts
from scbig_dist.cluster.causes import is_gone, is_loss, killed, node_died, reason
from scbig_dist.cluster.deaths import STUCK_S, stands_still
from scbig_dist.cluster.session import ray_session
from scbig_dist.cluster.tune import run_sweep
from scbig_dist.errors import UserError
from scbig_dist.settings import build_config
from scbig_dist.train.context import LocalContext
from scbig_dist.train.experiment import settle
from scbig_dist.train.run import train_run


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("store"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of a few megabytes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("mounting a small disk wants root")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_neighbours_complaint_is_not_the_cause():
    failures = {0: RuntimeError("[gloo] Connection closed by peer"), 1: MemoryError("no room")}
    error = WorkerGroupError("failed", failures)
    assert reason(error).startswith("out of memory on ") and "(MemoryError: no room); lower" in reason(error)
    assert is_loss(failures[0]) and not is_gone(failures[0]) and not is_loss(failures[1])


def test_out_of_memory_is_named_whoever_noticed_it():
    with pytest.raises(RuntimeError) as error:
        torch.empty(1 << 55)
    assert reason(error.value).startswith("out of memory on ") and "\n" not in reason(error.value)
    assert reason(OutOfMemoryError("the node was running low on memory")).startswith("out of memory: Ray ended")
    assert "node ran low" in killed("Task was killed due to the node running low on memory.\nmore\nand more")
    guesses = "Some common causes include: (1) the process was killed by the OOM killer due to high memory usage"
    assert killed(f"The actor died unexpectedly.\nits socket closed. {guesses}") == "its socket closed."


def test_a_nodes_death_is_told_from_a_processs():
    assert (
        node_died("The actor died because its node has died. Node Id: 12")
        and killed("its node has died") == "its node died"
    )
    assert not node_died("The actor died unexpectedly before finishing this task.")


def test_a_full_disk_ends_a_run_with_its_name_and_leaves_no_half(store, small_disk):
    config = settle(build_config({"store": str(store), **TINY, "gcae.width": 512, "flow.width": 2048}))
    with pytest.raises(OSError) as error:
        train_run(config, small_disk / "run", LocalContext(), progress=False)
    assert reason(error.value).startswith("disk full: ") and str(small_disk) in reason(error.value)
    assert not list(small_disk.rglob(".step-*")), "half a checkpoint keeps the disk full"
    assert shutil.disk_usage(small_disk).free > 1_000_000


@pytest.mark.ray
def test_trials_without_disk_memory_or_store_end_with_their_reason_and_the_sweep_goes_on(store, small_disk):
    mine = shutil.copytree(store, small_disk.parent / "mine")
    out, widths = small_disk / "out", [4096, 1 << 23, 16, 8]
    study = write_study(small_disk.parent / "s.py", axes={"flow.width": widths}, test="all")
    thread = threading.Thread(target=remove_after, args=(mine, out / "trials" / "0002" / "trial.json"))
    thread.start()
    with ray_session(cpus=1):
        run_sweep(study, out, {"store": str(mine)})
    thread.join()
    table = pd.read_parquet(out / "trials.parquet").set_index("flow.width")
    assert table["status"].tolist() == ["failed", "failed", "finished", "failed"], table["error"].tolist()
    assert table["error"].str.count("\n").sum() == 0
    assert table.loc[4096, "error"].startswith("disk full: ") and str(small_disk) in table.loc[4096, "error"]
    assert table.loc[1 << 23, "error"].startswith("out of memory on ")
    assert table.loc[8, "error"].startswith("UserError: ") and str(mine) in table.loc[8, "error"]
    assert table.loc[16, "reason"].startswith("test could not be scored: UserError: ")
    assert table["restarts"].tolist() == [0] * 4 and (table["node"] != "").all() and (table["gpus"] == "").all()


def remove_after(folder: Path, file: Path, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not file.exists() and time.monotonic() < end:
        time.sleep(0.02)
    shutil.rmtree(folder)


def test_a_store_that_disappears_ends_the_run_with_its_name(store, tmp_path):
    config = settle(build_config({"store": str(shutil.copytree(store, tmp_path / "mine")), **TINY}))
    shutil.rmtree(tmp_path / "mine")
    with pytest.raises(UserError, match="mine"):
        train_run(config, tmp_path / "run", LocalContext(), progress=False)


def test_restarts_and_places_are_read_from_whole_lines(tmp_path):
    line = '{"began": 1.0, "node": "a", "ip": "1", "pid": 2, "gpus": ["0"]}\n'
    (tmp_path / "attempts.jsonl").write_text(line + line.replace('"a"', '"b"') + '{"began": 3, "no')
    assert len(read_lines(tmp_path / "attempts.jsonl")) == 2
    assert whereabouts(tmp_path) == {"restarts": 1, "node": "b", "gpus": "0"}
    assert whereabouts(tmp_path / "none") == {"restarts": 0, "node": "", "gpus": ""}


def test_a_trial_that_stands_still_is_said_once_it_has_for_long(tmp_path):
    (tmp_path / "progress.json").write_text('{"stage": "flow", "step": 40}')
    assert stands_still(tmp_path, time.time()) is None
    said = stands_still(tmp_path, time.time() + STUCK_S + 60)
    assert said is not None and "at flow update 40" in said and "16 minutes" in said
