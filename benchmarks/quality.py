"""Every method on the semi-synthetic screen: splits `additive` and `holdout`, three split seeds, one table.

    python -m benchmarks.quality [--work DIR] [--splits additive holdout] [--seeds 0 1 2] [--methods scBIG CellFlow …]

Each is trained and scored as `scbig train` and `scbig evaluate` do it, one thread each, two at a time: about
two hours for all of it. Runs that WORK already holds are not repeated, so it can be stopped and gone on with.
Writes the tables of benchmarks/quality.md; rows of methods that WORK does not hold stay as they stand there. Nothing here is chosen by what it prints: test is scored, not tuned on.
"""

from __future__ import annotations

import argparse
import multiprocessing
import traceback
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks.common import table
from benchmarks.learning import DATA, ROOT, STORE
from benchmarks.pages import with_kept_rows
from scbig_dist.evaluate import evaluate_run
from scbig_dist.metrics.statistics import estimates, holm, paired_test
from scbig_dist.settings import build_config, load_config
from scbig_dist.store.build import build_store
from scbig_dist.train.context import LocalContext
from scbig_dist.train.experiment import settle
from scbig_dist.train.run import train_run

PAGE = ROOT / "benchmarks" / "quality.md"
BAR = "Ridge-additive"
SHOWN = {"pearson_delta": 3, "pearson_delta_de": 3, "mse": 2, "e_dist": 3, "pds": 3}
SCALE = {"mse": 1e3}
SMALL = "cpu_small.yaml"
PAPER = "scBIG, paper's form"
AS_DESCRIBED: dict[str, Any] = {"shift.own_gene": "predicted", "flow.target_noise": 0.0}
RELATED, ALONE = "scBIG, related targets", "scBIG, related targets, own gene predicted"
FOR_UNSEEN: dict[str, Any] = {"priors.target_embedding": "relations", "flow.condition_drop": 0.2}
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "scBIG": (SMALL, {}),
    PAPER: (SMALL, AS_DESCRIBED),
    RELATED: (SMALL, FOR_UNSEEN),
    ALONE: (SMALL, FOR_UNSEEN | {"shift.own_gene": "predicted"}),
    "scBIG+": ("scbig_plus.yaml", {}),
    "CellFlow": ("cellflow.yaml", {}),
    "CellFlow, extended": ("cellflow.yaml", {"shift.own_gene": "measured", "flow.target_noise": 1.0}),
    "samsVAE": (SMALL, {"model.name": "samsvae"}),
    "CPA": (SMALL, {"model.name": "cpa"}),
    "GEARS": (SMALL, {"model.name": "gears"}),
    "scGen": (SMALL, {"model.name": "scgen"}),
    "Linear-ext": (SMALL, {"model.name": "linear_ext", "priors.gene_embedding": "spectral"}),
    "kNN": (SMALL, {"model.name": "knn"}),
    "scBIG, random modules": (SMALL, AS_DESCRIBED | {"grc.clustering": "random"}),
    # As many parameters.
    "scBIG, autoencoder without modules": (SMALL, AS_DESCRIBED | {"gcae.encoder": "mlp", "gcae.width": 148}),
    "scBIG, no alignment": (SMALL, AS_DESCRIBED | {"align.lambda_corr": 0.0, "align.lambda_path": 0.0}),
    "scBIG, aligned with decoded cells": (SMALL, AS_DESCRIBED | {"align.targets": "decoded"}),
}
"""What is run; the other rows are references that every evaluation carries."""
SPLITS = {
    "additive": {"split.kind": "additive"},
    "holdout": {"split.kind": "holdout", "split.n_test": 20, "split.n_val": 12},
}
ROWS = ("Control", "Mean-shift", "Linear", "Linear-ext", "kNN", "scGen", "CPA", "samsVAE", "GEARS", "CellFlow", "CellFlow, extended",
        "Additive", BAR, PAPER, "scBIG", RELATED, ALONE, "scBIG+", "noise ceiling")  # fmt: skip
PARTS = tuple(method for method in METHODS if method.startswith("scBIG, ") and method not in (PAPER, RELATED, ALONE))
"""The paper's form with one part changed; none costs more time."""


def one(task: tuple[str, str, int, str, str]) -> str:
    """Train and score one method on one split, unless that is done."""
    method, split, seed, store, work = task
    torch.set_num_threads(1)
    run = Path(work) / f"{split}-{seed}" / method
    preset, values = METHODS[method]
    overrides = {
        "store": store, "split.seed": seed, "train.threads": 1,
        "priors.ppi": str(DATA / "string_v12_links_symbol.tsv.gz"),
        "priors.pathways": str(DATA / "reactome_pathways.gmt.gz"),
    } | SPLITS[split] | values  # fmt: skip
    if not (run / "scores.json").exists():
        config = settle(load_config(ROOT / "configs" / preset, overrides))
        train_run(
            config, run, LocalContext(), resume=run.exists(), artifact_root=Path(work) / "artifacts", progress=False
        )
        evaluate_run(run, progress=False)
    return f"{split} {seed} {method}"


def conditions(work: Path, split: str, seeds: Sequence[int]) -> pd.DataFrame:
    """A row per method, split seed and test condition; references once per split seed."""
    frames = []
    for seed in seeds:
        found = []
        for run in sorted((work / f"{split}-{seed}").glob("*/conditions.parquet")):
            one_run = pd.read_parquet(run).assign(seed=seed)
            own = run.parent.name
            first = not found
            mine = one_run["method"].isin({"scBIG", own.split(",")[0]}) if own in METHODS else False
            kept = one_run[mine].assign(method=own)
            found += [kept, *([one_run[~one_run["method"].isin(set(METHODS))]] if first else [])]
        frames += found
    return pd.concat(frames, ignore_index=True)


