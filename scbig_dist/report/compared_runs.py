"""Evaluated runs read for a comparison: each a column of scores by condition, seeds of one config together."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

from scbig_dist.errors import UserError, listed, suggest

Array = NDArray[np.float64]
WHOLE = "test"  # the part that is all of test
SEEDS = (("train", "seed"), ("split", "seed"))


@dataclass(frozen=True)
class Run:
    """One evaluated run: its settings without seeds, its seeds, and its scores by (method, condition)."""

    path: Path
    model: str
    settings: str
    seeds: tuple[int, ...]
    split: str
    """What its test conditions are."""
    store: str
    meta: dict[str, Any]
    table: pd.DataFrame


@dataclass(frozen=True)
class Entry:
    """What is compared: a model or a baseline, over the splits and seeds that it was run with.

    `scores` has a row per (condition, split), its mean over trainings; `macro` a row per run.
    """

    name: str
    scores: pd.DataFrame
    macro: pd.DataFrame

    def values(self, metric: str, index: pd.Index) -> Array:
        """(condition, split), NaN where the condition is not in the split or the score is undefined."""
        wide = self.scores[metric].unstack("split")
        return wide.reindex(index).to_numpy(dtype=np.float64)

    @property
    def conditions(self) -> pd.Index:
        return self.scores.index.get_level_values("condition").unique().sort_values()


def read_entries(paths: Sequence[Path], baselines: Sequence[str], part: str) -> list[Entry]:
    """The runs (or directories of seeds) at the paths, in their order, then the named baselines of the first one's tables.

    Runs alike but for `train.seed` and `split.seed` are one entry. UserError where a run is not
    evaluated, or where two entries were tested on other cells or conditions.
    """
    groups: list[tuple[str, list[Run]]] = []
    for n, path in enumerate(paths):
        if path.resolve() in {other.resolve() for other in paths[:n]}:
            raise UserError(f"{path}: named twice; a run is compared with others")
        runs = [_read(each, part) for each in _runs_of(path)]
        same = next((group for _, group in groups if _one_group([*group, *runs])), None)
        if same is None:
            groups.append((path.name or str(path), runs))
        else:
            same.extend(runs)
    for name, runs in groups[1:]:
        _check_comparable(groups[0][0], groups[0][1], name, runs)
    names = _names([name for name, _ in groups], [runs[0] for _, runs in groups])
    names = [f"run {name}" if name in baselines else name for name in names]  # a folder called Linear is not the row
    entries = [_entry(name, runs, None) for name, (_, runs) in zip(names, groups, strict=True)]
    return entries + [_entry(method, groups[0][1], method) for method in baselines]


def parts_of(paths: Sequence[Path]) -> list[str]:
    """The named parts that the tables of all the (evaluated) runs have beside `test`, in the first one's order."""
    found = []
    for path in (run for place in paths for run in _runs_of(place)):
        table = pd.read_parquet(path / "conditions.parquet", columns=["part", "subset"])
        found.append(list(dict.fromkeys([*table["subset"].dropna(), *table.loc[table["part"] != WHOLE, "part"]])))
    return [name for name in found[0] if all(name in others for others in found)]


def _runs_of(path: Path) -> list[Path]:
    """The run itself, or the runs of a directory of seeds (train/seeds.py)."""
    if (path / "seeds.json").is_file():
        return [path / f"seed-{seed}" for seed in json.loads((path / "seeds.json").read_text())["seeds"]]
    return [path]


def _read(path: Path, part: str) -> Run:
    if not (path / "config.yaml").is_file():
        raise UserError(f"{path}: not a run (no config.yaml); name runs that 'scbig evaluate' has scored")
    if not (path / "conditions.parquet").is_file() or not (path / "scores_meta.json").is_file():
        raise UserError(f"{path}: not evaluated yet; first: scbig evaluate {path}")
    config = yaml.safe_load((path / "config.yaml").read_text())
    meta = json.loads((path / "scores_meta.json").read_text())
    if "model" not in meta:
        raise UserError(f"{path}: evaluated by an older version; again: scbig evaluate {path}")
    table = pd.read_parquet(path / "conditions.parquet")
    parts = sorted({*table["part"], *table["subset"].dropna()})
    chosen = table[(table["part"] == part) | (table["subset"] == part)]
    if chosen.empty:
        raise UserError(f"--part {part}: {path} has no such part; {suggest(part, parts)}")
    seeds = tuple(int(config[section].pop(name)) for section, name in SEEDS)
    config.pop("store")  # its content counts, not its place
    conditions = sorted(chosen["condition"].unique())
    return Run(
        path,
        meta["model"],
        json.dumps(config, sort_keys=True),
        seeds,
        hashlib.sha256("\n".join(conditions).encode()).hexdigest()[:8],
        json.loads((path / "store.json").read_text())["key"],
        meta,
        chosen.set_index(["method", "condition"]).select_dtypes("number"),
    )


def _one_group(runs: Sequence[Run]) -> bool:
    """Alike but for their seeds, and no seeds twice: the same run trained by two versions is not one entry."""
    alike = len({(run.settings, run.store, run.model) for run in runs}) == 1
    return alike and len({run.seeds for run in runs}) == len(runs)


def _check_comparable(first_name: str, first: Sequence[Run], name: str, runs: Sequence[Run]) -> None:
    if {run.store for run in runs} != {run.store for run in first}:
        raise UserError(f"{name}: trained on another store than {first_name}; compare runs on the same cells")
    if {run.split for run in runs} == {run.split for run in first}:
        return
    ours, theirs = _tested(runs), _tested(first)
    raise UserError(
        f"{name}: tested on other conditions than {first_name} ("
        + "; ".join(
            f"only {who}: {listed(sorted(extra), 3)}"
            for who, extra in ((name, ours - theirs), (first_name, theirs - ours))
            if extra
        )
        + (f"{len({r.split for r in runs})} splits against {len({r.split for r in first})}" if ours == theirs else "")
        + "); compare runs of the same splits"
    )


def _tested(runs: Sequence[Run]) -> set[str]:
    return {condition for run in runs for condition in run.table.index.get_level_values("condition")}


def _names(names: Sequence[str], runs: Sequence[Run]) -> list[str]:
    """Folder names, with as much of the path as tells them apart, and the model where models differ."""
    if len(set(names)) < len(names):
        names = [str(run.path) for run in runs]
    if len({run.model for run in runs}) == 1:
        return list(names)
    return [f"{name} ({run.model})" if run.model != name else name for name, run in zip(names, runs, strict=True)]


def _entry(name: str, runs: Sequence[Run], method: str | None) -> Entry:
    """An entry of the runs' own models, or of one method of their tables, the same in all runs of a split."""
    frames: dict[tuple[str, int], pd.DataFrame] = {}
    for run in runs:
        methods = run.table.index.get_level_values("method").unique()
        if method is not None and method not in methods:
            raise UserError(f"--with {method}: not in the table of {run.path}; {suggest(method, list(methods))}")
        if method is None or run.split not in {split for split, _ in frames}:
            frames[run.split, len(frames)] = run.table.loc[method or run.model]
    scores = pd.concat(frames, names=["split", "run"])
    macro = scores.groupby(level="run").mean()
    return Entry(name, scores.groupby(level=["condition", "split"]).mean(), macro)
