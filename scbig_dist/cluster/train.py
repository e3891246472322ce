"""One training on Ray Train: the same loop as in one process, on workers that average gradients."""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ray
import ray.train
import torch
import torch.distributed as dist
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer, get_device
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from scbig_dist.cluster.attempts import here, note_workers
from scbig_dist.cluster.causes import causes_of, first_cause, is_gone, is_loss
from scbig_dist.cluster.elastic import LEAVE_FILE, Growth, LeaveTraining, n_workers_now
from scbig_dist.cluster.node_sum import open_node_sum
from scbig_dist.cluster.resources import Needs, check_placeable, local_node, needs_of, nodes
from scbig_dist.cluster.session import ray_session
from scbig_dist.cluster.shared import require_shared_run
from scbig_dist.cluster.trials import STOP_FILE, read_json
from scbig_dist.cluster.watch import Watch
from scbig_dist.config import Config
from scbig_dist.errors import UserError
from scbig_dist.train.context import StopTraining, keep_to_share
from scbig_dist.train.log import PROGRESS
from scbig_dist.train.run import check_free
from scbig_dist.train.threads import use_threads

TIMEOUT_S = 86_400  # ranks wait at a barrier while another trial trains the autoencoder that they share
ONE_MESSAGE_MB = 4096  # more than any model's gradients
RESTARTS = 4  # of a training that lost workers, one after the other without a checkpoint between them


class RayWorkerContext:
    """A WorkerContext inside a Ray Train worker."""

    def __init__(self, run: Path, gpus: float = 0.0) -> None:
        context = ray.train.get_context()
        self.rank = context.get_world_rank()
        self.world_size = context.get_world_size()
        self.local_rank = context.get_local_rank()
        self._on_one_node = context.get_local_world_size() == self.world_size
        self.device: torch.device = get_device()
        keep_to_share(self.device, gpus)
        self._run = run

    def wrap(self, module: nn.Module, find_unused: bool = False) -> nn.Module:
        if self.world_size == 1 or not any(parameter.requires_grad for parameter in module.parameters()):
            return module
        on_gpu = self.device.type == "cuda"
        wrapped = DistributedDataParallel(
            module,
            device_ids=[self.device] if on_gpu else None,
            # On a GPU gradients travel while others are computed. On CPUs that takes the cores from the backward pass, and
            # each message costs a wait: all of them travel as one.
            bucket_cap_mb=None if on_gpu else ONE_MESSAGE_MB,
            find_unused_parameters=find_unused,
            # Buffers are constants of the model; sending them before every forward is work for nothing.
            broadcast_buffers=False,
            gradient_as_bucket_view=True,  # gradients lie where they are summed: a copy less
        )
        if not on_gpu and self._on_one_node:
            n = sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
            summing = open_node_sum(self.rank, self.world_size, n)
            if summing is not None:
                wrapped.register_comm_hook(None, summing.hook)
        return wrapped

    def sum(self, value: Tensor) -> Tensor:
        total = value.detach().clone()
        if self.world_size > 1:
            dist.all_reduce(total)
        return total

    def barrier(self) -> None:
        if self.world_size > 1:
            dist.barrier()

    def begin(self) -> None:
        """Leave a line in RUN that says where the workers are."""
        each: list[Any] = [None] * self.world_size
        if self.world_size > 1:
            dist.all_gather_object(each, here())
        else:
            each = [here()]
        if self.rank == 0:
            note_workers(self._run, each)

    def saved(self, last: bool) -> None:
        leave = torch.tensor(float(self.rank == 0 and (self._run / LEAVE_FILE).exists()), device=self.device)
        if self.sum(leave).item() > 0 and not last:  # one rank looks, so that all leave at the same step
            raise LeaveTraining(f"there is room for more workers ({self._run / LEAVE_FILE})")

    def report(self, record: dict[str, float], checkpoint: Path | None) -> None:
        """Metrics for Ray's views. Ray drops them without a checkpoint, so a pointer to RUN goes along."""
        if self.rank == 0:
            with tempfile.TemporaryDirectory() as folder:
                pointer = {"run": str(self._run), "checkpoint": None if checkpoint is None else str(checkpoint)}
                Path(folder, "pointer.json").write_text(json.dumps(pointer))
                ray.train.report(dict(record), checkpoint=Checkpoint.from_directory(folder))
        else:
            ray.train.report(dict(record))
        stop = torch.tensor(float(self.rank == 0 and (self._run / STOP_FILE).exists()), device=self.device)
        if self.sum(stop).item() > 0:  # one rank looks, so that all stop at the same step
            raise StopTraining(f"stopped by the scheduler ({self._run / STOP_FILE})")


