"""What share of its time the training loop waits for cells, beside what making them in the step would cost."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.common import table
from benchmarks.random_model import build
from scbig_dist.config import Config
from scbig_dist.models.scbig import ScBIG
from scbig_dist.settings import load_config
from scbig_dist.store.reader import Store
from scbig_dist.train.autoencoder_stage import AutoencoderStage
from scbig_dist.train.context import LocalContext
from scbig_dist.train.experiment import Experiment, open_experiment, settle
from scbig_dist.train.flow_stage import FlowStage
from scbig_dist.train.log import RunLog
from scbig_dist.train.loop import run_stage

GOAL = 0.02
CONFIGS = Path(__file__).parents[1] / "configs"
# Few training conditions: their latents are computed before the first step of stage 2.
COMMON = {"split.kind": "holdout", "split.n_test": 150, "split.n_val": 1, "align.lambda_path": 0, "train.threads": 1}
WARM = 2  # steps before those whose making is timed


@dataclass(frozen=True)
class Case:
    name: str
    preset: str
    n_hvg: int
    stage: str
    n_steps: int
    values: dict[str, Any]


CASES = (
    Case("stage 1, laptop preset (batch 64)", "cpu_small", 2000, "autoencoder", 150, {}),
    Case("stage 1, the paper's (batch 256)", "norman_additive", 2000, "autoencoder", 5, {}),
    Case("stage 1, the paper's (batch 256)", "norman_additive", 10_000, "autoencoder", 3, {}),
    Case("stage 2, laptop preset, latents resident", "cpu_small", 2000, "flow", 150, {}),
    Case(
        "stage 2, the encoder learns (2 × 256 cells)", "cpu_small", 2000, "flow", 20, {"flow.train_autoencoder": True}
    ),
)


def waiting(store: Store) -> str:
    """The section's part on the training loop."""
    lines, worst = [], 0.0
    for case in CASES:
        config = settle(load_config(CONFIGS / f"{case.preset}.yaml", _values(store, case)))
        experiment = open_experiment(config)
        model = build(experiment.config, experiment.n_genes, len(experiment.targets))
        make, cost = _measure(experiment, model, case)
        assert cost["step_ms"] is not None and cost["data_wait"] is not None
        worst = max(worst, cost["data_wait"])
        inside = make / (make + cost["step_ms"])
        lines.append(
            [
                case.name,
                f"{experiment.n_genes:,}",
                f"{cost['step_ms']:.1f}",
                f"{make:.2f}",
                f"{inside:.1%}",
                f"{cost['data_wait']:.2%}",
            ]
        )
    header = [
        "training, one thread",
        "genes",
        "step, ms",
        "making its batches, ms",
        "share if made in the step",
        "data wait",
    ]
    return (
        "**The training loop** (random weights, the real loop and store; batches are made in a thread while the step runs). "
        f"Data wait < {GOAL:.0%}: {'met' if worst < GOAL else 'not met'}, {worst:.2%} at most.\n\n{table(header, lines)}"
    )


def _values(store: Store, case: Case) -> dict[str, Any]:
    wide = {"panel.n_hvg": case.n_hvg if case.n_hvg < len(store.genes) else None}
    return {"store": str(store.path), **COMMON, **wide, **case.values}


def _measure(experiment: Experiment, model: ScBIG, case: Case) -> tuple[float, dict[str, float | None]]:
    """Milliseconds that one step's batches take to make, and what the loop says of itself."""
    context = LocalContext()
    stage: AutoencoderStage | FlowStage
    if case.stage == "autoencoder":
        stage = AutoencoderStage(experiment, context)
    else:
        stage = FlowStage(experiment, model, context)
    stage.n_steps = WARM + case.n_steps
    stage.is_check = _never  # type: ignore[method-assign]
    took = []
    for step in range(WARM + min(case.n_steps, 30)):
        began = time.perf_counter()
        for _ in stage.micro_batches(step):
            pass
        took.append(time.perf_counter() - began)
    with tempfile.TemporaryDirectory() as folder:
        cost = run_stage(model, stage, _no_checkpoints(experiment.config), context, Path(folder), RunLog(None, False))
    return 1e3 * sorted(took[WARM:])[len(took[WARM:]) // 2], cost


_never: Callable[[int], bool] = lambda step: False  # noqa: E731


def _no_checkpoints(config: Config) -> Config:
    return config.model_copy(update={"train": config.train.model_copy(update={"checkpoint_every": 10**9})})
