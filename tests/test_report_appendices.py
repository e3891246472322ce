"""What the report makes of the appendices' studies: the paper's tables, times as multiples, seeds, workers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from report_cases import HARDWARE, write_run, write_study

from scbig_dist.report.document import Picture
from scbig_dist.report.markdown import to_markdown
from scbig_dist.report.printed import PUBLISHED, printed_rows, read_published, tables_of
from scbig_dist.report.published import Comparison, compare
from scbig_dist.report.reading import read_study
from scbig_dist.report.repeats import groups, spread
from scbig_dist.report.scaling import worker_curves
from scbig_dist.report.study import study_document


def numbers(value: Any) -> list[float]:
    """Every number of a table, in order, however it is laid out."""
    if isinstance(value, dict):
        return [x for each in value.values() for x in numbers(each)]
    if isinstance(value, list):
        return [x for each in value for x in numbers(each)]
    return [float(value)] if isinstance(value, int | float) and not isinstance(value, bool) else []


def test_our_copy_of_the_papers_tables_has_every_number_of_the_evidence(shared_data: Path):
    theirs, ours = yaml.safe_load((shared_data.parent / "published.yaml").read_text()), read_published()
    assert set(theirs) <= set(ours)
    batches = {"step_time_losses": [1024.0] * 4, "step_time_n_modules": []}
    for table, content in theirs.items():
        assert sorted(numbers(ours[table])) == sorted(numbers(content) + batches.get(table, [])), table


def test_every_table_is_cited_and_every_printed_row_can_be_read():
    book = read_published()
    assert PUBLISHED.name == "published.yaml" and book["source"]["title"].startswith("Beyond Independent Genes")
    for table in tables_of(book):
        rows = printed_rows(table, book)
        assert book["printed_as"][table].startswith(("table", "figure")) and rows
        assert all(row.values for row in rows), table
        for names in (book.get("settings", {}), book.get("trials", {}), book.get("unmatched", {})):
            assert set(names.get(table, {})) <= {row.name for row in rows}


def write_points(path: Path, rows: list[dict[str, Any]], asked: dict[str, Any] | None = None) -> Path:
    """A study of named points: rows of its table, a run for each."""
    path.mkdir(parents=True)
    (path / "study.yaml").write_text(yaml.safe_dump({"metric": "val_pearson_delta", **(asked or {})}))
    rng = np.random.default_rng(0)
    for i, row in enumerate(rows):
        nested: dict[str, Any] = {"flow": {"steps": 3000, "accumulate": 20, "batch": 1024}, "gcae": {"width": 64}}
        for address, value in row.items():
            if "." in address:
                section, name = address.split(".")
                nested.setdefault(section, {})[name] = value
        write_run(path / "trials" / f"{i:04d}", rng, nested)
        row |= {"trial": f"{i:04d}", "status": "finished"}
    pd.DataFrame(rows).to_parquet(path / "trials.parquet")
    return path


def table_of(path: Path, table: str) -> Comparison:
    return compare(read_study(path), table, "val_pearson_delta", "max", read_published())


def test_step_times_are_multiples_of_the_same_machines_own_row(tmp_path: Path):
    times = {"none": 10.0, "corr": 12.0, "path": 25.0}
    path = write_points(tmp_path / "s", [{"name": name, "stage2_ms": ms} for name, ms in times.items()])
    comparison = table_of(path, "step_time_losses")
    rows = {row.name: row for row in comparison.rows}
    assert comparison.reference == "none" and "RTX 3090" in comparison.hardware
    assert (rows["path"].published_ratio, rows["path"].ours_ratio) == (pytest.approx(87.91 / 83.17), 2.5)
    assert rows["both"].ours is None and rows["both"].reasons == ("no finished trial with these settings",)
    assert {"hardware: " + HARDWARE, "scale: gcae.width 64 (the paper's scale: 256)"} <= set(rows["path"].reasons)
    assert not any("data" in reason or "training" in reason for reason in rows["path"].reasons)


def test_a_module_per_gene_stands_beside_the_papers_own(tmp_path: Path):
    rows = [{"name": "K 32", "grc.n_modules": 32, "stage1_ms": 50.0}, {"name": "K = genes", "grc.n_modules": 1657, "stage1_ms": 900.0}]  # fmt: skip
    comparison = table_of(write_points(tmp_path / "s", rows), "step_time_n_modules")
    last = comparison.rows[-1]
    assert (last.n_modules, last.published, last.ours_ratio) == ((1657, 2051), 394.2, 18.0)


SEEDS = [
    {"grc.clustering": kind, "gcae.encoder": "gcae", "train.seed": seed, "val_pearson_delta": 0.5, "test_pearson_delta": base + 0.01 * seed}
    for kind, base in (("grc", 0.6), ("none", 0.5)) for seed in (0, 1, 2)
]  # fmt: skip


def test_seeds_are_averaged_and_their_deviation_stands_beside_the_papers(tmp_path: Path):
    path = write_points(tmp_path / "s", [dict(row) for row in SEEDS], {"published": ["seed_std", "confidence"]})
    rows = {(row.name, row.metric): row for row in table_of(path, "seed_std").rows}
    assert rows["table 11", "pearson_delta"].published == 0.0026
    assert rows["table 11", "pearson_delta"].ours == pytest.approx(0.01)
    meta = path / "trials" / "0000" / "scores_meta.json"
    interval = {"intervals": {"scBIG": {"pearson_delta": {"low": 0.51, "high": 0.72}}}}
    meta.write_text(json.dumps(interval))
    rows = {(row.name, row.metric): row for row in table_of(path, "confidence").rows}
    assert rows["GRC + GCAE", "pearson_delta"].ours == pytest.approx(0.61)
    assert rows["GRC + GCAE", "low"].ours == 0.51 and rows["none + GCAE", "low"].ours is None
    assert rows["GRC + plain", "pearson_delta"].ours is None
    text = to_markdown(study_document(read_study(path)))
    assert "0.6100 ± 0.0100" in text and "pearson\\_delta, SD over seeds" in text


def test_one_seed_has_no_deviation(tmp_path: Path):
    path = write_points(tmp_path / "s", [dict(SEEDS[0])])
    row = table_of(path, "seed_std").rows[0]
    assert row.ours is None and row.reasons == ("one seed has no deviation",)


def test_a_row_that_is_a_mean_over_seeds_brings_its_own_deviation():
    found = spread([{"test_mse": 0.004, "test_mse_sd": 0.001, "seeds": 3}], "test_mse")
    assert found is not None and (found.mean, found.sd, found.n) == (0.004, 0.001, 3)


def test_groups_differ_in_more_than_the_seed():
    frame = pd.DataFrame([{**row, "trial": str(i), "status": "finished"} for i, row in enumerate(SEEDS)])
    assert [len(g) for g in groups(frame, ["grc.clustering", "train.seed"])] == [3, 3]


def write_workers(path: Path) -> Path:
    speeds = {"strong 1": (1, 100.0), "strong 2": (2, 180.0), "strong 4": (4, 120.0), "weak 1": (1, 80.0), "weak 2": (2, 152.0)}  # fmt: skip
    rows = [
        {"name": name, "train.workers": n, "cells_per_s": cells, "train.seed": i, "test_mse": 0.01}
        for i, (name, (n, cells)) in enumerate(speeds.items())
    ]
    path = write_points(path, rows)
    for i, (_, cells) in enumerate(speeds.values()):
        file = path / "trials" / f"{i:04d}" / "run.json"
        summary = json.loads(file.read_text()) | {"cells_per_s": cells, "n_nodes": 1, "data_wait": 0.125}
        file.write_text(json.dumps(summary))
    return path


def test_workers_are_measured_against_one_worker_and_the_ideal(tmp_path: Path):
    path = write_workers(tmp_path / "s")
    strong, weak = worker_curves(read_study(path))
    assert strong.workers == (1, 2, 4) and strong.speed_up == pytest.approx((1, 1.8, 1.2))
    assert strong.efficiency == pytest.approx((1, 0.9, 0.3)) and weak.efficiency == pytest.approx((1, 0.95))
    text = to_markdown(study_document(read_study(path)))
    assert "strong scaling of the flow stage: 30% of the ideal with 4 workers, fastest with 2" in text
    assert "## Seeds" not in text  # a seed of its own is no repeat
    assert "| strong | flow | 2 | 1 |" in text and "12%" in text


def test_named_points_are_drawn_with_the_interval_over_conditions(tmp_path: Path):
    rows = [{"name": "full", "test_pearson_delta": 0.6, "stage1_ms": 9.0}, {"name": "less", "test_pearson_delta": 0.5, "stage1_ms": 5.0}]  # fmt: skip
    path = write_points(tmp_path / "s", rows)
    meta = {"intervals": {"scBIG": {"pearson_delta": {"low": 0.55, "high": 0.66}}}}
    (path / "trials" / "0000" / "scores_meta.json").write_text(json.dumps(meta))
    pictures = {b.name: b for b in study_document(read_study(path)).blocks if isinstance(b, Picture)}
    (dots,) = pictures["points"].figure.axes
    spans = [tuple(map(float, line.get_xdata())) for line in dots.lines if len(line.get_xdata()) == 2]
    assert (0.55, 0.66) in spans
    (bars,) = pictures["costs"].figure.axes
    assert [bar.get_width() for bar in bars.patches] == [9.0, 5.0]


def test_a_searched_study_has_no_picture_of_points(tmp_path: Path):
    path = write_study(tmp_path / "s", {"grc.n_modules": [8, 16, 32]})
    assert "points" not in {b.name for b in study_document(read_study(path)).blocks if isinstance(b, Picture)}


def test_a_study_of_several_seeds_per_trial_is_read_by_its_means_and_its_first_seed(tmp_path: Path):
    row = {"grc.clustering": "grc", "gcae.encoder": "gcae", "val_pearson_delta": 0.5, "seeds": 3}
    row |= {"test_pearson_delta": 0.61, "test_pearson_delta_sd": 0.02}
    path = write_points(tmp_path / "s", [row], {"published": "seed_std", "seeds": 3})
    trial = path / "trials" / "0000"
    trial.rename(tmp_path / "seed-0")
    trial.mkdir()
    (tmp_path / "seed-0").rename(trial / "seed-0")
    (trial / "seeds.json").write_text('{"seeds": [0, 1, 2]}')
    first = table_of(path, "seed_std").rows[0]
    assert first.ours == 0.02 and first.setting == "table 11 (ours: mean of 3 seeds)"
    assert "data: semi-synthetic" in first.reasons
    text = to_markdown(study_document(read_study(path)))
    assert "0.6100 ± 0.0200" in text and "means over 3 seeds" in text and "Missing here" not in text
