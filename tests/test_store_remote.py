"""Stores behind URIs: copied once per node, proven as they come in, resumed where a copy was cut off."""

from __future__ import annotations

import logging
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pyarrow import fs
from remote_cases import Relay, s3_server, store_of_shards, upload
from store_cases import screen, write

from scbig_dist.conditions import Condition
from scbig_dist.errors import UserError
from scbig_dist.store import node_copy, remote
from scbig_dist.store.append import append_store
from scbig_dist.store.integrity import check_store
from scbig_dist.store.node_copy import NodeCopy
from scbig_dist.store.reader import open_store
from scbig_dist.store.remote import RemoteFiles


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store_of_shards(tmp_path_factory.mktemp("remote"))


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with s3_server() as port:
        yield port


@pytest.fixture
def copy(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "far"))


@pytest.fixture
def cache(tmp_path: Path) -> str:
    return str(tmp_path / "cache")


def shards_in(cache: str) -> list[str]:
    return sorted(path.name for path in Path(cache).glob("stores/*/cells-*"))


def same(one, other) -> None:
    cells = np.arange(one.n_cells)
    np.testing.assert_array_equal(one.dense(cells, normalized=False), other.dense(cells, normalized=False))
    assert one.obs.equals(other.obs) and one.key == other.key


@pytest.mark.parametrize("kind", ["s3", "file"])
@pytest.mark.parametrize("placement", ["copy", "shard"])
def test_store_behind_a_uri_is_the_store(sound: Path, port: int, cache: str, kind: str, placement: str) -> None:
    uri = upload(sound, port, f"sound-{placement}") if kind == "s3" else f"file://{sound}"
    store = open_store(uri, cache=cache, placement=placement)  # type: ignore[arg-type]
    assert store.name == uri and str(store.path).startswith(cache)
    same(store, open_store(sound))
    assert len(shards_in(cache)) == 3 and not list(Path(cache).rglob("*.part"))
    assert check_store(uri) == [] == check_store(store.path)
    same(pickle.loads(pickle.dumps(store)), store)


def test_store_of_one_key_is_copied_once(sound: Path, cache: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    blocks = RemoteFiles.blocks

    def count(self: RemoteFiles, file: str):
        read.append(file)
        return blocks(self, file)

    monkeypatch.setattr(RemoteFiles, "blocks", count)
    uri = f"file://{sound}"
    errors: list[BaseException] = []

    def open_it() -> None:
        try:
            open_store(uri, cache=cache)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors and sorted(read) == shards_in(cache)
    monkeypatch.setattr(node_copy, "check_checksums", lambda *arguments: pytest.fail("a proven copy was read again"))
    open_store(uri, cache=cache)


def test_placement_shard_brings_only_the_shards_that_are_read(sound: Path, cache: str) -> None:
    store = open_store(f"file://{sound}", verify=True, cache=cache, placement="shard")
    assert shards_in(cache) == []
    cells = store.cells(Condition("A549", "GENE3"))
    own = open_store(sound)
    np.testing.assert_array_equal(store.dense(cells), own.dense(cells))
    assert shards_in(cache) == ["cells-00000.arrow"]
    np.testing.assert_array_equal(store.sparse([230, 5]).counts, own.sparse([230, 5]).counts)
    assert shards_in(cache) == ["cells-00000.arrow", "cells-00002.arrow"]
    store.read_ahead(np.array([10, 110]), np.array([20, 120]))
    assert len(shards_in(cache)) == 3


@pytest.mark.parametrize("place", [300, -300])
def test_store_rejects_a_remote_shard_with_a_wrong_checksum(copy: Path, cache: str, place: int) -> None:
    shard = copy / "cells-00001.arrow"
    content = bytearray(shard.read_bytes())
    content[place] ^= 4
    shard.write_bytes(content)
    with pytest.raises(UserError, match=r"cells-00001.arrow has a wrong checksum; it is damaged there or on the way"):
        open_store(f"file://{copy}", cache=cache)
    assert "cells-00001.arrow" not in shards_in(cache) and not list(Path(cache).rglob("*.part"))
    assert check_store(f"file://{copy}") == ["cells-00001.arrow: checksum differs"]
    lazy = open_store(f"file://{copy}", cache=cache, placement="shard")
    lazy.dense([0])
    with pytest.raises(UserError, match="wrong checksum"):
        lazy.dense([150])


def test_store_rejects_a_remote_shard_cut_short(copy: Path, cache: str) -> None:
    shard = copy / "cells-00001.arrow"
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"wrong checksum \(\d+ bytes in place of \d+\)"):
        open_store(f"file://{copy}", cache=cache)


