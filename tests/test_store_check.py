"""A store that was changed after it was written is found out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_cases import config, screen, write

from scbig_dist.errors import UserError
from scbig_dist.store import shards, verified
from scbig_dist.store.build import build_store
from scbig_dist.store.integrity import check_store, strays, write_manifest
from scbig_dist.store.reader import open_store
from scbig_dist.store.schema import Manifest


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("check")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "SHARD_CELLS", 100)
        build_store(write(screen(), folder), folder / "s", config(), progress=False)
    return folder / "s"


@pytest.fixture
def store(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "s"))


def test_store_check_finds_nothing_in_a_sound_store(store: Path) -> None:
    assert check_store(store) == []
    assert open_store(store, verify=True).n_cells == 240


@pytest.mark.parametrize("place", [200, 0.5, -200])
def test_store_check_finds_one_changed_bit(store: Path, place: float) -> None:
    shard = store / "cells-00001.arrow"
    content = bytearray(shard.read_bytes())
    content[int(place * len(content)) if isinstance(place, float) else place] ^= 1
    shard.write_bytes(content)
    problems = check_store(store)
    assert problems[0] == "cells-00001.arrow: checksum differs"
    with pytest.raises(UserError, match=r"cells-00001.arrow: checksum differs; build the store again"):
        open_store(store, verify=True)


def test_store_rejects_a_shard_cut_short_or_missing(store: Path) -> None:
    shard = store / "cells-00002.arrow"
    shard.write_bytes(shard.read_bytes()[:-9])
    with pytest.raises(UserError, match=r"cells-00002.arrow: \d+ bytes in place of \d+"):
        open_store(store)
    shard.unlink()
    with pytest.raises(UserError, match=r"cells-00002.arrow: missing"):
        open_store(store)
    assert check_store(store) == ["cells-00002.arrow: missing"]


def rewrite(store: Path, change: Callable[[dict], object]) -> None:
    tree = json.loads((store / "manifest.json").read_text())
    change(tree)
    (store / "manifest.json").write_text(json.dumps(tree))


def test_store_rejects_another_schema_version(store: Path) -> None:
    rewrite(store, lambda tree: tree.update(schema_version=99))
    with pytest.raises(UserError, match="schema version 99, this program reads 2; build the store again"):
        open_store(store)
    assert "schema version 99" in check_store(store)[0]


def test_store_rejects_an_edited_manifest(store: Path) -> None:
    rewrite(store, lambda tree: tree["genes"].reverse())
    with pytest.raises(UserError, match=r"manifest.json does not match manifest.json.sha256 \(edited or damaged\)"):
        open_store(store)
    assert len(check_store(store)) == 1


def test_store_rejects_what_is_no_store(tmp_path: Path) -> None:
    for call in (open_store, check_store):
        with pytest.raises(UserError, match="no such directory; write one with `scbig store build"):
            call(tmp_path / "none")
        with pytest.raises(UserError, match=r"not a cell store \(no manifest.json\)"):
            call(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(UserError, match=r"manifest\.json is damaged or not of a cell store"):
        open_store(tmp_path)


def test_store_check_finds_wrong_content_under_a_right_checksum(store: Path) -> None:
    """A writer's fault, not a disk's: the rules of the schema are checked too."""
    manifest = Manifest.model_validate_json((store / "manifest.json").read_text())
    path = store / manifest.shards[0].file
    batch = shards.read_batch(path)
    genes = np.asarray(batch["genes"].values).copy()
    genes[[0, 1]] = genes[[1, 0]]
    columns = {name: batch[name] for name in batch.schema.names}
    columns["genes"] = pa.LargeListArray.from_arrays(batch["genes"].offsets, genes)
    columns["condition"] = pa.array(np.asarray(batch["condition"])[::-1])
    changed = pa.record_batch(columns)
    path.unlink()
    with pa.ipc.new_file(str(path), changed.schema) as writer:
        writer.write_batch(changed)
    first = manifest.shards[0].model_copy(update={"sha256": shards.file_sha256(path), "bytes": path.stat().st_size})
    write_manifest(store, manifest.model_copy(update={"shards": [first, *manifest.shards[1:]]}))
    assert check_store(store) == ["cells-00000.arrow: genes out of order within a cell"]


def test_store_checksum_file_is_what_sha256sum_reads(store: Path) -> None:
    digest, name = (store / "manifest.json.sha256").read_text().split()
    assert name == "manifest.json" and digest == open_store(store).key


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards of some kilobytes."""
    folder = tmp_path_factory.mktemp("tiny")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "SHARD_CELLS", 20)
        build_store(write(screen(30, 12), folder), folder / "s", config(panel__hvg_flavor="seurat"), progress=False)
    return folder / "s"


