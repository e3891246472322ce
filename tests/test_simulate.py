"""The simulated screen: what is written is what the truth says."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import anndata as ad
import numpy as np
import pytest

from scbig_dist.conditions import Condition
from scbig_dist.config_data import SplitConfig
from scbig_dist.errors import UserError
from scbig_dist.screen import cell_writer
from scbig_dist.screen.cell_writer import draw_counts
from scbig_dist.screen.pathways import read_pathways
from scbig_dist.screen.ppi import read_ppi
from scbig_dist.screen.simulate import simulate_screen
from scbig_dist.screen.simulate_truth import Recipe, make_truth
from scbig_dist.screen.splits import make_split

SMALL = Recipe(n_cells=600, n_genes=60, n_perturbations=4, n_doubles=3, n_modules=4, seed=5)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The default screen with its priors."""
    folder = tmp_path_factory.mktemp("demo")
    summary = simulate_screen(folder / "demo.h5ad", Recipe(), priors=folder / "priors", progress=False)
    return ad.read_h5ad(folder / "demo.h5ad"), folder, summary


def shifts(screen: ad.AnnData, context: str) -> dict[str, np.ndarray]:
    """Mean log-normalised shift from the context's controls, per condition."""
    here = screen[screen.obs.context == context]
    x = np.log1p(here.X.toarray() / here.obs.n_counts.to_numpy()[:, None] * 1e4)
    label = here.obs.condition.astype(str).to_numpy()
    control = x[label == "control"].mean(axis=0)
    return {name: x[label == name].mean(axis=0) - control for name in set(label) - {"control"}}


def pearson(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.corrcoef(x, y)[0, 1])


def test_default_screen_is_whole(demo):
    screen, folder, summary = demo
    assert screen.shape == (6000, 600) and screen.X.dtype == np.float32
    assert (screen.X.data > 0).all() and (screen.X.data == np.round(screen.X.data)).all()
    assert screen.X.has_canonical_format
    np.testing.assert_array_equal(screen.obs.n_counts, np.asarray(screen.X.sum(axis=1)).ravel())
    np.testing.assert_array_equal(screen.obs.n_genes, screen.X.getnnz(axis=1))
    assert list(screen.obs) == ["condition", "context", "batch", "n_counts", "n_genes"]
    assert screen.obs_names.is_unique and screen.uns["data_label"] == "simulated"
    sizes = screen.obs.groupby(["context", "condition"], observed=True).size()
    assert len(sizes) == 2 * (24 + 36 + 1) and sizes.min() >= 40
    assert all(name == "+".join(sorted(name.split("+"))) for name in screen.obs.condition.cat.categories)
    assert {t for name in set(screen.obs.condition) - {"control"} for t in name.split("+")} <= set(screen.var_names)
    assert np.median(screen.obs.n_genes) > 300 and "24 singles, 36 doubles" in str(summary)
    assert not list(folder.glob(".*"))


def test_truth_is_read_back_and_is_what_the_cells_show(demo):
    screen, _, _ = demo
    truth = screen.uns["truth"]
    assert truth["effects"].shape == (2, 60, 600) and truth["modules"].shape == (600,)
    assert truth["seed"] == 0 and truth["parameters"]["n_doubles"] == 36
    assert truth["interacting"].sum() == round(0.4 * 36) and not truth["interacting"][:24].any()
    for c, context in enumerate(truth["contexts"]):
        seen = shifts(screen, context)
        assert np.median([pearson(seen[p], truth["effects"][c, i]) for i, p in enumerate(truth["conditions"])]) > 0.8


def test_modules_covary_in_control_cells(demo):
    screen, _, _ = demo
    control = screen[(screen.obs.condition == "control") & (screen.obs.context == "context1")]
    x = np.log1p(control.X.toarray() / control.obs.n_counts.to_numpy()[:, None] * 1e4)
    r = np.corrcoef(x.T)
    same = np.equal.outer(*[screen.uns["truth"]["modules"]] * 2)
    within, between = r[same & ~np.eye(600, dtype=bool)].mean(), r[~same].mean()
    assert within > 0.1 and abs(between) < 0.02


def test_doubles_are_learnable_but_not_only_sums(demo):
    screen, _, _ = demo
    truth = screen.uns["truth"]
    interacting = dict(zip(truth["conditions"], truth["interacting"], strict=True))
    for context in truth["contexts"]:
        seen = shifts(screen, context)
        score = {p: pearson(seen[p], sum(seen[t] for t in p.split("+"))) for p in seen if "+" in p}
        assert 0.5 < np.mean(list(score.values())) < 0.95
        sums = [score[p] for p in score if not interacting[p]]
        assert np.mean([score[p] for p in score if interacting[p]]) < np.mean(sums) - 0.03


