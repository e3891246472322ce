"""Artefacts: whole or absent, made once."""

from __future__ import annotations

import threading
import time

import pytest

from scbig_dist import artifacts


def test_key_changes_with_every_input():
    inputs = {"a": 1, "b": [1, 2]}
    assert artifacts.content_key("pca", inputs) == artifacts.content_key("pca", {"b": [1, 2], "a": 1})
    keys = {artifacts.content_key(kind, more) for kind in ("pca", "modules") for more in (inputs, {**inputs, "a": 2})}
    assert len(keys) == 4


def test_failed_maker_leaves_nothing(tmp_path):
    def write(beside):
        (beside / "half").write_text("half")
        raise RuntimeError("the power is gone")

    with pytest.raises(RuntimeError):
        artifacts.make(tmp_path, "pca", "k", {}, write)
    assert artifacts.find(tmp_path, "pca", "k") is None
    assert list(tmp_path.iterdir()) == []


def test_first_of_two_makers_wins(tmp_path):
    for text in ("first", "second"):
        path = artifacts.make(tmp_path, "pca", "k", {}, lambda beside, text=text: (beside / "x").write_text(text))
    assert (path / "x").read_text() == "first"
    assert [entry.name for entry in tmp_path.iterdir()] == ["pca-k"]


def test_second_claimant_waits_and_finds_the_artefact(tmp_path):
    found = []

    def second():
        with artifacts.claim(tmp_path, "pca", "k"):
            found.append(artifacts.find(tmp_path, "pca", "k"))

    with artifacts.claim(tmp_path, "pca", "k"):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.2)
        assert not found
        artifacts.make(tmp_path, "pca", "k", {}, lambda beside: None)
    thread.join()
    assert found == [tmp_path / "pca-k"]


def test_text_is_replaced_or_untouched(tmp_path):
    artifacts.write_text(tmp_path / "x", "old")
    with pytest.raises(UnicodeEncodeError):
        artifacts.write_text(tmp_path / "x", "\ud800")
    assert (tmp_path / "x").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1