def is_caught(store: Path) -> bool:
    """By `store check`, and by the first use on a machine that has not read the store."""
    with pytest.raises(UserError), pytest.MonkeyPatch.context() as patch:
        patch.setattr(verified.Record, "unproven", lambda self, shards: list(shards))
        open_store(store, verify=True)
    return check_store(store) != []


def test_store_check_finds_a_change_of_any_byte_of_manifest_and_checksum(tiny: Path) -> None:
    """Every byte of the checksum file, every third of the manifest."""
    for name, step in (("manifest.json.sha256", 1), ("manifest.json", 3)):
        path = tiny / name
        content = path.read_bytes()
        try:
            for place in range(0, len(content), step):
                for flip in (1, 128):
                    path.write_bytes(content[:place] + bytes([content[place] ^ flip]) + content[place + 1 :])
                    assert check_store(tiny), f"{name}, byte {place} ^ {flip}"
        finally:
            path.write_bytes(content)
    assert check_store(tiny) == []


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_store_check_finds_a_change_of_any_byte_of_a_shard(tiny: Path, data: st.DataObject) -> None:
    path = tiny / data.draw(st.sampled_from(["cells-00000.arrow", "cells-00001.arrow"]))
    content = path.read_bytes()
    change = data.draw(st.sampled_from(["byte", "cut", "append", "insert", "drop"]))
    place = data.draw(st.integers(0, len(content) - 1))
    if change == "byte":
        changed = content[:place] + bytes([content[place] ^ data.draw(st.integers(1, 255))]) + content[place + 1 :]
    elif change == "cut":
        changed = content[:place]
    elif change == "append":
        changed = content + data.draw(st.binary(min_size=1, max_size=4))
    elif change == "insert":
        changed = content[:place] + b"\0" + content[place:]
    else:
        changed = content[:place] + content[place + 1 :]
    try:
        path.write_bytes(changed)
        assert is_caught(tiny)
    finally:
        path.write_bytes(content)


def test_store_check_finds_two_shards_swapped(store: Path) -> None:
    one, two, aside = (store / name for name in ("cells-00000.arrow", "cells-00001.arrow", "aside"))
    one.rename(aside)
    two.rename(one)
    aside.rename(two)
    assert is_caught(store)
    assert {problem.split(":")[0] for problem in check_store(store)} == {one.name, two.name}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda tree: tree["segments"][0]["runs"].reverse(), "cells are not in the order"),
        (lambda tree: tree["segments"][0]["runs"].pop(), "do not add up to the manifest's conditions"),
        (lambda tree: tree["segments"][0].update(n_shards=2), "does not add up to its shards"),
    ],
)
def test_store_check_knows_the_order_of_segments(store: Path, change: Callable[[dict], object], problem: str) -> None:
    tree = json.loads((store / "manifest.json").read_text())
    change(tree)
    write_manifest(store, Manifest.model_validate(tree))
    assert problem in check_store(store)[0]


def test_store_check_names_every_bad_shard(store: Path) -> None:
    (store / "cells-00000.arrow").unlink()
    content = (store / "cells-00001.arrow").read_bytes()
    (store / "cells-00001.arrow").write_bytes(content[:-1] + b"x")
    (store / "cells-00002.arrow").write_bytes(b"")
    assert [problem.split(":")[0] for problem in check_store(store)] == [f"cells-0000{n}.arrow" for n in (0, 2, 1)]


def test_store_check_tells_of_a_stray_shard_and_ignores_other_files(store: Path) -> None:
    (store / "notes.txt").write_text("mine")
    assert check_store(store) == [] == strays(store)
    shutil.copy(store / "cells-00000.arrow", store / "cells-00009.arrow")
    assert check_store(store) == [] and strays(store) == ["cells-00009.arrow"]
