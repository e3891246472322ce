"""The report of a study: what is chosen, what is shown, what is set beside the paper's values."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from report_cases import HARDWARE, write_study

from scbig_dist.errors import UserError
from scbig_dist.report import write_report
from scbig_dist.report.markdown import to_markdown
from scbig_dist.report.printed import read_published
from scbig_dist.report.published import compare
from scbig_dist.report.reading import read_study
from scbig_dist.report.study import best_trial, question_of, study_document
from scbig_dist.report.study_figures import axis_line, parallel_lines


def markdown_of(path: Path) -> str:
    """The report without its files: drawing them is what takes time."""
    return to_markdown(study_document(read_study(path)))


GRID = {"grc.n_modules": [32, 8, 16], "gcae.n_inducing": [8, 4]}


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_study(tmp_path_factory.mktemp("grid") / "grid", GRID, published="sensitivity")
    write_report(path)
    return path


def test_study_report_is_written_whole(grid: Path):
    names = {p.name for p in (grid / "report").iterdir()}
    assert {"report.md", "report.html", "heat_map.png", "heat_map.pdf", "cost.png", "learning_curves.png"} <= names
    assert not [name for name in names if name.endswith(".part")]


def test_every_trial_has_a_row_with_its_status_and_reason(grid: Path):
    text = (grid / "report" / "report.md").read_text()
    for trial in pd.read_parquet(grid / "trials.parquet").to_dict("records"):
        assert re.search(rf"\| \**{trial['trial']}\** \| \**{trial['status']}", text)
    assert "out of memory" in text and "RuntimeError: no memory left" in text and "rung 1 of ASHA" in text
    assert "Traceback" not in text
    assert "6 trials: 4 finished, 1 stopped, 1 failed" in text


def test_html_is_self_contained(grid: Path):
    page = (grid / "report" / "report.html").read_text()
    assert page.count("<svg") == page.count("<figure>") >= 4
    assert "<script" not in page and "<link" not in page and "@import" not in page
    assert not re.search(r'(src|href)="(?!#|data:)', page)
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids)), "figures of one page must not share ids"
    assert set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', page)) is not None
    used = {a or b for a, b in re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', page)}
    assert used <= set(ids)
    assert "prefers-color-scheme: dark" in page and "currentColor" in page


def test_data_label_stands_at_the_top(grid: Path):
    assert "semi-synthetic" in "\n".join((grid / "report" / "report.md").read_text().splitlines()[:4])


def test_best_trial_is_chosen_on_validation_among_finished_trials(grid: Path):
    study = read_study(grid)
    question = question_of(study)
    assert (question.axes, question.column, question.mode) == (list(GRID)[::-1], "val_pearson_delta", "max")
    trials = study.trials.copy()
    assert best_trial(trials, question) == "000"
    trials.loc[trials["trial"] == "004", "val_pearson_delta"] = 0.99  # stopped early: no equal
    trials.loc[trials["trial"] == "003", "test_pearson_delta"] = 0.99  # test does not choose
    assert best_trial(trials, question) == "000"


def test_a_loss_is_ranked_downwards(tmp_path: Path):
    path = write_study(tmp_path / "loss", GRID, metric="val_mse")
    study = read_study(path)
    assert question_of(study).mode == "min"
    assert best_trial(study.trials, question_of(study)) == "000"


@pytest.mark.parametrize(
    ("axes", "picture"),
    [
        ({"panel.n_hvg": [2000, 500, 1000, 5000]}, "axis"),
        (GRID, "heat_map"),
        ({"panel.n_hvg": [2000, 5000], "grc.n_modules": [32, 64], "gcae.encoder": ["gcae", "pca"]}, "parallel"),
    ],
)
def test_picture_fits_the_number_of_axes(tmp_path: Path, axes: dict, picture: str):
    path = write_study(tmp_path / "study", axes)
    write_report(path)
    assert (path / "report" / f"{picture}.png").stat().st_size > 5_000
    assert (path / "report" / f"{picture}.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("spread", [1e-3, 0.0])
def test_an_axis_that_was_searched_has_ticks_of_its_own_and_no_line(spread: float):
    """Of listed settings each has its tick, and a line joins their means."""
    rng = np.random.default_rng(0)
    rates = [float(rate) for rate in np.repeat([1e-4, 1e-3, 1e-2], 4)]
    trials = pd.DataFrame({"flow.lr": [r * np.exp(spread and rng.normal()) for r in rates], "val_mse": rng.random(12)})
    [panel] = axis_line(trials, "flow.lr", ["val_mse"]).axes
    labels = [text.get_text() for text in panel.get_xticklabels()]
    assert panel.get_xscale() == "log" and len(panel.lines) == (1 if spread else 2)
    assert (labels == ["1e-04", "0.001", "0.01"] or labels == ["0.0001", "0.001", "0.01"]) is not bool(spread)


def test_a_trial_without_an_axis_is_a_line_past_it():
    trials = pd.DataFrame(
        {"trial": ["a", "b"], "kind": ["one", "two"], "size": [2.0, np.nan], "lr": [0.1, 0.2], "val_mse": [1.0, 2.0]}
    )
    panel = parallel_lines(trials, ["kind", "size", "lr"], "val_mse", None).axes[0]
    assert sorted(list(line.get_xdata()) for line in panel.lines if len(line.get_xdata()) > 2) == [
        [0, 1, 2, 3],
        [0, 2, 3],
    ]


def test_searched_plane_is_drawn_as_points(tmp_path: Path):
    path = write_study(
        tmp_path / "search", {"align.lambda_corr": [0.1, 0.2, 0.3, 0.5], "align.lambda_path": [0.1, 1.0]}
    )
    trials = pd.read_parquet(path / "trials.parquet")
    trials["align.lambda_corr"] = [0.001 * 3.3**i for i in range(len(trials))]
    trials["align.lambda_path"] = [10 / 2.7**i for i in range(len(trials))]
    trials.to_parquet(path / "trials.parquet")
    write_report(path)
    assert (path / "report" / "plane.png").is_file()


def test_published_scaling_rows_meet_the_trials_with_their_settings(tmp_path: Path):
    axes = {"panel.n_hvg": [2000, 5000], "grc.n_modules": [32, 64], "gcae.n_inducing": [8], "gcae.latent_dim": [50]}
    comparison = compare(
        read_study(write_study(tmp_path / "s", axes)), "scaling_hvg", "val_pearson_delta", "max", read_published()
    )
    rows = {(row.setting.split(":")[0], row.metric): row for row in comparison.rows}
    default = rows["Norman default", "pearson_delta"]
    assert (default.published, default.ours) == (0.8496, 0.62)
    assert default.difference == pytest.approx(0.62 - 0.8496)
    assert not default.comparable and "data: semi-synthetic" in default.reasons
    assert any(r.startswith("scale: 1,657 genes") for r in default.reasons)
    assert any("RTX 4090" in part for part in [comparison.hardware])
    step = rows["Norman default", "stage2_ms"]  # an update of 20 micro-batches, timed in training
    assert (step.published, step.ours) == (87.44, 12.0 / 20) and "hardware: " + HARDWARE in step.reasons
    assert "timed in training, beside whatever ran then" in step.reasons
    memory = rows["Norman default", "stage2_gb"]
    assert (memory.published, memory.ours, memory.reasons) == (23, None, ("not measured",))
    assert rows["10k HVGs", "pearson_delta"].ours is None
    assert rows["10k HVGs", "pearson_delta"].reasons == ("no finished trial with these settings",)


def test_published_weights_meet_the_nearest_searched_ones(tmp_path: Path):
    axes = {"align.lambda_corr": [0.12, 0.9, 30.0], "align.lambda_path": [0.1]}
    path = write_study(tmp_path / "s", axes)
    comparison = compare(read_study(path), "loss_weights", "val_pearson_delta", "max", read_published())
    by_setting = {row.setting: row for row in comparison.rows if row.metric == "pearson_delta"}
    near = next(row for name, row in by_setting.items() if name.startswith("lambda_corr 0.1, lambda_path 0.1"))
    assert near.ours == 0.62 and "ours: trial 000, align.lambda_corr 0.12" in near.setting
    far = next(row for name, row in by_setting.items() if name.startswith("lambda_corr 0.1, lambda_path 1"))
    assert far.ours is None


def test_published_rows_meet_the_trials_of_their_names(tmp_path: Path):
    path = write_study(tmp_path / "s", {"grc.clustering": ["grc", "none", "random", "soft"]}, published="pooling")
    trials = pd.read_parquet(path / "trials.parquet")
    trials["name"] = ["no clustering", "full", "soft, temperature 1", "mean"]
    trials["test_pearson_delta"] = [0.5, 0.6, 0.7, 0.8]
    trials.to_parquet(path / "trials.parquet")

    def rows(table: str) -> dict[str, tuple[float | None, tuple[str, ...]]]:
        found = compare(read_study(path), table, "val_pearson_delta", "max", read_published()).rows
        return {row.setting: (row.ours, row.reasons) for row in found if row.metric == "pearson_delta"}

    modules, priors = rows("ablation_clustering_encoder"), rows("ablation_priors")
    assert modules["GRC + GCAE"][0] == priors["full"][0] == 0.6 and modules["none + GCAE"][0] == 0.5
    assert modules["none + plain"] == (None, ("no finished trial of this name",))
    assert priors["soft cluster (a)"] == (None, ("the paper's temperature is lost in its text",))
    assert rows("ablation_alignment")["one (a)"][0] is None
    trials.loc[trials["name"] == "full", "name"] = "mean pooling"  # `full` of the laptop preset pools otherwise
    trials.to_parquet(path / "trials.parquet")
    assert next(ours for name, (ours, _) in rows("pooling").items() if name.startswith("mean")) == 0.6


def test_several_published_tables_follow_each_other(tmp_path: Path):
    path = write_study(tmp_path / "s", {"grc.n_modules": [8, 16]})
    text = (path / "study.yaml").read_text()
    (path / "study.yaml").write_text(text + "published: [ablation_priors, pooling]\n")
    page = markdown_of(path)
    assert page.index("The paper's table 6(b)") < page.index("The paper's table 10")
    assert page.count("Published beside ours") == 1


def test_same_data_and_scale_is_comparable_but_not_its_hardware(tmp_path: Path):
    path = write_study(tmp_path / "s", {"grc.n_modules": [32, 8, 16], "gcae.n_inducing": [8]})
    run = path / "trials" / "000"
    text = (run / "run.json").read_text()
    text = text.replace('"semi-synthetic"', '"real or unknown"').replace("1657", "2051").replace("31500", "89926")
    (run / "run.json").write_text(text)
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["flow"]["steps"] = 500_000
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    comparison = compare(read_study(path), "sensitivity", "val_pearson_delta", "max", read_published())
    row = next(row for row in comparison.rows if row.metric == "pearson_delta")
    assert row.comparable and row.published == 0.8496


def test_both_hardware_lines_are_shown(grid: Path):
    text = (grid / "report" / "report.md").read_text()
    assert "Published hardware: one NVIDIA RTX 3090" in text and f"Our hardware: {HARDWARE}" in text
    assert "comparable" in text and "figure 6" in text


def test_unknown_published_table_is_said_with_the_nearest(tmp_path: Path):
    path = write_study(tmp_path / "s", GRID, published="scaling_hvgs")
    assert "did you mean 'scaling\\_hvg'" in markdown_of(path)


@pytest.mark.parametrize("schema", ["3", "later"])
def test_a_study_of_a_later_version_is_refused(tmp_path, schema):
    path = write_study(tmp_path / "study", GRID)
    with open(path / "study.yaml", "a") as file:
        file.write(f"schema: {schema}\n")
    with pytest.raises(UserError, match=f"has schema {schema}, this version reads up to 2; install"):
        write_report(path)
    assert not (path / "report").exists()


@pytest.mark.parametrize("name", ["trials.parquet", "study.yaml"])
@pytest.mark.parametrize("harm", ["gone", "cut"])
def test_study_with_a_broken_file_still_reports(grid: Path, tmp_path: Path, name: str, harm: str):
    path = tmp_path / "study"
    shutil.copytree(grid, path, ignore=shutil.ignore_patterns("report"))
    if harm == "gone":
        (path / name).unlink()
    else:
        (path / name).write_bytes(b"PAR1{[" + (path / name).read_bytes()[:40])
    text = markdown_of(path)
    assert name.replace("_", "\\_") in text and "Missing here" in text


def test_study_without_any_finished_trial_reports(tmp_path: Path):
    path = write_study(tmp_path / "s", {"grc.n_modules": [8, 16]}, published="sensitivity")
    text = markdown_of(path)
    assert "none was chosen" in text and "no finished trial with these settings" in text


def test_study_still_running_reports(tmp_path: Path):
    path = tmp_path / "new"
    path.mkdir()
    (path / "study.yaml").write_text("metric: val_pearson_delta\naxes: {grc.n_modules: [8, 16]}\n")
    text = markdown_of(path)
    assert "No trial has ended yet" in text


def test_trials_of_less_budget_are_shown_and_not_ranked(grid: Path, tmp_path: Path):
    rows = rows_of(markdown_of(grid))
    assert [(row["trial"].strip("*"), row["rank"].strip("*")) for row in rows] == [
        ("000", "1"), ("001", "2"), ("002", "3"), ("003", "4"), ("004", "–"), ("005", "–"),
    ]  # fmt: skip
    assert rows[4]["val_pearson_delta ↑"].startswith("(0.") and rows[3]["val_pearson_delta ↑"].startswith("0.")
    # A point with fewer steps that scores best is no winner either.
    path = write_study(tmp_path / "steps", {"flow.steps": [200, 3000, 3000, 3000, 3000]})
    trials = pd.read_parquet(path / "trials.parquet")
    trials.loc[0, "val_pearson_delta"] = 0.99
    trials.to_parquet(path / "trials.parquet")
    rows = rows_of(text := markdown_of(path))
    assert [row["rank"].strip("*") for row in rows] == ["1", "2", "–", "–", "–"]
    assert rows[2]["trial"] == "000" and rows[2]["why"] == "not ranked: less budget than others"
    assert "Trial 001" in text and "of the finished trials of equal budget" in text


def rows_of(text: str) -> list[dict[str, str]]:
    """The table of trials of a report."""
    lines = text.replace("\\_", "_").split("## Trials")[1].split("\n|", 1)[1].split("\n\n")[0].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]


def test_two_metrics_have_a_front_with_a_table_and_a_picture(tmp_path: Path):
    path = write_study(tmp_path / "front", {"grc.n_modules": [8, 16, 32, 64, 128, 256]})
    asked = yaml.safe_load((path / "study.yaml").read_text())
    asked |= {"metric": ["val_pearson_delta", "step_ms"], "mode": ["max", "min"]}
    (path / "study.yaml").write_text(yaml.safe_dump(asked))
    trials = pd.read_parquet(path / "trials.parquet")
    # 000 is fast, 002 is good, 001 and 003 are neither; 004 was stopped, 005 failed.
    trials.loc[:4, "val_pearson_delta"] = [0.5, 0.45, 0.7, 0.6, 0.9]
    trials.loc[:4, "step_ms"] = [10.0, 20.0, 30.0, 40.0, 1.0]
    trials["val_pearson_delta_sd"] = 0.03
    trials.to_parquet(path / "trials.parquet")
    text = markdown_of(path)
    front = text.split("## Front of two metrics")[1].split("##")[0].replace("\\_", "_")
    found = [line.split("|")[1].strip() for line in front.splitlines() if line.startswith("| 00")]
    assert found == ["000", "002"]
    assert "0.5000 ± 0.0300" in front and "step_ms (ms) ↓" in front and "front.png" in front
    assert "Of 4 finished trials of equal budget; 2 that failed" in front
    assert "Trial 002" in text.split("## Best trial")[1]
    write_report(path)
    assert (path / "report" / "front.png").stat().st_size > 5_000


def test_scores_of_several_seeds_carry_their_deviation(tmp_path: Path):
    path = write_study(tmp_path / "seeds", {"grc.n_modules": [8, 16, 32, 64]})
    trials = pd.read_parquet(path / "trials.parquet")
    trials["seeds"], trials["val_pearson_delta_sd"] = 3, [0.01, 0.02, None, None]
    trials.to_parquet(path / "trials.parquet")
    text = markdown_of(path)
    rows = rows_of(text)
    assert rows[0]["val_pearson_delta ↑"].strip("*").endswith(" ± 0.0100")
    assert rows[1]["val_pearson_delta ↑"].endswith(" ± 0.0200") and "±" not in rows[2]["val_pearson_delta ↑"]
    assert "standard deviation over the seeds of a trial" in text
