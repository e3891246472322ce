"""The program cell-eval reads what `scbig evaluate --cell-eval` writes, and agrees where definitions coincide."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from evaluate_cases import N_GENES, make_store
from run_cases import train_small
from scipy.stats import norm

from scbig_dist.cli.evaluate import evaluate
from scbig_dist.errors import UserError
from scbig_dist.evaluate.cell_eval import CellEvalFiles
from scbig_dist.metrics import profiles
from scbig_dist.metrics.de import index_control, rank_sum_p, significant_genes
from scbig_dist.store.reader import Store

PROGRAM = Path(sys.executable).parent / "cell-eval"
CONTEXTS = ("k562", "rpe1")


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return make_store(tmp_path_factory.mktemp("cell-eval-store"))


@pytest.fixture(scope="module")
def files(store, tmp_path_factory) -> Path:
    """The files of a run, after cell-eval has run on them as the command line says; `clamped` is a row of the run."""
    folder = tmp_path_factory.mktemp("cell-eval")
    run = train_small(store.path, folder / "run")
    with redirect_stderr(StringIO()) as told:
        evaluate(run, cell_eval=folder / "files")
    evaluate(run, prediction=[folder / "files" / "pred.h5ad"], name=["clamped"])
    command = told.getvalue().split("next: ")[1].split()
    assert command[:2] == ["cell-eval", "run"] and "--celltype-col" in command
    done = subprocess.run(
        [str(PROGRAM), *command[1:], "--skip-metrics", "clustering_agreement"],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1", "NUMBA_NUM_THREADS": "1"},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.fixture(scope="module")
def both(files) -> pd.DataFrame:
    """Scores of cell-eval, and ours of the same clamped cells, by (context, perturbation)."""
    results = {c: pd.read_csv(files / "files/cell-eval" / f"{c}_results.csv", index_col=0) for c in CONTEXTS}
    theirs = pd.concat(results, names=["context", "perturbation"])
    ours = pd.read_parquet(files / "run/conditions.parquet")
    ours = ours[ours["method"] == "clamped"]
    ours.index = pd.MultiIndex.from_tuples([tuple(c.split("/")) for c in ours["condition"]], names=theirs.index.names)
    assert set(ours.index) == set(theirs.index) and len(ours) == 6
    return ours.join(theirs, rsuffix="_theirs")


@pytest.fixture(scope="module")
def de(files, store) -> dict[tuple[str, str], pd.DataFrame]:
    """cell-eval's table of true cells by (context, perturbation), a row per gene of the panel."""
    found = {}
    for context in CONTEXTS:
        table = pd.read_csv(files / "files/cell-eval" / f"{context}_real_de.csv")
        for name, rows in table.groupby("target"):
            found[context, str(name)] = rows.set_index("feature").loc[store.genes]
    return found


def test_files_hold_the_same_conditions_genes_and_control_cells(files, store):
    real, pred = (ad.read_h5ad(files / "files" / f"{name}.h5ad") for name in ("real", "pred"))
    assert list(real.var_names) == list(pred.var_names) == store.genes
    assert set(real.obs["condition"]) == set(pred.obs["condition"]) and "control" in set(real.obs["condition"])
    control = [data[data.obs["condition"] == "control"].X.toarray() for data in (real, pred)]
    np.testing.assert_array_equal(*control)
    assert len(control[0]) == sum(len(store.cells(store.control(context))) for context in CONTEXTS)
    assert real.X.max() < 15 and pred.X.min() >= 0
    assert pred.uns["scbig"]["source"] == "predicted by CellFlow" and real.uns["scbig"]["source"] == "true cells"


@pytest.mark.parametrize("name", ["pearson_delta", "mse", "mae"])
def test_metrics_of_one_definition_agree(both, name):
    np.testing.assert_allclose(both[name], both[f"{name}_theirs"], rtol=2e-4, atol=1e-6)


def test_discrimination_agrees_after_its_divisor(both, files, store):
    """They divide by N, we by N − 1; they leave out the gene named like the condition: of combinations none."""
    pred = ad.read_h5ad(files / "files/pred.h5ad")
    for context in CONTEXTS:
        rows = both.loc[context]
        true = np.stack([_cells(store, context, name).mean(0) for name in rows.index])
        given = np.stack(
            [
                np.asarray(pred[(pred.obs["condition"] == name) & (pred.obs["context"] == context)].X.mean(0)).ravel()
                for name in rows.index
            ]
        )
        own = [np.flatnonzero(np.array(store.genes) == name) for name in rows.index]
        ours = profiles.pds(given.astype(float), true.astype(float), own)
        n = len(rows)
        np.testing.assert_allclose(1 - (1 - ours) * (n - 1) / n, rows["discrimination_score_l1"], atol=1e-9)


def test_rank_sums_are_pdexs_without_its_continuity_correction(de, store):
    """pdex, the engine of cell-eval, takes 1/2 off the distance of the rank sum from its expectation."""
    for (context, name), table in de.items():
        cells, control = _cells(store, context, name), _cells(store, context, "control")
        p, n, m = rank_sum_p(cells, index_control(control)), len(cells), len(control)
        sizes = [np.unique(gene, return_counts=True)[1].astype(float) for gene in np.concatenate([cells, control]).T]
        ties = np.array([(t**3 - t).sum() for t in sizes])
        deviation = np.sqrt(n * m / 12 * (n + m + 1 - ties / ((n + m) * (n + m - 1))))
        z = np.maximum(norm.isf(p / 2) - 0.5 / deviation, 0)
        np.testing.assert_allclose(2 * norm.sf(z), table["p_value"], rtol=1e-5, atol=1e-300)
        ours, theirs = significant_genes(p[None])[0], (table["fdr"] < 0.05).to_numpy()
        assert (theirs <= ours).all() and (ours != theirs).sum() <= 0.1 * N_GENES


def test_des_agrees_on_their_significant_genes(both, de, files, store):
    """The same fold changes and the same rank correlation."""
    pred = ad.read_h5ad(files / "files/pred.h5ad")
    for (context, name), table in de.items():
        true, base = (_cells(store, context, of).mean(0, dtype=np.float64) for of in (name, "control"))
        theirs = table["log2_fold_change"]
        np.testing.assert_allclose(profiles.log2_fold_change(true, base), theirs, rtol=1e-4, atol=1e-4)
        given = pred[(pred.obs["condition"] == name) & (pred.obs["context"] == context)].X.toarray()
        significant = (table["fdr"] < 0.05).to_numpy()[None]
        score = profiles.des(given.mean(0, dtype=np.float64)[None], true[None], base, significant)[0]
        assert score == pytest.approx(both.loc[(context, name), "de_spearman_lfc_sig"], abs=1e-3)


def test_evaluate_rejects_a_file_for_the_folder_of_cell_eval(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="a file; name a folder"):
        CellEvalFiles(tmp_path / "file")


def test_evaluate_rejects_cell_eval_of_what_is_not_predicted(tmp_path, store):
    with pytest.raises(UserError, match=r"no prediction of k562/A\+B"):
        CellEvalFiles(tmp_path).add(_condition(store, "k562", "A+B"), np.full((2, 3), np.nan, dtype=np.float32))


def _condition(store: Store, context: str, name: str):
    return next(c for c in store.conditions if (c.context, c.perturbation) == (context, name))


def _cells(store: Store, context: str, name: str) -> np.ndarray:
    return store.dense(store.cells(_condition(store, context, name)))