def train_on_ray(
    config: Config,
    run: Path,
    address: str | None = None,
    resume: bool = False,
    artifact_root: Path | str | None = None,
    progress: bool = True,
) -> None:
    """`train_run` on `train.workers` Ray workers, on this machine or the cluster at `address`.

    A worker's UserError comes out as it went in. A lost worker is replaced and the run goes on
    from its newest checkpoint, however often, as long as it gets further.
    """
    needs = needs_of(config)
    if address is None:
        check_placeable([needs], [local_node()], "the run")  # known before Ray starts, which takes seconds
    with ray_session(address):
        check_placeable([needs], nodes(), "the run")
        run = run.resolve()
        if address is not None:
            require_shared_run(run, config)
        # Ray keeps a pointer to RUN per report, wanted while it trains; RUN itself is claimed by the training.
        storage = run.parent / f".{run.name}-ray"
        try:
            fit(config, run, resume=resume, storage=storage, artifact_root=artifact_root, progress=progress)
        finally:
            shutil.rmtree(storage, ignore_errors=True)


def scaling_of(needs: Needs, n_workers: int) -> ScalingConfig:
    """One placement group: a bundle per worker, on as few nodes as hold them, where gradients travel least."""
    return ScalingConfig(
        num_workers=n_workers,
        use_gpu=needs.gpus > 0,
        resources_per_worker=needs.bundle(),
        placement_strategy="PACK",
    )


def backend_of(needs: Needs) -> str:
    """NCCL refuses two ranks on one GPU, which workers with a part of a GPU may be."""
    return "nccl" if needs.gpus >= 1 else "gloo"


def fit(
    config: Config,
    run: Path,
    *,
    resume: bool,
    storage: Path,
    artifact_root: Path | str | None = None,
    progress: bool = False,
    callbacks: Sequence[Any] = (),
) -> None:
    """A TorchTrainer, begun again where a worker was lost and, of a range of workers, where there is room for more.

    The cause of any other end comes out as it was raised.
    """
    check_free(run, resume)
    needs = needs_of(config)
    lost, reached, watch = 0, read_json(run / PROGRESS), Watch(run, progress)
    while True:
        n_workers = n_workers_now(needs)
        trainer = TorchTrainer(
            _worker,
            train_loop_config={
                "config": config.model_dump_json(),
                "run": str(run),
                "artifact_root": None if artifact_root is None else str(artifact_root),
            },
            torch_config=TorchConfig(backend=backend_of(needs), timeout_s=TIMEOUT_S),
            scaling_config=scaling_of(needs, n_workers),
            run_config=RunConfig(
                # A name that Ray has seen continues its run; each of ours is new, and goes on from our checkpoints.
                name=f"train-{run.name}-{uuid.uuid4().hex[:8]}",
                storage_path=str(storage),
                # Of a range, a group that does not start is counted anew: Ray would wait for as many as there were.
                failure_config=FailureConfig(  # type: ignore[call-arg]  # Ray shows type checkers its older class
                    max_failures=0, controller_failure_limit=0 if needs.counts else -1
                ),
                checkpoint_config=CheckpointConfig(num_to_keep=1),
                callbacks=list(callbacks),
            ),
        )
        try:
            with Growth(needs, n_workers, run) as growth, watch:
                _fit_in_thread(trainer, (growth.look, watch.look))
            if not growth.asked or (run / "run.json").exists() or (run / STOP_FILE).exists():
                return
        except ray.train.TrainingFailedError as error:  # a busy machine can cost a group its place while it starts, too
            before, reached = reached, read_json(run / PROGRESS)
            lost = 1 if reached != before else lost + 1
            cause, causes = first_cause(error), causes_of(error)
            if lost > RESTARTS or not (any(is_gone(each) for each in causes) or all(is_loss(each) for each in causes)):
                if isinstance(cause, UserError):
                    raise UserError(str(cause)) from None
                raise cause from error


def _worker(task: dict[str, Any]) -> None:
    """What every worker does."""
    from scbig_dist.train.run import train_run

    config, run = Config.model_validate_json(task["config"]), Path(task["run"])
    use_threads(config.train.threads)
    context = RayWorkerContext(run, config.train.gpus)
    try:
        root = task["artifact_root"]
        train_run(config, run, context, resume=True, artifact_root=root, progress=False)  # Watch shows it to the person
    except (StopTraining, LeaveTraining):
        return  # the reason lies in STOP_FILE or LEAVE_FILE


def _fit_in_thread(trainer: TorchTrainer, looks: Sequence[Callable[[], None]]) -> None:
    """`fit` outside the main thread, where it would replace the handler of Ctrl-C; `looks` are called meanwhile."""
    outcome: list[BaseException] = []

    def call() -> None:
        try:
            trainer.fit()
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.2)
        for look in looks:
            look()
    if outcome:
        raise outcome[0]