def test_targets_of_a_module_act_alike(demo):
    screen, _, _ = demo
    seen, truth = shifts(screen, "context1"), screen.uns["truth"]
    module = dict(zip(screen.var_names, truth["modules"], strict=True))
    singles = [p for p in seen if "+" not in p]
    alike = {True: [], False: []}
    for p in singles:
        for q in singles:
            if p < q:
                alike[module[p] == module[q]].append(abs(pearson(seen[p], seen[q])))
    assert np.mean(alike[True]) > 0.4 > 0.25 > np.mean(alike[False])


def test_every_kind_of_split_works_on_the_default_screen(demo):
    screen, _, _ = demo
    pairs = screen.obs[["context", "condition"]].astype(str).drop_duplicates().itertuples(index=False)
    conditions = [Condition(c, p) for c, p in pairs]
    for kind in ("additive", "holdout", "simulation", "random", "transfer"):
        config = SplitConfig(kind=kind, n_test=6, n_val=4, train_context="context1", test_context="context2")
        assert make_split(conditions, config).test


def test_priors_know_the_modules(demo):
    screen, folder, _ = demo
    modules = screen.uns["truth"]["modules"]
    ppi = read_ppi(folder / "priors" / "ppi.tsv", 700.0)
    a = ppi.adjacency(list(screen.var_names)).tocoo()
    assert 0.6 < (modules[a.row] == modules[a.col]).mean() < 0.95
    assert len(ppi.edges) < len(read_ppi(folder / "priors" / "ppi.tsv", 0.0).edges)
    assert len(ppi.spectral(16, 0).genes) == 600
    pathways = read_pathways(folder / "priors" / "pathways.gmt")
    assert len(pathways) == 2 * 16 + 3
    members = [screen.var_names.get_loc(g) for g in pathways["MODULE_00_SET_1"]]
    assert (modules[members] == 0).mean() > 0.8


def test_equal_seeds_give_equal_cells_and_others_do_not(tmp_path):
    for name, recipe in (("a", SMALL), ("b", SMALL), ("c", replace(SMALL, seed=6))):
        simulate_screen(tmp_path / f"{name}.h5ad", recipe, progress=False)
    a, b, c = (ad.read_h5ad(tmp_path / f"{name}.h5ad") for name in "abc")
    assert (a.X != b.X).nnz == 0 and a.obs.equals(b.obs)
    assert (a.X != c.X).nnz > 0


def test_blocks_make_a_whole_file(tmp_path, monkeypatch):
    monkeypatch.setattr(cell_writer, "BLOCK_ENTRIES", 60 * 7)  # blocks of 7 cells, the last of 5
    simulate_screen(tmp_path / "a.h5ad", SMALL, progress=False)
    screen = ad.read_h5ad(tmp_path / "a.h5ad")
    assert screen.shape == (600, 60) and (screen.obs.n_counts > 0).all()
    np.testing.assert_array_equal(screen.obs.n_counts, np.asarray(screen.X.sum(axis=1)).ravel())


def test_counts_have_the_mean_and_variance_of_a_negative_binomial():
    mean = np.broadcast_to(np.float32([0.1, 2.0, 50.0]), (200_000, 3))
    size = np.float32([0.5, 4.0, 20.0])
    counts = draw_counts(mean, size, np.random.default_rng(0))
    np.testing.assert_allclose(counts.mean(axis=0), mean[0], rtol=0.03)
    np.testing.assert_allclose(counts.var(axis=0), mean[0] + mean[0] ** 2 / size, rtol=0.05)


def test_a_double_without_interaction_is_the_sum_of_its_singles():
    truth = make_truth(replace(SMALL, interacting=0.0), np.random.default_rng(0))
    place = {name: i for i, name in enumerate(truth.conditions)}
    for name in truth.conditions:
        a, *b = name.split("+")
        if b:
            expected = truth.effects[:, place[a]] + truth.effects[:, place[b[0]]]
            np.testing.assert_allclose(truth.effects[:, place[name]], expected.clip(-4, 4), atol=1e-5)


