"""A store built by Ray tasks has the bytes of one that was built in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from store_cases import config, screen, write

from scbig_dist.cluster import build as on_ray
from scbig_dist.cluster.session import ray_session
from scbig_dist.errors import UserError
from scbig_dist.store.append import append_store
from scbig_dist.store.build import build_store

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module", autouse=True)
def session() -> Iterator[None]:
    with ray_session(cpus=2):
        yield


def content(store: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(store.iterdir())}


def test_store_of_ray_tasks_has_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()
    for seed, layout in enumerate(("csr", "csc")):
        adata = screen(120, seed=seed)
        adata.X = adata.X.asformat(layout)
        write(adata, tmp_path / "in", f"batch{seed}.h5ad")
    more = write(screen(60, seed=7), tmp_path, "more.h5ad")
    monkeypatch.chdir(tmp_path)
    settings = config(data__context="line", data__batch="plate")
    build_store(Path("in"), tmp_path / "one", settings, progress=False)
    on_ray.build_on_ray([Path("in")], tmp_path / "two", settings, "local", progress=False)
    assert content(tmp_path / "one") == content(tmp_path / "two")
    append_store(tmp_path / "one", more, progress=False)
    on_ray.append_on_ray(tmp_path / "two", [more], "local", progress=False)
    assert content(tmp_path / "one") == content(tmp_path / "two")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "more.h5ad", "one", "two"]


def test_store_build_on_ray_rejects_counts_as_in_one_process(tmp_path: Path) -> None:
    adata = screen(60)
    adata.X.data[100] = 0.5
    path = write(adata, tmp_path)
    with pytest.raises(UserError, match=r"holds the fractional value 0.5") as error:
        on_ray.build_on_ray([path], tmp_path / "s", config(), "local", progress=False)
    assert "\n" not in str(error.value) and sorted(tmp_path.iterdir()) == [path]