def cell(values: pd.DataFrame, metric: str) -> str:
    """Mean over all conditions of all split seeds, with the interval of conditions drawn again."""
    wide = values.pivot_table(index="condition", columns="seed", values=metric).to_numpy(dtype=float)
    found = estimates({metric: wide}, np.random.default_rng(0))[metric]
    scale, digits = SCALE.get(metric, 1.0), SHOWN[metric]
    if not np.isfinite(found.mean):
        return "–"
    return f"{scale * found.mean:.{digits}f} [{scale * found.low:.{digits}f}, {scale * found.high:.{digits}f}]"


def against(frame: pd.DataFrame, method: str, metric: str, bar: str) -> tuple[list[str], list[float]]:
    """Per split seed the paired difference to another method with its interval, and p."""
    texts, p = [], []
    for _, part in frame.groupby("seed"):
        wide = part.pivot_table(index="condition", columns="method", values=metric)
        if not {method, bar} <= set(wide.columns):
            continue
        a, b = wide[method].to_numpy(dtype=float), wide[bar].to_numpy(dtype=float)
        found = estimates({"d": a - b}, np.random.default_rng(0))["d"]
        scale, digits = SCALE.get(metric, 1.0), SHOWN[metric]
        texts.append(
            f"{scale * found.mean:+.{digits}f} [{scale * found.low:+.{digits}f}, {scale * found.high:+.{digits}f}]"
        )
        p.append(paired_test(a, b).p)
    return texts, p


def differences(test: pd.DataFrame, methods: Sequence[str], bar: str) -> list[list[str]]:
    """A row per method and metric with a cell per split seed."""
    found = {(m, k): against(test, m, k, bar) for m in methods for k in SHOWN if k != "pds"}
    adjusted = iter(holm([p for _, ps in found.values() for p in ps]))
    return [
        [*which, *(f"{text}, p {next(adjusted):.1g}" for text in texts)] for which, (texts, _) in found.items() if texts
    ]


def section(work: Path, split: str, seeds: Sequence[int]) -> str:
    frame = conditions(work, split, seeds)
    test = frame[frame["part"] == "test"]
    methods = [method for method in ROWS if method in set(test["method"])]
    heads = [f"{m}{' ×10³' if m in SCALE else ''}" for m in SHOWN]
    n = test.groupby("seed")["condition"].nunique()
    parts = [
        f"## Split `{split}`, split seeds {', '.join(map(str, seeds))}: {', '.join(map(str, n))} test conditions\n\n"
        "Mean over conditions [95 % interval, conditions drawn again].\n\n"
        + table(["method", *heads], [[m, *(cell(test[test["method"] == m], k) for k in SHOWN)] for m in methods])
    ]
    for subset in sorted(set(test["subset"].dropna())):
        some = test[test["subset"] == subset]
        rows = [[m, *(cell(some[some["method"] == m], k) for k in SHOWN)] for m in methods]
        parts.append(f"Part `{subset}` of it:\n\n" + table(["method", *heads], rows))
    rivals_of = {BAR: ("scBIG", "scBIG+"), PAPER: ("scBIG", *PARTS), "GEARS": ("scBIG+",)}
    if split != "additive":  # targets that training has not met
        rivals_of |= {bar: ("scBIG", RELATED, ALONE) for bar in ("Mean-shift", "Linear")}
    for bar, rivals in rivals_of.items():
        rows = differences(test, rivals, bar)
        if rows:
            parts.append(
                f"Difference to {bar}, paired over conditions, per split seed, with Wilcoxon's p (Holm over the table):\n\n"
                + table(["method", "metric", *(f"seed {seed}" for seed in seeds)], rows)
            )
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--screen", type=Path, default=DATA / "norman2019_semisynthetic_41100x1657.h5ad")
    parser.add_argument("--work", type=Path, default=Path("runs/quality"))
    parser.add_argument("--splits", nargs="+", default=list(SPLITS), choices=list(SPLITS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--table", action="store_true", help="write the tables of what is there, run nothing")
    options = parser.parse_args()
    work: Path = options.work
    work.mkdir(parents=True, exist_ok=True)
    store = work / "store"
    if not store.exists():
        build_store(options.screen, store, build_config({**STORE, "data.path": str(options.screen)}), progress=False)
    tasks = [] if options.table else [
        (method, split, seed, str(store), str(work))
        for seed in options.seeds for split in options.splits for method in options.methods
    ]  # fmt: skip
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.processes, mp_context=context) as pool:
        futures = {pool.submit(one, task): task for task in tasks}
        for done in as_completed(futures):
            try:
                print(done.result(), flush=True)
            except Exception:  # one method's failure is its own: the others go on, and it is said
                print(f"FAILED {futures[done][:3]}\n{traceback.format_exc()}", flush=True)
    body = "\n\n".join(section(work, split, options.seeds) for split in options.splits)
    page = PAGE.read_text() if PAGE.exists() else "<!-- tables -->\n<!-- /tables -->\n"
    before, _, rest = page.partition("<!-- tables -->\n")
    old, mark, after = rest.partition("<!-- /tables -->\n")
    PAGE.write_text(before + "<!-- tables -->\n" + with_kept_rows(old, body, ROWS) + "\n" + mark + after)


if __name__ == "__main__":
    main()
