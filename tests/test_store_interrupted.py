"""A build that ends early leaves nothing; a store that is there is safe."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from store_cases import config, screen, write

from scbig_dist.errors import UserError
from scbig_dist.store import build, workspace
from scbig_dist.store.build import build_store
from scbig_dist.store.integrity import check_store
from scbig_dist.store.reader import open_store


def failing(error: BaseException) -> Any:
    def fail(*arguments: Any, **named: Any) -> Any:
        raise error

    return fail


@pytest.mark.parametrize(
    "stage",
    [
        "collect.read_part",
        "build.choose_panel",
        "collect.measure_part",
        "build.write_shard",
        "collect.hash_file",
        "build.write_manifest",
        "build.publish",
    ],
)
@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), RuntimeError("power"), OSError(errno.ENOSPC, "No space left on device")]
)
def test_store_interrupted_build_leaves_nothing(
    tmp_path: Path, stage: str, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(screen(60, 60), tmp_path)
    monkeypatch.setattr(f"scbig_dist.store.{stage}", failing(error))
    expected = UserError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected) as caught:
        build_store(path, tmp_path / "new" / "store", config(), progress=False)
    if isinstance(error, OSError):
        assert "the disk is full (No space left on device); free space" in str(caught.value)
    assert sorted(tmp_path.iterdir()) == [path]


def test_store_is_refused_where_something_exists(tmp_path: Path) -> None:
    path = write(screen(60, 60), tmp_path)
    out = tmp_path / "s"
    build_store(path, out, config(), progress=False)
    key = open_store(out).key
    with pytest.raises(
        UserError, match="a cell store is there already; name another STORE, or replace it with --force"
    ):
        build_store(path, out, config(), progress=False)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    for force in (False, True):
        for taken in (tmp_path / "mine", path):
            with pytest.raises(UserError, match="exists and is no cell store"):
                build_store(path, taken, config(), progress=False, force=force)
    assert open_store(out, verify=True).key == key
    (tmp_path / "empty").mkdir()
    build_store(path, tmp_path / "empty", config(), progress=False)
    assert check_store(tmp_path / "empty") == []


def test_store_force_keeps_the_old_one_until_the_new_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(screen(60, 60), tmp_path)
    out = tmp_path / "s"
    build_store(path, out, config(), progress=False)
    key = open_store(out).key
    with monkeypatch.context() as patch:
        patch.setattr(build, "publish", failing(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            build_store(path, out, config(panel__n_hvg=10), progress=False, force=True)
    assert open_store(out, verify=True).key == key
    renames = []

    def fail_second(old: Path, new: Path) -> None:
        renames.append(old)
        if len(renames) == 2:
            raise OSError(errno.EIO, "Input/output error")
        os.replace(old, new)

    with monkeypatch.context() as patch:
        patch.setattr(workspace.os, "rename", fail_second)
        with pytest.raises(OSError, match="Input/output"):
            build_store(path, out, config(panel__n_hvg=10), progress=False, force=True)
    assert open_store(out, verify=True).key == key
    build_store(path, out, config(panel__n_hvg=10), progress=False, force=True)
    assert len(open_store(out).genes) < 60
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s", "screen.h5ad"]


def test_store_build_cleans_up_after_a_killed_one(tmp_path: Path) -> None:
    path = write(screen(60, 60), tmp_path)
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom scbig_dist.settings import build_config\n"
        "from scbig_dist.store import build\n"
        "def hang(*arguments):\n    print('writing', flush=True)\n    time.sleep(60)\n"
        "build.cut_shards = hang\n"
        "build.build_store(Path(sys.argv[1]), Path(sys.argv[2]), build_config({'qc.min_genes': 0, 'qc.min_cells': 0}), progress=False)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(path), str(tmp_path / "s")], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None and child.stdout.readline() == "writing\n"
    with pytest.raises(UserError, match="another build of this store is running"):
        build_store(path, tmp_path / "s", config(), progress=False)
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert [p.name for p in tmp_path.glob(".s.tmp-*")], "a killed process cannot clean up"
    assert not (tmp_path / "s").exists()
    with pytest.raises(UserError, match="no such directory"):
        open_store(tmp_path / "s")
    build_store(path, tmp_path / "s", config(), progress=False)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s", "screen.h5ad"]


def test_store_build_stops_on_ctrl_c(tmp_path: Path) -> None:
    path = write(screen(60, 60), tmp_path)
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom scbig_dist.settings import build_config\n"
        "from scbig_dist.store import build\n"
        "def hang(*arguments):\n    print('writing', flush=True)\n    time.sleep(60)\n"
        "build.cut_shards = hang\n"
        "build.build_store(Path(sys.argv[1]), Path(sys.argv[2]), build_config({'qc.min_genes': 0, 'qc.min_cells': 0}), progress=False)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(path), str(tmp_path / "s")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert child.stdout is not None and child.stdout.readline() == "writing\n"
    time.sleep(0.2)
    child.send_signal(signal.SIGINT)
    assert child.wait(30) != 0
    child.stdout.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["screen.h5ad"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_store_rejects_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    path = write(screen(60, 60), tmp_path)
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(UserError, match="cannot write there"):
        build_store(path, tmp_path / "locked" / "s", config(), progress=False)


def test_store_rejects_a_parent_that_is_a_file(tmp_path: Path) -> None:
    path = write(screen(60, 60), tmp_path)
    with pytest.raises(UserError, match="no folder can be made there"):
        build_store(path, path / "s", config(), progress=False)
