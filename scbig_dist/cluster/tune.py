"""A study run by Ray Tune: trials side by side, each a run of its own, one table at the end."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
import yaml
from optuna.exceptions import StorageInternalError
from ray import tune
from ray.tune import FailureConfig, PlacementGroupFactory, RunConfig, TuneConfig, Tuner
from ray.tune.progress_reporter import TrialProgressCallback
from sqlalchemy.exc import SQLAlchemyError

from scbig_dist.artifacts import write_text
from scbig_dist.artifacts.place import settled_root
from scbig_dist.cluster.causes import reason
from scbig_dist.cluster.deaths import Deaths
from scbig_dist.cluster.folder import make_folder, require_folder
from scbig_dist.cluster.outlook import artifact_root, kept_root, print_outlook
from scbig_dist.cluster.plan import Plan, make_plan
from scbig_dist.cluster.resources import (
    Needs,
    check_placeable,
    driver_bundle,
    local_node,
    n_concurrent,
    needs_of,
    nodes,
    trial_bundle,
)
from scbig_dist.cluster.search import StudySearch, open_optuna
from scbig_dist.cluster.session import Session, ray_session
from scbig_dist.cluster.shared import require_shared, require_shared_run
from scbig_dist.cluster.show import Board, print_plan
from scbig_dist.cluster.storage import Storage, choose_storage, kept_storage, open_storage
from scbig_dist.cluster.study import read_study
from scbig_dist.cluster.study_schema import STUDY_SCHEMA, schema_of
from scbig_dist.cluster.timing import timing_task
from scbig_dist.cluster.trial import run_trial, scoring_task
from scbig_dist.cluster.trials import ERROR_FILE, TIMES, Row, rows_for_test, trial_dir, write_row, write_table
from scbig_dist.config import Config
from scbig_dist.errors import UserError, amount
from scbig_dist.settings import flatten
from scbig_dist.store.files import is_uri

# Fields of study.yaml that may change between sittings; storage has a rule of its own.
UNLIKE = ("hash", "n_trials", "store", "artifacts", "storage", "storage_name")


def run_sweep(
    study_path: Path,
    out: Path,
    overrides: Mapping[str, Any] | None = None,
    *,
    resume: bool = False,
    dry_run: bool = False,
    address: str | None = None,
    n_trials: int | None = None,
    scale: str | None = None,
    artifacts: str | None = None,
    storage: str | None = None,
    estimate: bool = True,
) -> None:
    """Run a study to its end in `out`; `dry_run` prints what would be run and touches nothing.

    `artifacts` is where trials share finished stages: a path or a URI; None: where they did, else `out/artifacts`.
    `storage` is the URL of the database of the search; None: the one it was begun with, else `out/study.db`.
    `estimate`: a dry run times a few steps.

    Everything that can be known to be wrong is a UserError before the first trial. Ctrl-C
    leaves a study that `resume` continues: trials that ended are kept, those that had begun
    go on from their checkpoints, and successive halving remembers its rungs.
    """
    study = read_study(study_path, scale, n_trials)
    plan = make_plan(study, study_path, overrides or {})
    out = out.resolve()
    database = choose_storage(storage, out)
    needs = _needs(plan)
    if dry_run:
        print_plan(plan, needs, None if address else [local_node()])
        if n_ended := _n_ended(out):
            print(f"{amount(n_ended, 'trial')} have ended in {out}" if n_ended > 1 else f"1 trial has ended in {out}")
        if study.timed != "only":
            print_outlook(plan, artifacts or artifact_root(out), estimate)
        return
    root = None if artifacts is None else settled_root(artifacts)
    require_folder(out, "-o")
    if root is not None and not is_uri(root):
        require_folder(Path(root), "--artifacts")
    _check_out(out, plan, resume)
    if database.url is not None:
        open_storage(database, out).engine.dispose()  # known to answer before Ray starts, which takes seconds
    if address is None:
        check_placeable(needs, [local_node()], "a trial")  # known before Ray starts, which takes seconds
    with _placed(address, needs, out, plan, root) as session, _claimed(out, plan, root, database):
        board = Board(plan, out, session.dashboard)
        write_text(out / "ray.json", json.dumps({"dashboard": session.dashboard}))  # `scbig dashboard` joins it
        rows = write_table(out, study)
        board.open(rows, _at_once(plan, needs))
        n_left = plan.n_trials
        try:
            n_left = _run_trials(plan, out, needs, board)
            _score_on_test(plan, out, board)
            _time_alone(plan, out, board)
        finally:
            rows = write_table(out, study)
            board.close(rows, n_left)
            shutil.rmtree(out / "ray", ignore_errors=True)  # Tune's own notes, of no use to a study that goes on
    if rows and all(row["status"] == "failed" for row in rows):
        raise UserError(
            f"{out}: every trial failed, the last of them with {rows[-1]['error']}; see trials/*/{ERROR_FILE}, "
            "put it right and begin another study with -o: a trial that has failed is not tried again"
        )


@contextmanager
def _placed(address: str | None, needs: Sequence[Needs], out: Path, plan: Plan, root: str | None) -> Iterator[Session]:
    """Ray, with room for the trials, and with storage that all its nodes share."""
    with ray_session(address, dashboard=True) as session:
        check_placeable(needs, nodes(), "a trial")
        if address is not None:
            require_shared_run(out, plan.base)
            if root is not None and not is_uri(root):
                require_shared(Path(root), [], "--artifacts")
        yield session


def _needs(plan: Plan) -> list[Needs]:
    """What the trials ask for, each kind once: train.workers and the like may be axes."""
    return list(dict.fromkeys(needs_of(config) for config in plan.extremes()))


def _at_once(plan: Plan, needs: Sequence[Needs]) -> int:
    """Trials at the same time: as many as fit, or fewer where the study says so."""
    limit = 1 if plan.study.timed == "only" else plan.study.at_once
    return n_concurrent(needs, nodes()) if limit is None else min(limit, n_concurrent(needs, nodes()))


def _check_out(out: Path, plan: Plan, resume: bool) -> None:
    """Refuse a directory that holds something else, or a study that is not this one."""
    kept = out / "study.yaml"
    if not kept.is_file():
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise UserError(f"{out}: exists and is not a study; name another directory with -o")
        return
    if not resume:
        raise UserError(
            f"{out}: already holds a study; add --resume to go on with it, or name another directory with -o"
        )
    begun = yaml.safe_load(kept.read_text())
    if schema_of(begun) != STUDY_SCHEMA:
        raise UserError(
            f"{out}: begun by another version (schema {schema_of(begun)}, this one writes {STUDY_SCHEMA}); "
            "go on with that version, or begin another study with -o"
        )
    if plan.n_trials < (n_ended := _n_ended(out)):
        raise UserError(f"{out}: {n_ended} trials have ended there; name as many or more, not {plan.n_trials}")
    before, now = _flat(begun), _flat(plan.record())
    changed = [key for key in {**before, **now} if before.get(key) != now.get(key) and key.split(".")[0] not in UNLIKE]
    if changed:
        shown = "; ".join(f"{key}: {before.get(key)!r} → {now.get(key)!r}" for key in changed[:4])
        more = f"; and {len(changed) - 4} more" if len(changed) > 4 else ""
        raise UserError(
            f"{out}: the study has changed since it began ({shown}{more}); undo that, or begin another with -o"
        )


def _n_ended(out: Path) -> int:
    return len(list((out / "trials").glob("*/trial.json")))


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key.removeprefix("config."): value for key, value in flatten(record).items()}


@contextmanager
def _claimed(out: Path, plan: Plan, root: str | None, database: Storage) -> Iterator[None]:
    """The study's directory, for one sweep at a time."""
    make_folder(out / "trials", "-o")
    with open(out / ".lock", "w") as lock:
        try:
            fcntl.flock(
                lock, fcntl.LOCK_EX | fcntl.LOCK_NB
            )  # let go by the system when this process ends, however it does
        except BlockingIOError:
            raise UserError(f"{out}: another sweep is at work there; wait for it, or stop it with Ctrl-C") from None
        record = plan.record() | {"artifacts": root or kept_root(out)} | database.record()
        write_text(out / "study.yaml", yaml.safe_dump(record, sort_keys=False, allow_unicode=True))
        yield


