"""Presets load, say what they claim to say, and the lock holds what the package needs."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import get_args

import pytest
import yaml

from scbig_dist.cluster.study import read_study
from scbig_dist.config import Config, ModelConfig
from scbig_dist.errors import UserError
from scbig_dist.models.names import NAMES
from scbig_dist.settings import addresses, allowed, load_config, read_values, with_values

ROOT = Path(__file__).resolve().parents[1]
PRESETS = sorted((ROOT / "configs").glob("*.yaml"))
STUDIES = sorted((ROOT / "tune").glob("*.py"))
N_REPEATED = {"ablation.py": 3}  # a way of pooling tokens, one of targets, and their vectors are what `full` has


@pytest.mark.parametrize("path", PRESETS, ids=lambda p: p.name)
def test_preset_loads(path: Path):
    load_config(path)


@pytest.mark.parametrize("path", PRESETS, ids=lambda p: p.name)
def test_preset_opens_with_what_it_is_for(path: Path):
    assert path.read_text().startswith("# ")


def test_norman_additive_writes_out_every_default():
    values = read_values(ROOT / "configs" / "norman_additive.yaml")
    assert load_config(ROOT / "configs" / "norman_additive.yaml") == Config()
    assert set(addresses()) == set(values)


def test_every_setting_says_what_is_allowed():
    words = {address: allowed(address) for address in addresses()}
    assert (
        words["panel.n_hvg"] == "a whole number from 1 (or null)" and words["train.gpus"] == "a number from 0, up to 1"
    )
    assert words["flow.train_autoencoder"] == "true or false" and words["priors.ppi"] == "text (or null)"


def test_paper_and_released_code_differ_where_they_are_known_to():
    paper = load_config(ROOT / "configs" / "norman_additive_paper.yaml")
    code = load_config(ROOT / "configs" / "norman_additive_released.yaml")
    assert (paper.flow.train_autoencoder, code.flow.train_autoencoder) == (True, False)
    assert (paper.align.every, code.align.every) == (1, 1000)
    assert (paper.flow.condition_drop, code.flow.condition_drop) == (0.0, 0.9)
    assert (paper.gcae.projection, code.gcae.projection) == ("per_module", "shared")
    assert paper.flow.steps == code.flow.steps == 500_000


@pytest.mark.parametrize("name", ["cpu_small.yaml", "demo.yaml"])
def test_small_presets_are_small_and_ask_for_no_gpu(name: str):
    config, full = load_config(ROOT / "configs" / name), Config()
    assert config.train.gpus == 0
    assert config.gcae.width <= 64 and config.flow.steps <= 10_000 < full.flow.steps
    assert config.flow.steps % config.flow.validate_every == 0  # the last step is validated


@pytest.mark.parametrize("path", STUDIES, ids=lambda p: p.name)
def test_every_point_of_a_study_is_a_config_of_its_own(path: Path):
    for scale in (None, *read_study(path).scales):
        study = read_study(path, scale)
        base = load_config((path.parent / str(study.base)).resolve(), study.fixed)
        counted = [
            point | ({"grc.n_modules": 1999} if point.get("grc.n_modules") == "genes" else {})
            for point in study.points.values()
        ]
        configs = [with_values(base, point) for point in counted]
        assert len({config.model_dump_json() for config in configs}) >= len(configs) - N_REPEATED.get(path.name, 0)
        assert not set(study.fixed) & set(study.addresses), "a point would override what is fixed"


def test_baselines_study_has_every_model():
    points = read_study(ROOT / "tune" / "baselines.py").points
    known = get_args(ModelConfig.model_fields["name"].annotation)
    assert {point.get("model.name", "scbig") for point in points.values()} == set(known)
    assert {NAMES[str(p.get("model.name", "scbig"))] for p in points.values()} <= {n.split(" (")[0] for n in points}


@pytest.mark.parametrize("path", STUDIES, ids=lambda p: p.name)
def test_published_rows_beside_a_study_name_points_of_some_study(path: Path):
    book, asked = yaml.safe_load((ROOT / "tune" / "published.yaml").read_text()), read_study(path).published
    for table in [asked] if isinstance(asked, str) else asked or []:
        assert table in book["printed_as"]
    if path.name == "ablation.py":
        points = {*read_study(path).points, "clustered by feedback"}  # that one needs a finished run
        for table in (t for t in asked or [] if t != "condition_embedding"):
            unmatched, names = book["unmatched"].get(table, {}), book["trials"].get(table, {})
            assert {names.get(row, row) for row in book[table]["rows"] if row not in unmatched} <= points


def locked() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    assert all(len(pin) == 2 for pin in pins), "one name==version a line"
    return {_plain(name): version for name, version in pins}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.split("[")[0]).lower()


def test_lock_holds_every_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {_plain(re.split(r"[<>=!~ ;]", each)[0]) for each in needed}
    assert not names - set(locked())


def test_lock_has_no_paths_or_builds():
    text = (ROOT / "requirements.lock").read_text()
    assert not re.search(r"^(?!#).*(\+cpu|@|file:|://|^-)", text, re.MULTILINE)
    assert locked()["torch"] == "2.13.0"
    assert "scbig-dist" not in locked()


def test_published_values_are_tables_with_a_source():
    book = yaml.safe_load((ROOT / "tune" / "published.yaml").read_text())
    assert book["source"]["title"] and book["source"]["authors"] and book["hardware"]["default"]
    for name in book["printed_as"]:
        table = book[name]
        if "rows" in table:
            rows = table["rows"].values() if isinstance(table["rows"], dict) else table["rows"]
            assert all(len(row) == len(table["columns"]) for row in rows), name


def test_published_values_equal_the_transcript(shared_data: Path):
    transcript = yaml.safe_load((shared_data.parent / "published.yaml").read_text())
    book = yaml.safe_load((ROOT / "tune" / "published.yaml").read_text())
    # Times have columns and names here; test_report_appendices.py compares their numbers.
    relaid = {"step_time_losses", "step_time_n_modules", "scaling_hvg"}
    assert {name: book[name] for name in transcript if name not in relaid} == {
        name: table for name, table in transcript.items() if name not in relaid
    }
    assert book["scaling_hvg"]["rows"] == transcript["scaling_hvg"]["rows"]


def test_config_rejects_more_parts_than_a_batch_has_cells():
    with pytest.raises(UserError, match="=300 parts of autoencoder"):
        load_config(None, {"autoencoder.accumulate": 300})


def test_config_rejects_a_pool_smaller_than_a_block():
    with pytest.raises(UserError, match=r"data\.pool_cells=10 is below data\.block_cells=64"):
        load_config(None, {"data.pool_cells": 10})