def test_a_copy_that_went_bad_is_fetched_again(sound: Path, cache: str) -> None:
    uri = f"file://{sound}"
    folder = open_store(uri, cache=cache).path
    content = bytearray((folder / "cells-00000.arrow").read_bytes())
    content[500] ^= 1
    (folder / "cells-00000.arrow").write_bytes(content)
    (folder / "cells-00002.arrow").write_bytes(b"short")
    same(open_store(uri, cache=cache), open_store(sound))


CHILD = """
import sys, time
from scbig_dist.store import files, remote
remote.BLOCK = 4096
read = remote.RemoteFiles.blocks
def slow(self, file):
    for number, block in enumerate(read(self, file)):
        if file == "cells-00001.arrow" and number == 2:
            print("in the middle", flush=True)
            time.sleep(60)
        yield block
remote.RemoteFiles.blocks = slow
from scbig_dist.store.reader import open_store
open_store(sys.argv[1], cache=sys.argv[2])
"""


def test_a_copy_that_was_killed_goes_on(sound: Path, port: int, cache: str, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = upload(sound, port, "killed")
    child = subprocess.Popen([sys.executable, "-c", CHILD, uri, cache], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline() == "in the middle\n"
    until = time.time() + 20
    while shards_in(cache) != ["cells-00000.arrow", "cells-00002.arrow"] and time.time() < until:
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert shards_in(cache) == ["cells-00000.arrow", "cells-00002.arrow"]
    assert [path.name for path in Path(cache).rglob("*.part")] == [".cells-00001.arrow.part"]
    read: list[str] = []
    blocks = RemoteFiles.blocks
    monkeypatch.setattr(RemoteFiles, "blocks", lambda self, file: (read.append(file), blocks(self, file))[1])
    same(open_store(uri, cache=cache), open_store(sound))
    assert read == ["cells-00001.arrow"] and not list(Path(cache).rglob("*.part"))


def test_a_server_that_goes_away_is_said_and_made_good(
    sound: Path, cache: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "BLOCK", 4096)
    monkeypatch.setattr(node_copy, "STREAMS", 1)
    with s3_server() as port:
        uri = upload(sound, port, "leaving")
        blocks = RemoteFiles.blocks
        relay = Relay(port)
        near = uri.replace(f":{port}", f":{relay.port}")

        def cut(self: RemoteFiles, file: str):
            for number, block in enumerate(blocks(self, file)):
                if file == "cells-00001.arrow" and number == 2:
                    relay.close()
                yield block

        with monkeypatch.context() as patch:
            patch.setattr(RemoteFiles, "blocks", cut)
            with pytest.raises(UserError, match=r"does not answer, or stopped .* try again: what was copied stays"):
                open_store(near, cache=cache)
        assert shards_in(cache) == ["cells-00000.arrow"] and not list(Path(cache).rglob("*.part"))
        same(open_store(uri, cache=cache), open_store(sound))


def test_store_rejects_uris_that_hold_no_store(sound: Path, port: int, tmp_path: Path) -> None:
    uri = upload(sound, port, "there")
    for place, match in (
        ("foo://bucket/store", "unknown scheme 'foo'; choices: s3, gs, abfs, hdfs, file, or a path"),
        (f"file://{tmp_path}/none", "no such directory; write one with"),
        (f"file://{tmp_path}", "no such directory|not a cell store"),
        (uri.replace("/there", "/elsewhere"), "no such directory"),
        (uri.replace("s3://cells", "s3://no-bucket"), "no such directory"),
        (f"{uri}&colour=red", "not a URI that can be opened .*colour"),
    ):
        for call in (open_store, check_store):
            with pytest.raises(UserError, match=match) as caught:
                call(place)
            assert "\n" not in str(caught.value)


def test_store_rejects_an_endpoint_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setattr(remote, "SILENCE_S", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.time()
        with pytest.raises(UserError, match="does not answer"):
            open_store(f"s3://b/k?endpoint_override=127.0.0.1:{silent.getsockname()[1]}&scheme=http")
    assert time.time() - began < 15


def test_store_rejects_credentials_that_the_server_refuses(tmp_path: Path) -> None:
    text = "When reading 'k': AWS Error ACCESS_DENIED during HeadObject operation: No response body."
    assert "access is refused" in remote._reason(text, OSError(text))
    assert "AWS_ACCESS_KEY_ID" in remote._reason(text, OSError(text))


def test_store_rejects_a_cache_without_room(sound: Path, cache: str, monkeypatch: pytest.MonkeyPatch) -> None:
    free = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(node_copy.shutil, "disk_usage", lambda path: free)
    need = sum(file.stat().st_size for file in sound.glob("*.arrow"))
    with pytest.raises(UserError, match=rf"needs {need:,} bytes and 1,000 are free in .*/stores/.*data.cache"):
        open_store(f"file://{sound}", cache=cache)


def test_store_rejects_a_disk_that_fills_up_while_copying(sound: Path, cache: str) -> None:
    script = (
        "import resource, sys\nfrom scbig_dist.store.reader import open_store\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "from scbig_dist.errors import UserError\n"
        "try: open_store(sys.argv[1], cache=sys.argv[2])\nexcept UserError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, f"file://{sound}", cache], capture_output=True, text=True)
    assert "the disk is full (File too large); free room, or name another with data.cache" in done.stdout, done.stderr
    assert "cells-00000.arrow" not in shards_in(cache) and not list(Path(cache).rglob("*.part"))


def test_store_rejects_a_cache_that_is_a_file(sound: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write there .* data.cache"):
        open_store(f"file://{sound}", cache=str(tmp_path / "file"))


def test_store_rejects_a_manifest_that_reaches_out_of_its_folder(copy: Path, cache: str) -> None:
    from scbig_dist.store.integrity import read_manifest, write_manifest

    manifest, _ = read_manifest(copy)
    first = manifest.shards[0].model_copy(update={"file": "../../cells-00000.arrow"})
    write_manifest(copy, manifest.model_copy(update={"shards": [first, *manifest.shards[1:]]}))
    with pytest.raises(UserError, match=r"names a shard '../../cells-00000.arrow'"):
        open_store(f"file://{copy}", cache=cache)


def test_two_addresses_of_one_store_share_a_copy(sound: Path, copy: Path, cache: str) -> None:
    one, two = (NodeCopy(RemoteFiles(f"file://{place}"), Path(cache)) for place in (sound, copy))
    assert one.folder == two.folder and os.path.basename(one.folder) == one.key
    assert isinstance(fs.FileSystem.from_uri(f"file://{sound}")[0], fs.LocalFileSystem)


@pytest.mark.parametrize("damaged", [False, True])
def test_a_store_that_was_appended_to_brings_only_what_is_new(
    copy: Path, cache: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damaged: bool
) -> None:
    before = open_store(f"file://{copy}", cache=cache)
    if damaged:  # a copy that went bad is no source
        place = before.path / before.manifest.shards[0].file
        place.write_bytes(place.read_bytes()[:-1] + b"?")
    append_store(copy, write(screen(60, seed=5), tmp_path, "more.h5ad"), progress=False)
    read, blocks = [], RemoteFiles.blocks
    monkeypatch.setattr(RemoteFiles, "blocks", lambda self, file: (read.append(file), blocks(self, file))[1])
    after = open_store(f"file://{copy}", cache=cache)
    new = [shard.file for shard in after.manifest.shards[len(before.manifest.shards) :]]
    assert sorted(read) == sorted([*new, *([before.manifest.shards[0].file] if damaged else [])])
    assert check_store(after.path) == [] and after.n_cells > before.n_cells