class _Silence(TrialProgressCallback):
    """In place of Tune's own, which prints a line for every trial that reports nothing, at any verbosity."""

    def _print(self, msg: str) -> None:
        pass


def _run_trials(plan: Plan, out: Path, needs: Sequence[Needs], board: Board) -> int:
    """Run those that have not ended; how many are left all the same, as after Ctrl-C."""

    def ended(row: Row) -> None:
        board.ended(row, write_table(out, plan.study))

    optuna_study = open_optuna(plan, out)
    search = StudySearch(plan, out, optuna_study, ended)
    if search.n_left == 0:
        return 0

    def resources(task: Mapping[str, Any]) -> PlacementGroupFactory:
        config = plan.base if task.get("config") is None else Config.model_validate_json(task["config"])
        bundle = driver_bundle() if plan.study.timed == "only" else trial_bundle(config)
        return PlacementGroupFactory([bundle])

    tuner = Tuner(
        tune.with_resources(run_trial, resources),
        tune_config=TuneConfig(
            search_alg=search,
            num_samples=search.n_left,
            max_concurrent_trials=_at_once(plan, needs),
            reuse_actors=True,  # imports and the network of interactions take seconds: once per process, not per trial
            trial_dirname_creator=lambda trial: f"trial-{trial.trial_id}",
        ),
        run_config=RunConfig(
            name=f"tune-{os.getpid()}",
            storage_path=str(out / "ray"),
            verbose=0,
            failure_config=FailureConfig(max_failures=-1),  # Deaths decides
            callbacks=[Deaths(out, search, board), _Silence()],
        ),
    )
    with _database_kept(out):
        tuner.fit()
    return search.n_left


