"""Storage on a cluster of two nodes, one of which has a folder for itself: refused before anything is written."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cluster_cases import Head, TwoNodes, wait_for
from store_cases import config, screen, write
from training_cases import make_store, write_study

from scbig_dist.cluster import newcomers, on_node
from scbig_dist.cluster.ask import Unanswered, ask, living_nodes
from scbig_dist.cluster.build import build_on_ray
from scbig_dist.cluster.newcomers import Newcomers
from scbig_dist.cluster.plan import make_plan
from scbig_dist.cluster.session import ray_session
from scbig_dist.cluster.shared import require_shared
from scbig_dist.cluster.study import read_study
from scbig_dist.cluster.train import train_on_ray
from scbig_dist.cluster.tune import run_sweep
from scbig_dist.errors import UserError

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def connected(cluster: TwoNodes) -> Iterator[Head]:
    if not cluster.isolated:
        pytest.skip("needs a mount namespace of its own (root): not allowed here")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", cluster.head.env["HOME"])
        patch.setattr(on_node, "PATIENCE_S", 0.3)
        with ray_session(cluster.head.address):
            wait_for(lambda: len(living_nodes()) == 2)
            yield cluster.head


@pytest.fixture
def private(cluster: TwoNodes) -> Path:
    return cluster.private


def test_a_folder_that_a_node_has_for_itself_is_refused_and_a_shared_one_is_not(connected, private, tmp_path):
    require_shared(tmp_path / "study", [], "--output")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match=r"does not see what another node writes there; --output must lie") as error:
        require_shared(private / "study", [], "--output")
    assert "\n" not in str(error.value) and list(private.iterdir()) == []
    (private / "only").mkdir()
    with pytest.raises(UserError, match=r"only: node [\d.]+ cannot write there \(No such file or directory\)"):
        require_shared(private / "only" / "study", [], "--output")
    file = private / "priors.tsv"
    file.write_text("A\tB\t1\n")
    with pytest.raises(UserError, match=r"--address: node [\d.]+ does not see .*priors\.tsv"):
        require_shared(tmp_path / "study", [file], "the priors")
    assert list(tmp_path.iterdir()) == []


def test_a_node_that_died_while_it_was_asked_is_in_nobodys_way(connected, tmp_path):
    gone = replace(living_nodes()[-1], id="e" * 56)
    require_shared(tmp_path / "study", [], "--output", nodes=[*living_nodes(), gone])
    assert list(tmp_path.iterdir()) == []


def test_a_store_is_not_built_from_files_that_a_node_does_not_see(connected, private, tmp_path):
    path = write(screen(60), private)
    with pytest.raises(UserError, match=r"does not see .*; IN and STORE must lie on storage that all nodes share"):
        build_on_ray([path], tmp_path / "s", config(), connected.address, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_a_node_that_cannot_answer_does_not_hide_the_others(connected):
    def question(place: str) -> str:
        if not Path(place, "priors.tsv").exists():
            raise FileNotFoundError("not here")
        return "here"

    private = Path(connected.env["HOME"])
    answers = list(ask(living_nodes(), question, str(private)).values())
    assert len(answers) == 2 and all(isinstance(each, Unanswered) and "not here" in each for each in answers)


def test_a_training_or_a_sweep_whose_files_not_all_nodes_see_is_refused(connected, private, tmp_path):
    store = str(make_store(tmp_path))
    study = write_study(tmp_path / "s.py", axes={"flow.lr": [1e-3]})
    config = make_plan(read_study(study), study, {"store": store}).base
    for start in (
        lambda: train_on_ray(config, private / "out", connected.address, progress=False),
        lambda: run_sweep(study, private / "out", {"store": store}, address=connected.address),
    ):
        with pytest.raises(UserError, match=f"^{private}: .* storage that all nodes share") as error:
            start()
        assert "\n" not in str(error.value)
    assert [path.name for path in private.iterdir() if path.name == "out"] == []


@pytest.mark.parametrize("own", [True, False])
def test_a_node_that_joins_without_the_sweeps_storage_is_said_once(connected, private, tmp_path, own):
    study = (private if own else tmp_path) / "study"
    study.mkdir()
    (study / "study.yaml").write_text("schema: 2\n")
    head, other = living_nodes()
    said: list[str] = []
    watch = Newcomers(study, [head], said.append)

    def answered() -> bool:
        watch.look()
        return not watch._asked

    wait_for(answered)
    watch.look()
    if own:
        [line] = said
        assert line.startswith(f"node {other.address} has joined and does not see {study / 'study.yaml'}: ")
        assert "\n" not in line
    else:
        assert said == []


def test_a_trial_waits_for_storage_that_is_not_there_yet(tmp_path, monkeypatch):
    monkeypatch.setattr(newcomers, "LOOK_S", 0.05)
    study = tmp_path / "study"
    with pytest.raises(OSError, match=f"does not see {study}: mount"):
        newcomers.await_storage(study, seconds=0.2)
    study.mkdir()
    threading.Timer(0.3, (study / "study.yaml").touch).start()
    newcomers.await_storage(study, seconds=20)


def test_what_a_node_sees_is_told_by_size(tmp_path):
    file = tmp_path / "a"
    file.write_text("abc")
    assert on_node.unseen(str(tmp_path), ["a"], {str(file): 3, str(tmp_path): -1}) == []
    assert on_node.unseen(str(tmp_path), [], {str(file): 4}) == [str(file)]
