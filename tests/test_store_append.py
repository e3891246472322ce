"""An append adds cells beside the old ones; at every moment the store is the old or the new one."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from store_cases import LABELS, config, screen, write
from test_store_sources import rows_by_name, split_screen

from scbig_dist.conditions import Condition
from scbig_dist.errors import UserError
from scbig_dist.store import append, shards
from scbig_dist.store.append import append_store
from scbig_dist.store.build import build_store
from scbig_dist.store.files import Folder
from scbig_dist.store.integrity import check_store
from scbig_dist.store.reader import open_store

SETTINGS = config(data__context="line", data__batch="plate")


def files(store: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(store.iterdir())}


def test_store_built_and_appended_equals_one_built_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SHARD_CELLS", 50)
    folder = split_screen(tmp_path / "in", screen(), 3)
    first, *rest = sorted(folder.iterdir())
    build_store(folder, tmp_path / "all", SETTINGS, progress=False)
    built = build_store(first, tmp_path / "s", SETTINGS, progress=False)
    before = files(tmp_path / "s")
    manifest = append_store(tmp_path / "s", rest[0], progress=False)
    manifest = append_store(tmp_path / "s", rest[1:], progress=False)
    after = files(tmp_path / "s")
    assert all(after[name] == before[name] for name in before if name.endswith(".arrow"))
    assert check_store(tmp_path / "s") == [] and built.genes == manifest.genes
    whole, store = open_store(tmp_path / "all"), open_store(tmp_path / "s", verify=True)
    assert [len(segment.runs) for segment in manifest.segments] == [12, 12, 12]
    assert (store.n_cells, manifest.n_entries, manifest.median_total) == (
        whole.n_cells,
        whole.manifest.n_entries,
        whole.manifest.median_total,
    )
    pd.testing.assert_frame_equal(store.obs.loc[whole.obs.index], whole.obs)
    names = whole.obs.index
    pd.testing.assert_frame_equal(rows_by_name(store).loc[names, whole.genes], rows_by_name(whole))
    for condition in whole.conditions:
        own, other = store.cells(condition), whole.cells(condition)
        drawn = store.draw(condition, 30, np.random.default_rng(3))
        assert np.array_equal(drawn, np.random.default_rng(3).choice(own, 30))
        assert set(store.obs.index[own]) == set(names[other]) and (np.diff(own) > 1).sum() == 2
        labels = store.obs.iloc[own][["context", "condition"]].drop_duplicates()
        assert labels.to_numpy().tolist() == [[condition.context, condition.perturbation]]


def test_store_append_brings_new_conditions_and_says_what_they_lack(tmp_path: Path) -> None:
    build_store(write(screen(labels=LABELS[:4]), tmp_path), tmp_path / "s", config(panel__n_hvg=50), progress=False)
    old = open_store(tmp_path / "s")
    outside = next(f"GENE{i}" for i in range(160) if f"GENE{i}" not in old.genes)
    more = screen(60, seed=3, labels=["GENE7", "GENE3+NEW", outside])  # without control: the store has it
    manifest = append_store(tmp_path / "s", write(more, tmp_path, "more.h5ad"), progress=False)
    store = open_store(tmp_path / "s", verify=True)
    assert store.conditions[:4] == old.conditions and len(store.conditions) == 6
    assert manifest.targets.absent == {"NEW": 1} and manifest.targets.outside_panel == {outside: 1}
    assert len(store.cells(Condition("all", outside))) == 20 and len(store.cells(Condition("all", "GENE7"))) == 80
    assert any(
        note.startswith("60 cells appended from ") and "2 conditions of them new; panel, HVG ranking" in note
        for note in manifest.notes
    )
    assert "60 duplicate cell names made unique with a suffix (first: cell0 → cell0-more)" in manifest.notes
    assert store.obs.index.is_unique


def test_store_append_counts_the_cells_that_a_condition_has(tmp_path: Path) -> None:
    settings = config(data__context="line", qc__min_cells_per_condition=15)
    build_store(write(screen(), tmp_path), tmp_path / "s", settings, progress=False)
    few = screen(36, seed=1, labels=["GENE3", "GENE3", "GENE5"])
    few.obs["line"] = ["K562", "K562", "HELA"] * 12
    few.obs.loc["cell2", "condition"] = "control"
    manifest = append_store(tmp_path / "s", write(few, tmp_path, "few.h5ad"), progress=False)
    assert manifest.n_cells == 240 + 24 and manifest.segments[1].runs == [(8, 24)]
    assert manifest.dropped.small_conditions == {"HELA/GENE5": 11, "HELA/control": 1}
    assert open_store(tmp_path / "s").conditions[8].name == "K562/GENE3"


def test_store_append_rejects_what_does_not_fit(tmp_path: Path) -> None:
    path = write(screen(), tmp_path)
    store = tmp_path / "s"
    build_store(path, store, config(qc__min_cells_per_condition=10), progress=False)
    before = files(store)

    def refused(source: Path, match: str) -> None:
        with pytest.raises(UserError, match=match) as error:
            append_store(store, source, progress=False)
        assert "\n" not in str(error.value) and files(store) == before

    refused(path, "its cells are in .* already")
    refused(tmp_path / "none.h5ad", "no such file")
    refused(
        write(screen(seed=1)[:, 5:].copy(), tmp_path, "cut.h5ad"), r"5 of the store's 160 genes are not in it \(GENE"
    )
    large = screen(seed=1)
    large.X.data[7] = 70_000
    refused(write(large, tmp_path, "large.h5ad"), "a count of 70000, and .* keeps counts below 65,536")
    refused(write(screen(18, seed=1, labels=["A", "B", "C"]), tmp_path, "few.h5ad"), "no cell passes: every condition")
    (store / "cells-00000.arrow").write_bytes(b"cut")
    before = files(store)
    refused(write(screen(seed=2), tmp_path, "more.h5ad"), r"cells-00000.arrow: 3 bytes in place of")
    with pytest.raises(UserError, match="no such directory"):
        append_store(tmp_path / "none", path, progress=False)


@pytest.mark.parametrize("stage", ["write_shard", "sync_directory", "replace_file"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
def test_store_append_interrupted_leaves_the_old_store(
    tmp_path: Path, stage: str, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_store(write(screen(60, 60), tmp_path), tmp_path / "s", config(), progress=False)
    more = write(screen(60, 60, seed=1), tmp_path, "more.h5ad")
    before = files(tmp_path / "s")

    def fail(*arguments: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(append, stage, fail)
        with pytest.raises(UserError if isinstance(error, OSError) else KeyboardInterrupt):
            append_store(tmp_path / "s", more, progress=False)
    assert files(tmp_path / "s") == before
    append_store(tmp_path / "s", more, progress=False)
    assert check_store(tmp_path / "s") == []


KILLED = """
import os, signal, sys
from pathlib import Path
from scbig_dist.store import append
left = 0
def counted(name):
    real = getattr(os, name)
    def call(*arguments, **named):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **named)
    setattr(os, name, call)
