"""Every study of tune/ is planned at every scale on one store; studies that time steps are run and reported for real."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from training_cases import make_store, write_study

from scbig_dist.cluster.plan import make_plan
from scbig_dist.cluster.session import ray_session
from scbig_dist.cluster.study import read_study
from scbig_dist.cluster.tune import run_sweep
from scbig_dist.errors import UserError
from scbig_dist.report import write_report
from scbig_dist.screen.simulate import simulate_screen
from scbig_dist.screen.simulate_truth import Recipe
from scbig_dist.settings import build_config
from scbig_dist.store.build import build_store

TUNE = Path(__file__).resolve().parents[1] / "tune"
STUDIES = [
    (path.name, scale)
    for path in sorted(TUNE.glob("*.py"))
    for scale in (None, *read_study(path).scales)
]  # fmt: skip


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Priors, and a store of 10,000 HVGs and 66 doubles in two contexts: the least that every study can be planned on."""
    folder = tmp_path_factory.mktemp("wide")
    recipe = Recipe(n_cells=2000, n_genes=11_000, n_perturbations=12, n_doubles=66, n_contexts=2, n_modules=6)
    simulate_screen(folder / "screen.h5ad", recipe, priors=folder / "priors", progress=False)
    kept = {"qc.min_genes": 10, "qc.min_cells": 1, "panel.n_hvg": 10_000}
    config = build_config({**kept, "data.context": "context"})
    build_store(folder / "screen.h5ad", folder / "store", config, progress=False)
    priors = {"priors.ppi": folder / "priors" / "ppi.tsv", "priors.pathways": folder / "priors" / "pathways.gmt"}
    return {"store": str(folder / "store"), **{key: str(path) for key, path in priors.items()}}


@pytest.mark.parametrize(("name", "scale"), STUDIES)
def test_every_study_is_planned_at_every_scale(
    wide: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, scale: str | None
):
    monkeypatch.chdir(tmp_path)
    if scale == "files":  # the user's own
        (tmp_path / "vectors").mkdir()
        for file in ("genecompass", "go", "esm2"):
            genes = np.array([f"G{i:05d}" for i in range(11_000)])
            np.savez(tmp_path / "vectors" / f"{file}.npz", genes=genes, embeddings=np.ones((11_000, 2), np.float32))
    study = read_study(TUNE / name, scale)
    # As the study tells one whose contexts are not the paper's.
    contexts = {"split.train_context": "context1", "split.test_context": "context2"} if name == "transfer.py" else {}
    plan = make_plan(study, TUNE / name, wide | contexts)
    assert plan.n_trials >= len(plan.points) >= len(study.points)
    configs = [plan.config(point.values) for point in plan.points]
    assert all(config.train.gpus == 0 for config in configs) or scale is None


def test_a_module_per_gene_is_a_number_in_the_plan(wide: dict[str, Any]):
    plan = make_plan(read_study(TUNE / "n_modules.py"), TUNE / "n_modules.py", wide)
    counts = {point.name: point.values["grc.n_modules"] for point in plan.points}
    assert counts["K 1"] == 1 and 2000 <= counts["K = genes"] <= 2012  # 2,000 HVGs and 12 targets
    assert plan.record()["points"]["K = genes"]["grc.n_modules"] == counts["K = genes"]


def test_scaling_halves_no_point_without_saying_its_batches():
    for scale in (None, "cpu"):
        for point in read_study(TUNE / "scaling.py", scale).points.values():
            assert {"autoencoder.batch", "flow.batch"} <= set(point)


@pytest.mark.parametrize("fields", [{"at_once": 0}, {"timed": "sometimes"}])
def test_study_rejects_a_wrong_way_of_timing(tmp_path: Path, fields: dict[str, Any]):
    path = write_study(tmp_path / "s.py", axes={"flow.lr": [1e-3]}, **fields)
    with pytest.raises(UserError, match=f"{next(iter(fields))}="):
        read_study(path)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_store(tmp_path_factory.mktemp("store")))


@pytest.fixture(scope="module")
def session() -> Iterator[None]:
    with ray_session(cpus=2):
        yield


@pytest.mark.ray
@pytest.mark.usefixtures("session")
def test_a_study_that_only_times_trains_nothing_and_is_reported(tmp_path: Path, store: str):
    points = {"K 1": {"grc.n_modules": 1}, "K = genes": {"grc.n_modules": "genes"}}
    path = write_study(tmp_path / "s.py", points=points, timed="only", published="step_time_n_modules")
    run_sweep(path, tmp_path / "out", {"store": store})
    table = pd.read_parquet(tmp_path / "out" / "trials.parquet").set_index("name")
    assert list(table["status"]) == ["finished"] * 2 and (table[["stage1_ms", "stage2_gb"]] > 0).all(axis=None)
    assert table.loc["K = genes", "grc.n_modules"] == 60 and "val_pearson_delta" not in table
    assert not list((tmp_path / "out").glob("trials/*/metrics.jsonl"))
    page = write_report(tmp_path / "out").with_suffix(".md").read_text()
    assert "Nothing was trained" in page and "n\\_modules 2,051" in page and "simulated" in page
    assert "data: simulated" not in page and "Best trial" not in page  # steps are timed on random cells
    assert (tmp_path / "out" / "report" / "costs.png").is_file()


@pytest.mark.ray
@pytest.mark.usefixtures("session")
def test_steps_are_timed_once_after_the_trials_have_ended(tmp_path: Path, store: str):
    points = {"full": {"grc.n_modules": 4}}
    path = write_study(tmp_path / "s.py", points=points, fixed={"flow.steps": 20}, timed="alone")
    run_sweep(path, tmp_path / "out", {"store": store})
    first = pd.read_parquet(tmp_path / "out" / "trials.parquet")
    assert (first[["stage1_ms", "stage2_ms", "stage1_gb", "stage2_gb"]] > 0).all(axis=None)
    assert first["test_pearson_delta"].notna().all()
    run_sweep(path, tmp_path / "out", {"store": store}, resume=True)
    pd.testing.assert_frame_equal(first, pd.read_parquet(tmp_path / "out" / "trials.parquet"))
