"""The report of a run, whole and with files missing or half-written; bad paths."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from report_cases import write_run

from scbig_dist.errors import UserError
from scbig_dist.report import write_report
from scbig_dist.report.markdown import to_markdown
from scbig_dist.report.reading import read_run
from scbig_dist.report.run import run_document
from scbig_dist.report.run_figures import loss_curves, strongest_baseline
from scbig_dist.report.tables import scores_table
from scbig_dist.report.wording import MISSING, duration, number, score, setting, signed


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", np.random.default_rng(0))


def markdown_of(run: Path) -> str:
    """The report without its files: drawing them is what takes time."""
    return to_markdown(run_document(read_run(run)))


def test_run_report_shows_scores_losses_conditions_and_machine(run: Path):
    page = write_report(run)
    text = page.with_suffix(".md").read_text()
    assert page == run / "report" / "report.html" and page.is_file()
    for name in ("losses", "conditions", "against_baseline"):
        assert (run / "report" / f"{name}.png").is_file() and (run / "report" / f"{name}.pdf").is_file()
        assert f"]({name}.png)" in text
    assert "semi-synthetic" in text.splitlines()[2] and "EPYC" in text and "n_modules" in text
    assert "| **scBIG** | **0.6200** |" in text and "| Ridge-additive | 0.7800 ● |" in text
    assert "| true cells, encoded and decoded | 0.8300 |" in text
    assert "Missing here" not in text


def test_undefined_scores_are_a_dash(run: Path):
    text = markdown_of(run)
    assert f"| Control | {MISSING} |" in text


def test_report_goes_where_it_is_asked_to(run: Path, tmp_path: Path):
    page = write_report(run, tmp_path / "elsewhere" / "r")
    assert page.parent == tmp_path / "elsewhere" / "r" and not (run / "report").exists()


def test_report_can_be_written_twice_and_is_the_same(run: Path):
    first = write_report(run).read_bytes()
    assert write_report(run).read_bytes() == first


@pytest.mark.parametrize(
    "name", ["run.json", "scores.json", "metrics.jsonl", "conditions.parquet", "config.yaml", "split.json"]
)
@pytest.mark.parametrize("harm", ["gone", "cut", "empty", "wrong kind"])
def test_run_with_a_broken_file_still_reports(run: Path, name: str, harm: str):
    content = (run / name).read_bytes()
    (run / name).unlink()
    if harm != "gone":
        (run / name).write_bytes({"cut": content[: len(content) // 2], "empty": b"", "wrong kind": b"[1, 2]"}[harm])
    text = markdown_of(run)
    if harm == "gone" and name in {"run.json", "scores.json", "metrics.jsonl"}:
        assert f"{name} is missing" in text
    if harm == "cut" and name in {"run.json", "scores.json", "conditions.parquet"}:
        assert f"{name} cannot be read" in text


def test_half_a_line_of_the_log_is_left_out_and_said(run: Path):
    with open(run / "metrics.jsonl", "a") as log:
        log.write('{"stage": "flow", "step": 30')
    files = read_run(run)
    assert files.problems == ["metrics.jsonl: 1 of 51 lines are half-written and were left out"]
    assert all("loss" in record for record in files.log)


def test_numbers_that_are_no_numbers_do_no_harm(run: Path):
    scores = json.loads((run / "scores.json").read_text())
    scores["scBIG"] |= {"mse": float("inf"), "pearson_delta": float("nan")}
    (run / "scores.json").write_text(json.dumps(scores))
    with open(run / "metrics.jsonl", "a") as log:
        log.write('{"stage": "flow", "step": 3000, "loss": NaN, "val_pearson_delta": null}\n')
    assert f"| **scBIG** | **{MISSING}** |" in markdown_of(run)


def test_report_rejects_a_folder_that_is_neither_run_nor_study(tmp_path: Path):
    with pytest.raises(UserError, match=r"neither a run .* nor a study"):
        write_report(tmp_path)
    assert not list(tmp_path.iterdir())


def test_report_of_seeds_points_to_one_of_them(tmp_path: Path):
    (tmp_path / "seeds.json").write_text("{}")
    with pytest.raises(UserError, match=rf"{tmp_path}: runs of several seeds; report one of them, e.g. .*/seed-0, or"):
        write_report(tmp_path)


def test_report_rejects_a_missing_folder_and_a_file(tmp_path: Path):
    with pytest.raises(UserError, match="no such folder"):
        write_report(tmp_path / "absent")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="a file; give the folder"):
        write_report(tmp_path / "file")


def test_report_says_where_it_cannot_write(run: Path, tmp_path: Path):
    (tmp_path / "taken").touch()
    with pytest.raises(UserError, match=r"cannot be written .* -o"):
        write_report(run, tmp_path / "taken")


def test_report_needs_no_torch(run: Path):
    code = "import sys; from pathlib import Path; from scbig_dist.report import write_report\n"
    code += f"write_report(Path({str(run)!r})); assert 'torch' not in sys.modules and 'ray' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ, timeout=120)


def test_strongest_baseline_follows_the_metric():
    scores = {"scBIG": {"mse": 0.1}, "Linear": {"mse": 0.3}, "Additive": {"mse": 0.2}, "noise ceiling": {"mse": 0.0}}
    assert strongest_baseline(scores, "mse", "scBIG") == "Additive"
    assert strongest_baseline(scores, "mse", "scBIG", {"Additive": {"mse": 3}}) == "Linear", (
        "a mean over easy conditions"
    )
    assert strongest_baseline({"scBIG": {"mse": 0.1}, "Linear": {"mse": None}}, "mse", "scBIG") is None


def test_means_that_leave_conditions_out_say_so_and_win_nothing():
    scores = {"scBIG": {"mse": 0.3, "des": 0.5}, "Additive": {"mse": 0.1, "des": None}, "noise ceiling": {"mse": 0.0}}
    undefined = {"scBIG": {"des": 2}, "Additive": {"mse": 4, "des": 10}}
    table = scores_table(scores, "Ten.", "scBIG", undefined, 10)
    rows = {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}
    assert rows["scBIG"]["mse ↓"] == "0.3000 ●" and rows["Additive"]["mse ↓"] == "0.1000 (6 of 10)"
    assert rows["scBIG"]["des ↑"] == "0.5000 (8 of 10)" and rows["Additive"]["des ↑"] == MISSING
    assert "a mean over the 7 conditions" in table.caption


def test_every_stage_of_a_log_has_its_curves():
    log = [{"stage": "cells", "step": s, "loss": 1.0, "loss_focus": 0.9, "val_pearson_delta": 0.1 * s} for s in (1, 2)]
    figure = loss_curves([*log, {"stage": "shift", "step": 1, "loss": 2.0}])
    assert [axes.get_title("left") for axes in figure.axes] == ["cells: loss", "cells: validation", "shift: loss"]


def test_one_point_has_one_tick_and_others_have_few():
    log = [{"stage": "flow", "step": s, "loss": 0.3} for s in (1, 400_000)]
    figure = loss_curves([*log, {"stage": "flow", "step": 400_000, "val_pearson_delta": 0.4}])
    figure.canvas.draw()
    losses, scores = figure.axes
    assert [tick.get_text() for tick in scores.get_xticklabels()] == ["400,000"]
    ticks = [tick.get_text() for tick in losses.get_xticklabels()]
    assert "200,000" in ticks and len(ticks) <= 6
    assert losses.get_yscale() == "linear" and len(losses.get_yticks()) > 2


def test_numbers_read_well():
    assert [number(x) for x in (None, float("nan"), 1_204_331, 0.00012, 12.345, 2.0, -3.5, "gcae", True)] == [
        "–", "–", "1,204,331", "1.20e-04", "12.35", "2", "−3.50", "gcae", "True",
    ]  # fmt: skip
    assert [setting(x) for x in (0.1, 5000, 1e-4, None, "pca")] == ["0.1", "5,000", "0.0001", "–", "pca"]
    assert (score(0.84961, "pearson_delta"), score(3.92, "l2"), score(None, "mse")) == ("0.8496", "3.92", "–")
    assert (signed(-0.01, "acc"), signed(0.5, "l2")) == ("−0.0100", "+0.50")
    assert (score(-1e-9, "mse"), signed(-1e-9, "mse")) == ("0.0000", "+0.0000")
    assert [score(x, "mse") for x in (0.0012346, 0.05, 0.25, 4.5)] == ["0.001235", "0.05000", "0.2500", "4.5000"]
    assert [duration(x) for x in (3.2, 47, 185, 7800, None)] == ["3.2 s", "47 s", "3 min 05 s", "2 h 10 min", "–"]


def test_text_from_files_cannot_break_the_page(run: Path):
    summary = json.loads((run / "run.json").read_text())
    summary["hardware"] = "<script>alert(1)</script> | *bold*"
    (run / "run.json").write_text(json.dumps(summary))
    page = write_report(run)
    assert "<script" not in page.read_text()
    assert r"| hardware | \<script>alert(1)\</script> \| \*bold\* |" in page.with_suffix(".md").read_text()