append.append_store(Path(f"{sys.argv[1]}-warm"), Path(sys.argv[2]), progress=False)  # compiles; forks have it then
for name in ("rename", "replace", "fsync"):
    counted(name)
for moment in range(20):
    child = os.fork()
    if child == 0:
        left = moment
        append.append_store(Path(f"{sys.argv[1]}{moment}"), Path(sys.argv[2]), progress=False)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_store_append_killed_at_any_moment_leaves_the_old_or_the_new_store(tmp_path: Path) -> None:
    more = write(screen(60, 60, seed=1), tmp_path, "more.h5ad")
    build_store(write(screen(60, 60), tmp_path), tmp_path / "s0", config(), progress=False)
    for name in ("-warm", *range(1, 20)):
        shutil.copytree(tmp_path / "s0", tmp_path / f"s{name}")
    command = [sys.executable, "-c", KILLED, str(tmp_path / "s"), str(more)]
    codes = [int(line) for line in subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()]
    n_killed = codes.index(0)
    assert codes[:n_killed] == [-signal.SIGKILL] * n_killed and 6 < n_killed < 20
    seen = []
    for moment in range(n_killed + 1):
        store = tmp_path / f"s{moment}"
        assert check_store(store) == []
        seen.append(open_store(store, verify=True).n_cells)
        if seen[-1] == 60:
            append_store(store, more, progress=False)  # leftovers are no hindrance, and go
            assert len(files(store)) == 4 and open_store(store, verify=True).n_cells == 120
    assert seen == sorted(seen) and {60, 120} == set(seen)


def test_store_append_waits_for_nobody(tmp_path: Path) -> None:
    store = tmp_path / "s"
    build_store(write(screen(60, 60), tmp_path), store, config(), progress=False)
    more = write(screen(60, 60, seed=1), tmp_path, "more.h5ad")
    with append.annexe(store), pytest.raises(UserError, match="another build of this store is running, or an append"):
        append_store(store, more, progress=False)
    assert not list(tmp_path.glob(".s*")) and not [name for name in os.listdir(store) if name.startswith(".")]


def test_store_opens_while_an_append_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The manifest was read, then replaced with its checksum: what does not fit is read again."""
    store = tmp_path / "s"
    build_store(write(screen(60, 60), tmp_path), store, config(), progress=False)
    more = write(screen(60, 60, seed=1), tmp_path, "more.h5ad")
    real, n_read = Folder.read, 0

    def read(self: Folder, file: str) -> bytes | None:
        nonlocal n_read
        content = real(self, file)
        n_read += 1
        if n_read == 1:
            append_store(store, more, progress=False)
        return content

    monkeypatch.setattr(Folder, "read", read)
    assert open_store(store).n_cells == 120