@contextmanager
def _database_kept(out: Path) -> Iterator[None]:
    """A UserError where the database of the search went away while trials ran, and not what Tune makes of it."""
    try:
        yield
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, StorageInternalError | SQLAlchemyError):
            cause = cause.__cause__ or cause.__context__
        if cause is None:
            raise
        where = kept_storage(out).at(out)
        raise UserError(
            f"--storage {where}: the database does not answer any more; trials keep what they have: start it, then go on with --resume"
        ) from error


def _time_alone(plan: Plan, out: Path, board: Board) -> None:
    """Time the steps of every finished trial, where the study asks for it: one by one, each once."""
    rows = write_table(out, plan.study) if plan.study.timed == "alone" else []
    waiting = [row for row in rows if row["status"] == "finished" and row.get(TIMES[0]) is None]
    board.timing(len(waiting))
    for row in waiting:
        config = plan.config({address: row[address] for address in plan.study.addresses if address in row})
        run = trial_dir(out, row["trial"])
        try:
            times = ray.get(timing_task(config).remote(config.model_dump_json(), str(run)))
        except Exception as error:  # what cannot be timed keeps its scores
            lines = str(error).strip().splitlines() or [type(error).__name__]
            write_row(out, row | {"reason": f"its steps could not be timed: {lines[-1]}"})
        else:
            write_row(out, row | times)


def _score_on_test(plan: Plan, out: Path, board: Board) -> None:
    """Score on test what is to be scored and has not been: each trial once, after the choice."""
    waiting: dict[ray.ObjectRef, Row] = {}
    for row in rows_for_test(write_table(out, plan.study), plan.study):
        if not any(key.startswith("test_") for key in row):
            task = scoring_task(
                plan.config({address: row[address] for address in plan.study.addresses if address in row})
            )
            waiting[task.remote(trial_dir(out, row["trial"]))] = row
    board.scoring(len(waiting))
    while waiting:
        [done], _ = ray.wait(list(waiting), num_returns=1)
        row = waiting.pop(done)
        try:
            scores = {f"test_{metric}": value for metric, value in ray.get(done).items()}
        except Exception as error:  # a trial that cannot be scored keeps its validation scores
            row = row | {"reason": f"test could not be scored: {reason(error)}"}
        else:
            row = row | scores
        write_row(out, row)
        board.scored(row)
