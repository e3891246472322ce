"""One trial of a study, inside a Ray Tune function: train, score on validation, leave a row."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.integration.ray_train import TuneReportCallback
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from scbig_dist.artifacts import write_text
from scbig_dist.cluster.attempts import note_attempt
from scbig_dist.cluster.causes import reason
from scbig_dist.cluster.newcomers import await_storage
from scbig_dist.cluster.objectives import Row
from scbig_dist.cluster.outlook import artifact_root
from scbig_dist.cluster.resources import needs_of
from scbig_dist.cluster.seed_rows import mean_scores, over_seeds
from scbig_dist.cluster.timing import timing_task
from scbig_dist.cluster.train import fit
from scbig_dist.cluster.trials import ERROR_FILE, ROW_FILE, STOP_FILE, make_row, read_json, trial_dir, write_row
from scbig_dist.config import Config
from scbig_dist.errors import UserError
from scbig_dist.evaluate import evaluate_run, validation_scores
from scbig_dist.models.names import method_name
from scbig_dist.settings import load_config
from scbig_dist.train.context import LocalContext, StopTraining
from scbig_dist.train.log import release_memory
from scbig_dist.train.run import train_run
from scbig_dist.train.seeds import claim_seeds, seed_runs


class TuneContext(LocalContext):
    """A one-worker trial: reports go to Tune, whose searcher may have asked this trial to stop."""

    def __init__(self, run: Path, gpus: float) -> None:
        super().__init__(gpus)
        self._run = run

    def report(self, record: dict[str, float], checkpoint: Path | None) -> None:
        tune.report(dict(record))  # returns once the searcher has seen it
        if (self._run / STOP_FILE).exists():
            raise StopTraining(f"stopped by the scheduler ({self._run / STOP_FILE})")


def run_trial(task: dict[str, Any]) -> None:
    """Tune's function. `task`: study (directory), trial (its name), name, values, seeds (how many), timed (the
    study's), config (JSON), asked (when the searcher named it).

    Ends without an exception whatever happens to the training: the row says it. Only the
    death of the process reaches Tune, which then calls this again, and the run goes on.
    """
    study_dir = Path(task["study"])
    await_storage(study_dir)
    run = trial_dir(study_dir, task["trial"])
    if (run / ROW_FILE).exists():
        return
    note_attempt(run)
    if task["config"] is None:
        row = _failed(run, task, UserError(task["error"])) | {"seconds_total": 0.0}
    elif task["seeds"] == 1:
        row = _run(Config.model_validate_json(task["config"]), run, task)
    else:
        row = _run_seeds(Config.model_validate_json(task["config"]), run, task)
    write_row(study_dir, row | {"ended": time.time()})  # the file is written again when test is scored


def _run_seeds(config: Config, trial: Path, task: dict[str, Any]) -> Row:
    """A run per seed, one after the other, as `train --seeds` leaves them. The scheduler watches the first."""
    rows: list[Row] = []
    for run, its in claim_seeds(trial, config, task["seeds"], resume=True):
        row = read_json(run / ROW_FILE)
        if not row:
            row = _run(its, run, task, watched=not rows)
            write_text(run / ROW_FILE, json.dumps(row, indent=1))
        rows.append(row)
        if row["status"] != "finished":
            break
    return over_seeds(trial.name, rows, task["seeds"])


def _run(config: Config, run: Path, task: dict[str, Any], watched: bool = True) -> Row:
    """One training with its scores on validation; a row whatever becomes of it."""
    began, is_new = time.time(), not (run / "config.yaml").exists()
    release_memory()  # what an earlier trial of this process has left
    try:
        if task["timed"] == "only":
            row = make_row(run, task["name"], task["values"], "finished") | _time(config, run)
        else:
            study_dir = Path(task["study"])
            stopped = _train(config, run, study_dir, watched)
            status, scores = ("stopped", {}) if stopped else ("finished", _validate(config, run, study_dir))
            row = make_row(run, task["name"], task["values"], status, stopped)
            row |= {f"val_{metric}": value for metric, value in scores.items()}
    except Exception as error:  # whatever it is, it is this trial's end and the study's next row
        row = _failed(run, task, error)
    # Stages count their time over interruptions, this process does not.
    reused = read_json(run / "run.json")
    stages = sum((row[f"seconds_{s}"] or 0.0) * (not reused.get(f"{s}_reused")) for s in ("autoencoder", "flow"))
    if row["seconds_to_first_step"] is not None and is_new and watched:
        row["seconds_to_first_step"] += began - task["asked"]  # from the searcher's answer on: process, imports, model
    return row | {"seconds_total": max(time.time() - began, stages)}


def _failed(run: Path, task: dict[str, Any], error: Exception) -> Row:
    line = reason(error)
    with suppress(OSError):  # a full disk: the row says it, and is small
        run.mkdir(parents=True, exist_ok=True)
        (run / ERROR_FILE).write_text("".join(traceback.format_exception(error)))
    return make_row(run, task["name"], task["values"], "failed", f"see {ERROR_FILE}", line)


def _train(config: Config, run: Path, study_dir: Path, watched: bool) -> str:
    """Train to the end; a reason where the scheduler, if it watches, stopped it."""
    shared = artifact_root(study_dir)
    try:
        if not (run / STOP_FILE).exists():
            if needs_of(config).workers == 1:
                context = TuneContext(run, config.train.gpus) if watched else LocalContext(config.train.gpus)
                train_run(config, run, context, resume=True, artifact_root=shared, progress=False)
            else:
                callbacks = [TuneReportCallback()] if watched else []
                storage = study_dir / "ray"
                fit(config, run, resume=True, storage=storage, artifact_root=shared, callbacks=callbacks)
    except StopTraining:
        assert (run / STOP_FILE).exists()
    stop = read_json(run / STOP_FILE)
    return stop.get("reason", "") if not (run / "run.json").exists() else ""


def _time(config: Config, run: Path) -> dict[str, float]:
    """In a process of its own: this one has done other trials' work, and holds no CPU for its own."""
    outside = PlacementGroupSchedulingStrategy(placement_group=None)  # type: ignore[arg-type]
    return ray.get(timing_task(config).options(scheduling_strategy=outside).remote(config.model_dump_json(), str(run)))


def _validate(config: Config, run: Path, study_dir: Path) -> dict[str, float | None]:
    shared = artifact_root(study_dir)
    if needs_of(config).workers == 1:
        return validation_scores(run, shared)
    return ray.get(_where_a_worker_fits(config, validation_scores).remote(run, shared))


def scoring_task(config: Config) -> Any:
    """A Ray task that scores a run on test where one of its workers would fit: run -> scores of its model."""
    return _where_a_worker_fits(config, _test_scores)


def _where_a_worker_fits(config: Config, work: Callable[..., Any]) -> Any:
    bundle = needs_of(config).bundle()
    return ray.remote(work).options(
        num_cpus=bundle["CPU"],
        num_gpus=bundle.get("GPU", 0),
        memory=bundle.get("memory", 0),
        # Not inside the trial's own placement group, which holds no CPU where the trial only watches.
        scheduling_strategy=PlacementGroupSchedulingStrategy(placement_group=None),  # type: ignore[arg-type]
    )


def _test_scores(run: Path) -> dict[str, float | None]:
    """Scores of a run's model; of a directory of seeds their means, with `_sd` of each beside it."""
    if runs := seed_runs(run):
        return mean_scores([_test_scores(each) for each in runs])
    model = method_name(load_config(run / "config.yaml"))
    return evaluate_run(run, progress=False)[model]
