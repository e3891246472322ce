"""Studies on disk as a sweep leaves them, and a dashboard that answers, for the tests of the dashboard."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from scbig_dist.cluster.study_schema import STUDY_SCHEMA
from scbig_dist.config import Config
from scbig_dist.dashboard import blocks as b
from scbig_dist.dashboard.cluster import ClusterReader
from scbig_dist.dashboard.pages import Pages, place_of
from scbig_dist.dashboard.study import Snapshot, name_studies
from scbig_dist.settings import flatten

ROOT = Path(__file__).resolve().parents[1]
BEGAN = 1_700_000_000.0


def write_study(path: Path, n_trials: int = 6, **fields: Any) -> Path:
    """An empty study of a grid K × M."""
    (path / "trials").mkdir(parents=True)
    asked = {"schema": STUDY_SCHEMA, "hash": "0", "n_trials": n_trials, "store": "stores/x"}
    asked |= {"axes": {"grc.n_modules": [4, 8], "gcae.n_inducing": [2, 4, 8]}, "points": {}, "sampler": "grid"}
    asked |= {"metric": "val_pearson_delta", "mode": "max", "stopping": None, "published": None}
    base = flatten(Config().model_dump()) | {"flow.steps": 1000, "train.threads": 1}
    (path / "study.yaml").write_text(yaml.safe_dump(asked | fields | {"config": base}, sort_keys=False))
    return path


def write_trial(
    study: Path, trial: str, score: float | None, status: str = "finished", budget: int = 1000, began: float = BEGAN,
    seconds: float = 60.0, values: Mapping[str, Any] | None = None, row: bool = True, log: str | None = None, **more: Any,
) -> Path:  # fmt: skip
    """A trial with a log of both stages and, where it has ended, its row."""
    values = {"grc.n_modules": 4, "gcae.n_inducing": 2} if values is None else values
    run = study / "trials" / trial
    run.mkdir(parents=True)
    tree = Config().model_dump()
    for address, value in values.items():
        section, key = address.split(".")
        tree[section][key] = value
    (run / "config.yaml").write_text(yaml.safe_dump(tree))
    os.utime(run / "config.yaml", (began, began))
    records = [
        {"stage": "autoencoder", "step": s, "micro_step": s, "loss": 1 / (1 + s), "seconds": s / 2, "time": began + s}
        for s in range(1, 11)
    ]
    for i in range(1, 11):
        step, share = budget * i // 10, i / 10
        record = {
            "stage": "flow",
            "step": step,
            "micro_step": step,
            "loss": 1 - share / 2,
            "step_ms": 5.0,
            "cells_per_s": 1e4,
            "data_wait": 0.01,
        }
        record |= {"peak_mem_gb": 1.0, "seconds": i, "time": began + 10 + share * (seconds - 10)}
        if score is not None and i % 2 == 0:
            record["val_pearson_delta"] = score * share
        records.append(record)
    (run / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records) if log is None else log)
    if row:
        kept = {
            "trial": trial,
            "name": "",
            "status": status,
            "reason": "",
            **values,
            "val_pearson_delta": score,
            "budget": budget,
        }
        kept |= {"seconds_total": seconds, "peak_mem_gb": 1.0, "step_ms": 5.0, "error": ""}
        (run / "trial.json").write_text(json.dumps(kept | more))
    return run


def snapshot(path: Path) -> Snapshot:
    return next(iter(name_studies([path]).values())).snapshot()


def pages_of(*paths: Path) -> Pages:
    return Pages(name_studies(paths), ClusterReader())


def blocks_of(path: Path, page: str = "", **query: str) -> list[b.Block]:
    pages = pages_of(path)
    name = next(iter(pages.readers))
    return pages.blocks(place_of(f"/study/{name}/{page}", pages), query)


def words(blocks: list[b.Block]) -> str:
    """Everything that a page says, for a test to look in."""
    return "\n".join(
        repr(replace(block, figure=None) if isinstance(block, b.Chart) else block) for block in b.flat(blocks)
    )


def get(url: str, **headers: str) -> tuple[int, str, Mapping[str, str]]:
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), dict(error.headers)


@contextmanager
def serving(*studies: Path, options: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """(URL, token) of a dashboard in a process of its own."""
    from cluster_cases import free_port

    code = "import sys; from scbig_dist.cli import main; sys.argv[0] = 'scbig'; main()"
    command = [sys.executable, "-u", "-c", code, "dashboard", *map(str, studies), "--port", str(free_port()), *options]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
    try:
        assert process.stdout is not None and process.stderr is not None
        line = process.stdout.readline()
        assert line.startswith("dashboard: http"), line + process.stderr.read()
        token = (
            process.stdout.readline().removeprefix("token: ").strip()
            if "--host" in options or "--token-file" in options
            else ""
        )
        url = line.split()[1]
        for _ in range(100):
            try:
                get(url)
                break
            except OSError:
                time.sleep(0.1)
        yield url.rstrip("/"), token
    finally:
        process.terminate()
        process.wait(timeout=20)
