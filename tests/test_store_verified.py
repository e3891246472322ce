"""A store is read whole once per machine; a file that changed is read again."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
from remote_cases import store_of_shards

from scbig_dist.errors import UserError
from scbig_dist.store import verified
from scbig_dist.store.reader import open_store


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store_of_shards(tmp_path_factory.mktemp("verified"))


@pytest.fixture
def store(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(verified, "SETTLED_NS", 0)  # the tests do not wait for files to age
    copy = Path(shutil.copytree(sound, tmp_path / "s"))
    time.sleep(0.02)
    return copy


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Shards that are read from now on."""
    seen: list[str] = []
    check = verified.check_checksums

    def counted(files, shards, advance=None):
        seen.extend(shard.file for shard in shards)
        return check(files, shards, advance)

    monkeypatch.setattr(verified, "check_checksums", counted)
    return seen


def open_it(store: Path, cache: Path, reads: list[str]) -> list[str]:
    reads.clear()
    open_store(store, verify=True, cache=str(cache))
    return sorted(reads)


def test_a_store_is_read_once_and_a_touched_shard_again(store: Path, tmp_path: Path, reads: list[str]) -> None:
    cache = tmp_path / "cache"
    every = ["cells-00000.arrow", "cells-00001.arrow", "cells-00002.arrow"]
    assert open_it(store, cache, reads) == every
    assert open_it(store, cache, reads) == []
    os.utime(store / every[1])
    assert open_it(store, cache, reads) == [every[1]]
    assert open_it(store, cache, reads) == []
    moved = Path(shutil.copytree(store, tmp_path / "moved"))
    assert open_it(moved, cache, reads) == every


def test_a_change_that_hides_its_time_is_found(store: Path, tmp_path: Path, reads: list[str]) -> None:
    cache, shard = tmp_path / "cache", store / "cells-00001.arrow"
    open_it(store, cache, reads)
    before = shard.stat()
    with open(shard, "r+b") as file:
        file.seek(700)
        byte = file.read(1)
        file.seek(700)
        file.write(bytes([byte[0] ^ 1]))
    os.utime(shard, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = shard.stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (before.st_size, before.st_mtime_ns, before.st_ino)
    for _ in range(2):  # a damaged shard is never recorded
        with pytest.raises(UserError, match=r"cells-00001.arrow: checksum differs"):
            open_store(store, verify=True, cache=str(cache))


def test_a_shard_that_is_young_is_not_recorded(sound: Path, tmp_path: Path, reads: list[str]) -> None:
    store, cache = Path(shutil.copytree(sound, tmp_path / "s")), tmp_path / "cache"
    assert len(open_it(store, cache, reads)) == 3
    assert len(open_it(store, cache, reads)) == 3  # it could still change within a tick of its clock


@pytest.mark.parametrize("damage", ["not json", "[]", '{"key": "other", "shards": {}}', '{"shards": 3}'])
def test_a_damaged_record_means_reading_again(store: Path, tmp_path: Path, reads: list[str], damage: str) -> None:
    cache = tmp_path / "cache"
    open_it(store, cache, reads)
    (record,) = (cache / "verified").iterdir()
    record.write_text(damage)
    assert len(open_it(store, cache, reads)) == 3
    assert open_it(store, cache, reads) == []


def test_a_cache_that_cannot_be_written_means_reading_each_time(store: Path, tmp_path: Path, reads: list[str]) -> None:
    (tmp_path / "file").write_text("")
    for _ in range(2):
        assert len(open_it(store, tmp_path / "file", reads)) == 3


def test_the_cache_is_in_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert verified.cache_folder(None) == Path.home() / ".cache" / "scbig"
    assert verified.cache_folder("~/mine") == Path.home() / "mine"