def test_defaults_follow_the_number_of_perturbations():
    assert Recipe().doubles == 36
    assert Recipe(n_perturbations=2).doubles == 1 and Recipe(n_perturbations=1).doubles == 0
    assert Recipe(n_genes=100).median_library == 800 and Recipe(n_genes=10_000).median_library == 12_000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_cells": 0}, "--cells 0: at least 1"),
        ({"n_cells": -5}, "--cells -5: at least 1"),
        ({"n_genes": 0}, "--genes 0: at least 2"),
        ({"n_perturbations": 0}, "--perturbations 0: at least 1"),
        ({"n_perturbations": 61, "n_cells": 10**6}, "--perturbations 61: more than --genes 60"),
        ({"n_modules": 61}, "--modules 61: more than --genes 60"),
        ({"n_modules": 0}, "--modules 0: at least 1"),
        ({"n_contexts": 0}, "--contexts 0: at least 1"),
        ({"n_doubles": -1}, "--doubles -1: at least 0"),
        ({"n_doubles": 7}, "--doubles 7: 4 perturbed genes make 6 pairs"),
        ({"n_cells": 100}, r"--cells 100: too few for 7 conditions in 2 context\(s\) .* give at least 168"),
        ({"interacting": 1.5}, "--interacting 1.5: a share"),
        ({"efficiency": 0.0}, "--efficiency 0: a share above 0"),
        ({"library": float("nan")}, "--library nan: counts per cell"),
        ({"library_sd": -1.0}, "--library-sd -1: a standard deviation"),
        ({"seed": -1}, "--seed -1: at least 0"),
    ],
)
def test_simulate_rejects(tmp_path, change, message):
    with pytest.raises(UserError, match=message) as caught:
        simulate_screen(tmp_path / "a.h5ad", replace(SMALL, **change), progress=False)
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


def test_the_least_number_of_cells_that_is_named_is_enough(tmp_path):
    for n_contexts, least in ((1, 84), (2, 168), (3, 252)):
        recipe = replace(SMALL, n_contexts=n_contexts, n_cells=least)
        simulate_screen(tmp_path / "a.h5ad", recipe, force=True, progress=False)
        obs = ad.read_h5ad(tmp_path / "a.h5ad").obs
        assert obs.groupby(["context", "condition"], observed=True).size().min() >= 10


def test_simulate_writes_over_nothing_without_force(tmp_path):
    (tmp_path / "a.h5ad").write_text("mine")
    with pytest.raises(UserError, match=r"a\.h5ad: exists; .* --force"):
        simulate_screen(tmp_path / "a.h5ad", SMALL, progress=False)
    assert (tmp_path / "a.h5ad").read_text() == "mine"
    (tmp_path / "priors").mkdir()
    (tmp_path / "priors" / "ppi.tsv").write_text("mine")
    with pytest.raises(UserError, match=r"has ppi\.tsv; choose another directory"):
        simulate_screen(tmp_path / "b.h5ad", SMALL, priors=tmp_path / "priors", progress=False)
    simulate_screen(tmp_path / "a.h5ad", SMALL, priors=tmp_path / "priors", force=True, progress=False)
    assert ad.read_h5ad(tmp_path / "a.h5ad").n_obs == 600


@pytest.mark.parametrize(
    ("name", "message"), [("a.txt", "ends with .h5ad"), ("no/a.h5ad", "no directory"), ("d.h5ad", "a directory")]
)
def test_simulate_rejects_an_impossible_name(tmp_path, name, message):
    (tmp_path / "d.h5ad").mkdir()
    with pytest.raises(UserError, match=message):
        simulate_screen(tmp_path / name, SMALL, progress=False)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_an_interrupted_simulation_leaves_nothing(tmp_path, monkeypatch, error):
    def torn(*_):
        raise error

    (tmp_path / "a.h5ad").write_text("mine")
    monkeypatch.setattr("scbig_dist.screen.simulate.draw_counts", torn)
    with pytest.raises((UserError, KeyboardInterrupt)) as caught:
        simulate_screen(tmp_path / "a.h5ad", SMALL, force=True, progress=False)
    if isinstance(error, OSError):
        assert "No space left on device" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5ad"] and (tmp_path / "a.h5ad").read_text() == "mine"


@pytest.mark.parametrize("kilobytes", [1, 40, 90])
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, kilobytes):
    # A process of its own: the limit on the size of files would outlive the test.
    code = f"""
import resource, sys
from dataclasses import replace
from pathlib import Path
from scbig_dist.errors import UserError
from scbig_dist.screen.simulate import simulate_screen
from scbig_dist.screen.simulate_truth import Recipe
resource.setrlimit(resource.RLIMIT_FSIZE, ({kilobytes} * 1024,) * 2)
try:
    simulate_screen(Path("a.h5ad"), Recipe(n_cells=2000, n_genes=100), progress=False)
except UserError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout == "a.h5ad: cannot be written (File too large); free some room or choose another place\n"
    assert not list(tmp_path.iterdir())
