"""Runs against each other: known differences, seeds and splits in groups, and what cannot be compared."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from compare_cases import CONDITIONS, write_scored
from scipy import stats
from statsmodels.stats.multitest import multipletests

from scbig_dist.cli.compare import compare as command
from scbig_dist.errors import UserError
from scbig_dist.report.compare import compare
from scbig_dist.report.compare_figures import BETTER, OPEN, WORSE, _colour, forest
from scbig_dist.report.compared_runs import read_entries

RNG = np.random.default_rng(0)
BASE = RNG.uniform(0.4, 0.9, len(CONDITIONS))
NOISE = RNG.normal(0, 0.02, len(CONDITIONS))


@pytest.fixture
def runs(tmp_path) -> list[Path]:
    """A run, one that is better by 0.1 on every condition, one that is no different; all with a table of two rows."""
    a = write_scored(tmp_path / "a", {"scBIG": BASE, "Ridge-additive": BASE - 0.05 + NOISE})
    b = write_scored(tmp_path / "b", {"scBIG": BASE + 0.1 + NOISE, "Ridge-additive": BASE}, settings={"flow": 1})
    c = write_scored(tmp_path / "c", {"scBIG": BASE + NOISE - NOISE.mean()}, settings={"flow": 2})
    return [a, b, c]


def lines(comparison, metric="pearson_delta"):
    return {line.name: line for line in comparison.of(metric)}


def test_differences_and_tests_are_those_of_the_pairs(runs):
    found = compare(read_entries(runs, ["Ridge-additive"], "test"), ["pearson_delta", "mse"])
    rows = lines(found)
    assert list(rows) == ["a", "b", "c", "Ridge-additive"] and rows["a"].against is None
    assert rows["b"].value.mean == pytest.approx((BASE + 0.1 + NOISE).mean())
    against = rows["b"].against
    assert against.difference.mean == pytest.approx((0.1 + NOISE).mean())
    assert 0 < against.difference.low < 0.1 < against.difference.high < 0.15
    assert against.test.p == pytest.approx(stats.wilcoxon(BASE + 0.1 + NOISE, BASE).pvalue)
    assert rows["c"].against.p_holm == 1.0
    tested = [line.against for line in found.lines if line.against is not None]
    np.testing.assert_allclose(
        [each.p_holm for each in tested], multipletests([each.test.p for each in tested], method="holm")[1]
    )


def test_the_best_of_each_metric_may_be_the_reference(runs):
    found = compare(read_entries(runs, [], "test"), ["pearson_delta", "mse"], to_best=True)
    assert found.references == {"pearson_delta": "b", "mse": "b"}  # mse is low where the correlation is high
    assert lines(found)["a"].against.difference.mean < 0 < lines(found, "mse")["a"].against.difference.mean


def test_seeds_of_one_config_are_one_entry(tmp_path, runs):
    seeds = [
        write_scored(
            tmp_path / f"s{seed}", {"scBIG": BASE + seed / 100, "Ridge-additive": BASE}, seed=seed, settings={"x": 1}
        )
        for seed in range(3)
    ]
    entries = read_entries([runs[0], *seeds], ["Ridge-additive"], "test")
    assert [entry.name for entry in entries] == ["a", "s0", "Ridge-additive"]
    line = lines(compare(entries, ["pearson_delta"]))["s0"]
    assert (line.runs.mean, line.runs.sd, line.runs.n) == pytest.approx((BASE.mean() + 0.01, 0.01, 3))
    assert line.against.difference.mean == pytest.approx(0.01)
    assert line.against.test.n == len(CONDITIONS)


def test_a_directory_of_seeds_is_one_entry(tmp_path, runs):
    folder = tmp_path / "plus"
    for seed in (0, 1):
        write_scored(folder / f"seed-{seed}", {"scBIG": BASE + 0.2 * seed}, seed=seed, settings={"x": 1})
    (folder / "seeds.json").write_text(json.dumps({"seeds": [0, 1]}))
    line = lines(compare(read_entries([folder, runs[0]], [], "test"), ["pearson_delta"]))["plus"]
    assert line.value.mean == pytest.approx(BASE.mean() + 0.1) and line.runs.n == 2


def test_splits_pair_within_themselves_and_a_condition_of_both_is_one_unit(tmp_path):
    first, second = CONDITIONS[:16], CONDITIONS[8:]
    paths = []
    for name, shift in (("a", 0.0), ("b", 0.1)):
        for split, conditions in enumerate((first, second)):
            values = BASE[: len(conditions)] + shift + split  # another level in the other split: pairs must not mix
            path = tmp_path / f"{name}{split}"
            paths.append(write_scored(path, {"scBIG": values}, conditions, split_seed=split, settings={"n": name}))
    found = compare(read_entries(paths, [], "test"), ["pearson_delta"])
    assert (found.n_conditions, found.n_splits) == (24, 2)
    against = lines(found)["b0"].against
    assert (against.difference.mean, against.difference.low, against.difference.high) == pytest.approx((0.1, 0.1, 0.1))
    assert against.test.n == 24


def test_undefined_and_equal_conditions_are_counted(tmp_path, runs):
    holed, equal = BASE.copy(), BASE.copy()
    holed[:5] = np.nan
    equal[5:] += 0.1
    paths = [runs[0]] + [
        write_scored(tmp_path / name, {"scBIG": values}, settings={"x": name})
        for name, values in (("holed", holed), ("equal", equal))
    ]
    rows = lines(compare(read_entries(paths, [], "test"), ["pearson_delta"]))
    assert (rows["holed"].value.n_undefined, rows["holed"].against.test.n_undefined) == (5, 5)
    assert rows["holed"].against.test.n_ties == 19 and rows["equal"].against.test.n_ties == 5


def test_a_folder_named_like_a_baseline_is_not_that_baseline(tmp_path):
    run = write_scored(tmp_path / "Linear", {"scBIG": BASE, "Linear": BASE - 0.1})
    rows = lines(compare(read_entries([run], ["Linear"], "test"), ["pearson_delta"]))
    assert rows["run Linear"].value.mean == pytest.approx(BASE.mean())
    assert rows["Linear"].against.difference.mean == pytest.approx(-0.1)


def test_a_part_is_compared_alone(tmp_path):
    subset = ["single"] * 8 + ["double"] * 16
    paths = [
        write_scored(tmp_path / name, {"scBIG": BASE + shift}, subset=subset, settings={"x": name})
        for name, shift in (("a", 0.0), ("b", 0.1))
    ]
    found = compare(read_entries(paths, [], "single"), ["pearson_delta"])
    assert found.n_conditions == 8 and lines(found)["a"].value.mean == pytest.approx(BASE[:8].mean())
    with pytest.raises(UserError, match=r"--part singles: .* did you mean 'single'"):
        read_entries(paths, [], "singles")


def test_without_a_part_test_comes_first_and_then_each_of_its_parts(tmp_path, capsys):
    subset = ["test_single"] * 8 + ["test_double"] * 16
    paths = [
        write_scored(tmp_path / name, {"scBIG": BASE + shift}, subset=subset, settings={"x": name})
        for name, shift in (("a", 0.0), ("b", 0.1))
    ]
    command(paths, metric=["pearson_delta"], output=tmp_path / "out")
    lines = [line for line in capsys.readouterr().out.splitlines() if "conditions; means" in line]
    assert [line.split(" conditions")[0] for line in lines] == ["test: 24", "test_single: 8", "test_double: 16"]
    assert all("over 1 tests" in line for line in lines)
    kept = json.loads((tmp_path / "out/compare.json").read_text())
    assert kept["n_conditions"] == 24 and {n: p["n_conditions"] for n, p in kept["parts"].items()} == {
        "test_single": 8,
        "test_double": 16,
    }
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"compare.png", "compare_test_single.png", "compare_test_double.png"} <= names
    command(paths, part="test_double", metric=["pearson_delta"])
    assert capsys.readouterr().out.count("conditions; means") == 1


def test_the_command_prints_and_draws(runs, tmp_path, capsys):
    command(runs, metric=["pearson_delta"], with_=["Ridge-additive"], output=tmp_path / "out")
    out = capsys.readouterr().out
    assert "24 conditions" in out and "minus a" in out and "+0.1" in out and "Ridge-additive" in out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["compare.json", "compare.pdf", "compare.png"]
    kept = json.loads((tmp_path / "out/compare.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert [line["name"] for line in kept["lines"]] == ["a", "b", "c", "Ridge-additive"]


def test_a_name_with_brackets_is_printed_as_it_is(tmp_path, capsys):
    names = ("a[red]", "b[bold]")
    paths = [write_scored(tmp_path / name, {"scBIG": BASE}, settings={"flow": name}) for name in names]
    command(paths, metric=["mse"])
    shown = capsys.readouterr().out
    assert all(f" {name} " in shown for name in names) and "\\" not in shown


def test_colours_say_better_worse_or_open(runs):
    found = compare(read_entries(runs, ["Ridge-additive"], "test"), ["pearson_delta", "mse"])
    colours = {(line.metric, line.name): _colour(line) for line in found.lines if line.against is not None}
    for metric in ("pearson_delta", "mse"):
        assert [colours[metric, name] for name in ("b", "c", "Ridge-additive")] == [BETTER, OPEN, WORSE]
    figure = forest(found)
    assert figure is not None and len(figure.axes) == 2


@pytest.mark.parametrize("change", ["conditions", "store", "unscored", "old", "nothing"])
def test_compare_rejects_what_cannot_be_compared(runs, tmp_path, change):
    a = runs[0]
    if change == "conditions":
        b = write_scored(tmp_path / "d", {"scBIG": BASE[1:]}, [*CONDITIONS[1:-1], "k562/Q+R"], settings={"x": 1})
        message = (
            r"d: tested on other conditions than a \(only d: 'k562/Q\+R'; only a: 'k562/A0\+B0', 'k562/A23\+B23'\)"
        )
    elif change == "store":
        b, message = write_scored(tmp_path / "d", {"scBIG": BASE}, store="other"), "d: trained on another store than a"
    elif change == "unscored":
        b, message = write_scored(tmp_path / "d", {"scBIG": BASE}), "not evaluated yet; first: scbig evaluate"
        (b / "conditions.parquet").unlink()
    elif change == "old":
        b, message = write_scored(tmp_path / "d", {"scBIG": BASE}), "evaluated by an older version"
        (b / "scores_meta.json").write_text("{}")
    else:
        b, message = tmp_path, "not a run"
    with pytest.raises(UserError, match=message) as error:
        read_entries([a, b], [], "test")
    assert "\n" not in str(error.value)


def test_compare_rejects_wrong_options(runs, tmp_path):
    for options, message in (
        ({"metric": ["pearson"]}, r"--metric pearson: unknown; did you mean"),
        ({"with_": ["Ridge"]}, r"--with Ridge: not in the table of"),
        ({"output": runs[0] / "config.yaml"}, "a file; name a folder"),
    ):
        with pytest.raises(UserError, match=message):
            command(runs[:2], **options)
    with pytest.raises(UserError, match="one run; name another"):
        command(runs[:1])
    with pytest.raises(UserError, match="a: named twice; a run is compared with others"):
        command([*runs[:2], runs[0].parent / "." / runs[0].name])
    twin = write_scored(tmp_path / "twin", {"scBIG": BASE}, seed=1)
    with pytest.raises(UserError, match="2 runs that differ in their seeds alone"):
        command([runs[0], twin])


def test_models_of_one_folder_name_are_told_apart(tmp_path, runs):
    write_scored(tmp_path / "x" / "a", {"CellFlow": BASE + 0.1}, settings={"x": 1})
    entries = read_entries([runs[0], tmp_path / "x" / "a"], [], "test")
    assert [entry.name.endswith(("a (scBIG)", "x/a (CellFlow)")) for entry in entries] == [True, True]
    assert isinstance(entries[0].scores, pd.DataFrame)
