"""`train.workers: 1-2`: a training goes on with the workers that are left, and with more once there is room for them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from ray.cluster_utils import Cluster
from training_cases import TINY, make_store

from scbig_dist.cluster.attempts import read_lines
from scbig_dist.cluster.resources import check_placeable, needs_of
from scbig_dist.errors import UserError
from scbig_dist.settings import build_config, dump_config, parse_set
from scbig_dist.train.context import LocalContext
from scbig_dist.train.experiment import settle
from scbig_dist.train.run import train_run

LONG = TINY | {"flow.steps": 6000, "flow.validate_every": 3000, "train.checkpoint_every": 50}


def test_a_range_of_workers_holds_those_numbers_that_share_an_update_evenly():
    needs = needs_of(
        build_config(
            {**parse_set(["train.workers=1-6"]), "flow.accumulate": 6, "flow.steps": 600, "flow.validate_every": 600}
        )
    )
    assert (needs.least, needs.counts, needs.workers) == (1, (1, 2, 3, 6), 6) and str(needs).startswith(
        "1-6 workers × ("
    )
    assert (
        needs_of(
            build_config({"train.workers": "3", "flow.accumulate": 3, "flow.steps": 600, "flow.validate_every": 600})
        ).counts
        == ()
    )
    check_placeable([needs], [{"CPU": 2.0}], "the run")  # the least has room


@pytest.mark.parametrize("value", ["0", "2-1", "1-", "-2", "1-2-3", "some", "1.5", "true"])
def test_what_is_no_number_of_workers_is_named(value):
    with pytest.raises(UserError, match=r"train\.workers=.*: should be a number from 1, or a range"):
        build_config(parse_set([f"train.workers={value}"]))


def test_a_range_whose_end_cannot_share_an_update_is_refused():
    with pytest.raises(UserError, match=r"flow\.accumulate=4 is not a multiple of train\.workers=3"):
        build_config({"train.workers": "1-3", "flow.accumulate": 4, "flow.steps": 400, "flow.validate_every": 400})
    with pytest.raises(UserError, match="baselines count their updates by workers"):
        build_config({"train.workers": "1-2", "model.name": "cpa", "flow.accumulate": 2})


@pytest.mark.ray
def test_a_node_leaves_and_another_joins(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "30")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # else whatever else runs on this machine goes first
    store, run = make_store(tmp_path), tmp_path / "run"
    config = settle(build_config({"store": str(store), **LONG, "train.workers": "1-2"}))
    (tmp_path / "config.yaml").write_text(dump_config(config))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        leaving = [cluster.add_node(num_cpus=1) for _ in range(2)][-1]
        command = [str(Path(sys.executable).with_name("scbig")), "train", str(tmp_path / "config.yaml"), "-o", str(run)]
        process = subprocess.Popen([*command, "--address", cluster.address], stderr=subprocess.PIPE, text=True)
        wait_for(lambda: sizes(run) == [2] and any((run / "checkpoints" / "flow").glob("step-*")), process)
        cluster.remove_node(leaving, allow_graceful=False)
        wait_for(lambda: sizes(run) == [2, 1], process)
        cluster.add_node(num_cpus=1)
        wait_for(lambda: sizes(run) == [2, 1, 2], process)
        _, said = process.communicate(timeout=180)
    finally:
        cluster.shutdown()
    assert process.returncode == 0 and (run / "run.json").exists() and sizes(run) == [2, 1, 2], said
    # The group that left for a larger one did so behind a checkpoint; the one that lost a worker repeats an interval at most.
    repeated = read_lines(run / "repeated.jsonl")
    assert len(repeated) <= 1 and all(each["reached"] - each["from"] <= 50 for each in repeated), repeated
    alone = tmp_path / "alone"
    train_run(config, alone, LocalContext(), progress=False)
    one, elastic = losses(alone), losses(run)
    shared = one.index.intersection(elastic.index)
    assert len(shared) >= 4
    pd.testing.assert_series_equal(one[shared], elastic[shared], rtol=1e-2, atol=1e-3)


def sizes(run: Path) -> list[int]:
    """Workers of each group so far."""
    return [len(group["workers"]) for group in read_lines(run / "workers.jsonl")]


def losses(run: Path) -> pd.Series:
    return pd.read_json(run / "metrics.jsonl", lines=True).set_index(["stage", "step"])["loss"]


def wait_for(happened: Callable[[], bool], process: subprocess.Popen, seconds: float = 180) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end, "not within the time"
        time.sleep(0.1)
