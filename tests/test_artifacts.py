"""Artefacts: whole or absent, made once, by one of several processes, and by another where that one dies."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from remote_cases import BUCKET, s3_server

from scbig_dist import artifacts
from scbig_dist.artifacts import Shelf, content_key
from scbig_dist.artifacts.contents import MANIFEST
from scbig_dist.artifacts.owners import Heart, Watcher
from scbig_dist.artifacts.place import open_place
from scbig_dist.errors import UserError

INPUTS = {"a": 1}
NAME = f"pca-{content_key('pca', INPUTS)}"

# A process that makes an artefact in so many seconds, and says when it begins to.
MAKER = """
import sys, time
from scbig_dist.artifacts import Shelf
root, cache, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
def write(beside):
    (beside / "half").write_text("half")
    print("making", flush=True)
    time.sleep(seconds)
    (beside / "x").write_text("whole")
with Shelf(root, cache, run=f"/runs/{sys.argv[4]}", beat_s=0.2, silence_s=float(sys.argv[5])) as shelf:
    made = shelf.take("pca", {"a": 1}, write)
    print("reused" if made.reused else "made", (made.path / "x").read_text(), flush=True)
"""


@pytest.fixture(scope="module", params=["path", "s3"])
def root(request, tmp_path_factory):
    """A function from a name to a root of its own."""
    if request.param == "path":
        folder = tmp_path_factory.mktemp("roots")
        yield lambda name: str(folder / name)
        return
    with s3_server() as port:
        at = f"endpoint_override=127.0.0.1:{port}&scheme=http"
        open_place(f"s3://{BUCKET}?{at}&allow_bucket_creation=true")._system.create_dir(BUCKET)
        yield lambda name: f"s3://{BUCKET}/{name}?{at}"


def start(root: str, cache: Path, seconds: float, name: str, silence: float = 60.0) -> subprocess.Popen:
    command = [sys.executable, "-c", MAKER, root, str(cache), str(seconds), name, str(silence)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ)


def write_x(text: str):
    return lambda beside: (beside / "x").write_text(text)


def test_key_changes_with_every_input():
    inputs = {"a": 1, "b": [1, 2]}
    assert content_key("pca", inputs) == content_key("pca", {"b": [1, 2], "a": 1})
    keys = {content_key(kind, more) for kind in ("pca", "modules") for more in (inputs, {**inputs, "a": 2})}
    assert len(keys) == 4


def test_failed_maker_leaves_nothing_and_hands_on(root, tmp_path):
    def write(beside):
        (beside / "half").write_text("half")
        raise RuntimeError("the power is gone")

    with Shelf(root("failed"), str(tmp_path)) as shelf:
        with pytest.raises(RuntimeError):
            shelf.take("pca", INPUTS, write)
        assert shelf.find("pca", content_key("pca", INPUTS)) is None
        assert not [name for name in shelf.place.names() if not name.startswith((".claims", ".owners"))]
        assert shelf.take("pca", INPUTS, write_x("x")).reused is False


def test_first_of_two_makers_wins(tmp_path):
    with Shelf(tmp_path) as shelf:
        for text in ("first", "second"):
            made = shelf.put("pca", "k", {}, write_x(text))
    assert (made.path / "x").read_text() == "first"
    assert [entry.name for entry in tmp_path.iterdir()] == ["pca-k"]


def test_two_processes_make_one_computation(root, tmp_path):
    first, second = (start(root("two"), tmp_path / name, 1.0, name) for name in ("one", "other"))
    said = sorted(process.communicate(timeout=60)[0] for process in (first, second))
    assert said == ["making\nmade whole\n", "reused whole\n"]
    place = open_place(root("two"))
    assert len(place.names(f".uses/{NAME}")) == 2 and not place.names(".owners")


def test_killed_owner_is_followed_at_once_on_its_node(root, tmp_path):
    owner = start(root("killed"), tmp_path / "one", 1000, "owner")
    assert owner.stdout.readline() == "making\n"
    heir = start(root("killed"), tmp_path / "other", 0, "heir")
    time.sleep(1.0)
    owner.send_signal(signal.SIGKILL)  # not reaped until below: to the kernel it is there still
    assert heir.communicate(timeout=60)[0] == "making\nmade whole\n"
    owner.communicate()
    left = [name for name in open_place(root("killed")).names() if name.startswith(".making")]
    assert not left, "what the dead maker left"


def test_owner_that_falls_silent_is_followed(root, tmp_path):
    owner = start(root("silent"), tmp_path / "one", 1000, "owner")
    assert owner.stdout.readline() == "making\n"
    owner.send_signal(signal.SIGSTOP)  # as a node that hangs or is cut off
    try:
        heir = start(root("silent"), tmp_path / "other", 0, "heir", silence=1.5)
        assert heir.communicate(timeout=60)[0] == "making\nmade whole\n"
    finally:
        owner.kill()
        owner.communicate()


def test_slow_owner_that_gives_signs_is_waited_for(root, tmp_path):
    owner = start(root("slow"), tmp_path / "one", 4.0, "owner")
    assert owner.stdout.readline() == "making\n"
    with Shelf(root("slow"), str(tmp_path / "other"), silence_s=2.0) as shelf:
        assert shelf.take("pca", INPUTS, write_x("never")).reused
    assert owner.communicate(timeout=60)[0] == "made whole\n"


def test_of_many_claimants_one_holds_at_a_time(root, tmp_path):
    """Each gives the claim up without an artefact, so that all of them get it, one after the other."""
    inside, most, done = [], [], []

    def claimant(number):
        with Shelf(root("many"), str(tmp_path)) as shelf, pytest.raises(ZeroDivisionError), shelf.claim("pca", "k"):
            inside.append(number)
            most.append(len(inside))
            time.sleep(0.05)
            inside.remove(number)
            done.append(number)
            _ = 1 / 0

    threads = [threading.Thread(target=claimant, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(done) == list(range(6)) and set(most) == {1}


@pytest.mark.parametrize("how", ["flipped", "cut", "gone", "manifest"])
def test_damaged_artefact_is_said_and_made_anew(root, tmp_path, caplog, how):
    place, name = open_place(root(f"damaged-{how}")), "x"
    with Shelf(place.name, str(tmp_path / "maker")) as shelf:
        shelf.take("pca", INPUTS, write_x("as written"))
    if hasattr(place, "upload"):
        name = f"{json.loads(place.read(f'{NAME}/{MANIFEST}'))['folder']}/x"
    if how == "gone":
        place.remove(f"{NAME}/{name}")
    elif how == "manifest":
        place.write(f"{NAME}/{MANIFEST}", b'{"kind": "pca"')
    else:
        place.write(f"{NAME}/{name}", b"as written"[:4] if how == "cut" else b"as wrItten")
    with caplog.at_level(logging.WARNING), Shelf(place.name, str(tmp_path / "reader")) as shelf:
        made = shelf.take("pca", INPUTS, write_x("anew"))
    assert (made.path / "x").read_text() == "anew" and not made.reused
    [said] = [record.getMessage() for record in caplog.records if record.name == "scbig.artifacts"]
    assert NAME in said and "made anew" in said
    with Shelf(place.name, str(tmp_path / "third")) as shelf:
        assert shelf.take("pca", INPUTS, write_x("never")).reused


def test_half_an_upload_is_no_artefact(root, tmp_path):
    place = open_place(root("half"))
    folder = "" if not hasattr(place, "upload") else "0123456789abcdef-01234567/"
    place.write(f"{NAME}/{folder}x", b"the maker died before it wrote the man")
    with Shelf(place.name, str(tmp_path)) as shelf:
        assert shelf.find("pca", content_key("pca", INPUTS)) is None
        assert (shelf.take("pca", INPUTS, write_x("whole")).path / "x").read_text() == "whole"
    assert f"{NAME}/{folder}x" == f"{NAME}/x" or not place.names(f"{NAME}/{folder}")


def test_copy_of_a_node_is_checked_and_fetched_again(tmp_path):
    with s3_server() as port:
        at = f"endpoint_override=127.0.0.1:{port}&scheme=http&allow_bucket_creation=true"
        open_place(f"s3://{BUCKET}?{at}")._system.create_dir(BUCKET)
        with Shelf(f"s3://{BUCKET}/a?{at}", str(tmp_path)) as shelf:
            path = shelf.take("pca", INPUTS, write_x("as written")).path
            (path / "x").write_text("as wrItten")
        with Shelf(f"s3://{BUCKET}/a?{at}", str(tmp_path)) as shelf:
            again = shelf.take("pca", INPUTS, write_x("never"))
        assert again.reused and (again.path / "x").read_text() == "as written"


def test_process_number_that_was_given_again_is_not_the_owner(tmp_path):
    place = open_place(tmp_path)
    heart = Heart(place, "run")
    heart.begin()
    file = tmp_path / ".owners" / f"{heart.id}.json"
    record = json.loads(file.read_text())
    assert not Watcher(place).gone(heart.id)
    file.write_text(json.dumps(record | {"started": record["started"] - 1}))
    assert Watcher(place).gone(heart.id)
    heart.stop()
    assert Watcher(place).gone(heart.id)


@pytest.mark.parametrize(
    ("root", "message"),
    [
        ("nowhere://x/y", "unknown scheme 'nowhere'"),
        ("s3://scbig-none/a?endpoint_override=127.0.0.1:9&scheme=http", "does not answer"),
    ],
)
def test_place_that_cannot_be_reached_is_one_line(tmp_path, monkeypatch, root, message):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    with pytest.raises(UserError, match=message), Shelf(root, str(tmp_path)) as shelf:
        shelf.take("pca", INPUTS, write_x("x"))


def test_text_is_replaced_or_untouched(tmp_path):
    artifacts.write_text(tmp_path / "x", "old")
    with pytest.raises(UnicodeEncodeError):
        artifacts.write_text(tmp_path / "x", "\ud800")
    assert (tmp_path / "x").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1
