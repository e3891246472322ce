"""How long a call takes, and how long an update of a stage takes in the training's own loop."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from scbig_dist.models.scbig import ScBIG
from scbig_dist.train.autoencoder_stage import AutoencoderStage
from scbig_dist.train.context import LocalContext
from scbig_dist.train.experiment import Experiment
from scbig_dist.train.flow_stage import FlowStage
from scbig_dist.train.log import RunLog
from scbig_dist.train.loop import run_stage

# Calls or updates that are timed: at least and at most; fewer where they take longest.
LEAST, MOST, SECONDS, LONGEST = 6, 300, 2.5, 6.0
WARM = 2  # updates before those that are timed: they touch fresh memory, and compile where asked to


class Timer:
    """Mean seconds of a call, the GPU's queue emptied around it: a training takes the sum, not the median."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()

    def __call__(self, call: Callable[[], object]) -> float:
        call()  # the first touches fresh memory
        began = self.now()
        for n in range(1, MOST + 1):
            call()
            passed = self.now() - began
            if enough(n, passed):
                break
        return passed / n


def enough(n: int, seconds: float) -> bool:
    """Whether `n` repetitions that took `seconds` say what one costs."""
    return n >= MOST or (n >= LEAST and seconds > SECONDS) or seconds > LONGEST


class _Enough(Exception):
    """Ends a stage that has been timed."""


def seconds_of_updates(
    model: ScBIG, stage: AutoencoderStage | FlowStage, experiment: Experiment, context: LocalContext, kinds: int
) -> list[float]:
    """Mean seconds from update to update of the loop, by kind: update i is of kind i modulo `kinds`."""
    timer, ends = Timer(context.device), list[float]()

    def watch(done: int) -> bool:
        """Called by the loop after every update."""
        ends.append(timer.now())
        if done >= WARM + 1 and enough((done - WARM) // kinds, (ends[-1] - ends[WARM - 1]) / kinds):
            raise _Enough
        return False

    stage.n_steps, stage.is_check = 10**9, watch  # type: ignore[assignment, method-assign]
    with tempfile.TemporaryDirectory(prefix="scbig-scale-") as folder:
        log = RunLog(Path(folder), progress=False)
        try:
            run_stage(model, stage, experiment.config, context, Path(folder) / "checkpoints", log)
        except _Enough:
            pass
        finally:
            log.close()
    seconds = np.diff(ends[WARM - 1 :])
    first = WARM % kinds  # the kind of the first of them
    return [float(seconds[(kind - first) % kinds :: kinds].mean()) for kind in range(kinds)]
