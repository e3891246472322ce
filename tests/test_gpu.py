"""On a GPU: the same numbers as on the CPU, stopped and resumed alike, in every arithmetic. Skipped where there is none."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from store_cases import config as store_config
from store_cases import screen, write
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from training_cases import TINY, Interrupted, make_store

from benchmarks.random_model import build, cell_batch, flow_batch
from scbig_dist.cluster.causes import reason
from scbig_dist.cluster.train import train_on_ray
from scbig_dist.flow.coupling import conditional_plan, relative_cost
from scbig_dist.half_steps import Potentials
from scbig_dist.models.scbig import ScBIG
from scbig_dist.settings import build_config, dump_config
from scbig_dist.store.build import build_store
from scbig_dist.store.reader import open_store
from scbig_dist.train.context import LocalContext
from scbig_dist.train.experiment import settle
from scbig_dist.train.predictor import load_predictor
from scbig_dist.train.residence import HostCells, ResidentCells, SparseCells, cell_source
from scbig_dist.train.run import train_run

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is visible")
GPU = torch.device("cuda", 0)
ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
SMALL: dict[str, Any] = {
    "grc.n_modules": 8, "gcae.width": 32, "gcae.n_blocks": 1, "gcae.n_heads": 4, "gcae.latent_dim": 10,
    "gcae.dropout": 0.0, "flow.dropout": 0.0, "flow.width": 64, "flow.condition_dim": 32, "flow.n_heads": 4,
    "flow.batch": 64, "flow.conditions_per_step": 2, "align.n_cells": 16, "priors.pathways": "a file",
}  # fmt: skip


def on_gpu(value: Any) -> Any:
    """A batch with its tensors on the GPU."""
    if isinstance(value, Tensor):
        return value.to(GPU)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return type(value)(**{field.name: on_gpu(getattr(value, field.name)) for field in dataclasses.fields(value)})
    return value


def gradients(model: ScBIG, stage: str, batch: Any) -> dict[str, Tensor]:
    """The loss of a batch and the gradient of every parameter that has one, on the CPU."""
    model.zero_grad(set_to_none=True)
    total = model.loss(stage, batch).total
    total.backward()
    found = {name: p.grad.cpu().clone() for name, p in model.named_parameters() if p.grad is not None}
    return found | {"the loss": total.detach().cpu().clone()}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_store(tmp_path_factory.mktemp("gpu")))


def settings(store: str, **values: Any) -> Any:
    named = {name.replace("__", "."): value for name, value in values.items()}
    return settle(build_config({"store": store, **TINY, "train.gpus": 1.0, **named}))


def train(store: str, run: Path, **values: Any) -> dict[str, Any]:
    train_run(settings(store, **values), run, LocalContext(1.0), progress=False)
    return json.loads((run / "run.json").read_text())


@pytest.mark.parametrize("largest", [255, 65_535])
def test_cells_are_those_of_the_host(tmp_path, largest):
    adata = screen(120, 60)
    adata.X.data = np.minimum(adata.X.data, 255)
    adata.X[3, 5] = largest
    build_store(write(adata, tmp_path), tmp_path / "store", store_config(), progress=False)
    cells = open_store(tmp_path / "store")
    train = np.arange(7, cells.n_cells)
    some, more = np.random.default_rng(0).choice(train, 50), np.random.default_rng(1).random((3, 60), dtype=np.float32)
    expected = HostCells(cells, 60)(some, more)
    source, note = cell_source(cells, train, 60, GPU)
    assert isinstance(source, ResidentCells) and note is not None and "stay on the GPU" in note
    for form in (source, SparseCells(cells, 60, GPU)):
        torch.testing.assert_close(form(some, more).cpu(), expected, rtol=1e-6, atol=0)


def compare(stage: str, coupling: str) -> None:
    """The loss and all gradients of a batch on the GPU, against those on the CPU."""
    config = build_config(SMALL | {"flow.coupling": coupling})
    model = build(config, n_genes=200)
    batch = cell_batch(64, 200)[0] if stage == "autoencoder" else flow_batch(config, model, align=True)
    expected = gradients(model, stage, batch)
    found = gradients(model.to(GPU), stage, on_gpu(batch))
    assert found.keys() == expected.keys()
    whole = max(float(value.norm()) for value in expected.values())
    for name, value in expected.items():
        off = float((found[name] - value).norm())
        assert off <= 1e-3 * float(value.norm()) + 1e-5 * whole, f"{name}: {off:.2e} of {float(value.norm()):.2e}"


@pytest.mark.parametrize("stage", ["autoencoder", "flow"])
@pytest.mark.parametrize("coupling", ["none", "exact"])
def test_loss_and_gradients_are_those_of_the_cpu(stage, coupling):
    """In a process of its own, as users run it: without the checks of shapes."""
    code = f"import test_gpu; test_gpu.compare({stage!r}, {coupling!r})"
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, env=ENVIRONMENT, capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("epsilon", [0.02, 1.0])
def test_the_plan_is_that_of_the_cpu(epsilon):
    generator = torch.Generator().manual_seed(0)
    x0, x1 = (torch.randn(3, 128, 10, generator=generator) + shift for shift in (0, 1))
    cost = relative_cost(x0, x1)
    plan, expected = conditional_plan(cost.to(GPU), epsilon).cpu(), conditional_plan(cost, epsilon)
    assert (plan - expected).abs().sum(2).max() < 0.02


@pytest.mark.parametrize("shape", [(64, 64), (7, 50), (130, 33), (1, 1)])
def test_potentials_are_those_of_the_cpu(shape):
    logits = -20 * torch.rand(shape, generator=torch.Generator().manual_seed(0))
    found = []
    for leaf in (logits.double(), logits.to(GPU)):
        leaf.requires_grad_()
        row, column = Potentials.apply(leaf, 50)
        (row.square().sum() + column.sum()).backward()
        found.append([each.detach().cpu().double() for each in (row, column, leaf.grad)])
    for expected, value in zip(*found, strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-4)


class StopsAtSaved(LocalContext):
    """Ends the training at its n-th checkpoint."""

    def __init__(self, n: int) -> None:
        super().__init__(1.0)
        self._left = n

    def saved(self, last: bool) -> None:
        self._left -= 1
        if self._left == 0:
            raise Interrupted


def assert_close(one: Path, other: Path, rtol: float = 1e-3, atol: float = 1e-4) -> None:
    """The weights of two runs; sums of a GPU's threads have no fixed order."""
    left, right = (load_file(run / "model" / "weights.safetensors") for run in (one, other))
    assert left.keys() == right.keys()
    for name, value in left.items():
        torch.testing.assert_close(
            right[name], value, rtol=rtol, atol=atol, msg=lambda text, name=name: f"{name}: {text}"
        )


DROPOUT = {"gcae__dropout": 0.1, "flow__dropout": 0.1, "align__every": 3}


@pytest.mark.parametrize("n", [2, 7])
def test_resumed_equals_never_stopped(store, tmp_path, n):
    train(store, tmp_path / "whole", **DROPOUT)
    with pytest.raises(Interrupted):
        train_run(settings(store, **DROPOUT), tmp_path / "cut", StopsAtSaved(n), progress=False)
    train_run(settings(store, **DROPOUT), tmp_path / "cut", LocalContext(1.0), resume=True, progress=False)
    assert_close(tmp_path / "whole", tmp_path / "cut")


@pytest.mark.parametrize(
    ("learns", "precision"),
    [
        (False, "float32"),
        (False, "bfloat16"),
        (True, "float32"),
    ],  # what rounding does to a pair, an encoder that learns multiplies
)
def test_graphs_are_the_operations_one_by_one(store, tmp_path, learns, precision):
    """Dropout included: a graph draws what its operations would have drawn."""
    values = DROPOUT | {"train__precision": precision, "flow__train_autoencoder": learns}
    values |= {} if learns else {"shift__head": "network", "shift__steps": 20}
    for graphs in (True, False):
        train(store, tmp_path / str(graphs), train__graphs=graphs, **values)
    assert_close(tmp_path / "True", tmp_path / "False", atol=1e-4 if precision == "float32" else 3e-3)


@pytest.mark.parametrize("learns", [False, True])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_training_ends_where_the_cpu_ends(store, tmp_path, precision, learns):
    values = {"flow__train_autoencoder": learns, "align__every": 2}
    summary = train(store, tmp_path / "gpu", train__precision=precision, **values)
    assert torch.cuda.get_device_name() in summary["hardware"] and summary["peak_gpu_gb"] > 0
    train_run(settings(store, train__gpus=0.0, **values), tmp_path / "cpu", LocalContext(), progress=False)
    scores = {}
    for name in ("gpu", "cpu"):
        lines = [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        scores[name] = next(line["val_mse"] for line in reversed(lines) if "val_mse" in line)
    # Of an encoder that learns another seed alone moves it by a tenth, and rounding makes it another one.
    spread = 0.2 if learns and precision == "bfloat16" else 0.1
    assert scores["gpu"] == pytest.approx(scores["cpu"], rel=spread)
    predictor = load_predictor(tmp_path / "gpu")
    assert np.isfinite(predictor.predict(predictor.split.test[0], 40, seed=1)).all()


def test_compiled_code_goes_into_the_graphs(store, tmp_path):
    """In a process of its own: the checks of shapes in these tests cannot be compiled."""
    train(store, tmp_path / "plain")
    config = settings(store, train__compile=True)
    (tmp_path / "config.yaml").write_text(dump_config(config))
    code = (
        "import sys; from pathlib import Path; from scbig_dist.settings import load_config\n"
        "from scbig_dist.train.context import LocalContext; from scbig_dist.train.run import train_run\n"
        "if __name__ == '__main__':\n"
        "    train_run(load_config(Path(sys.argv[1]), {}), Path(sys.argv[2]), LocalContext(1.0), progress=False)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "config.yaml"), str(tmp_path / "compiled")]
    subprocess.run(command, check=True)
    assert_close(tmp_path / "plain", tmp_path / "compiled")


def test_gradients_through_nccl_are_the_same():
    config = build_config(SMALL | {"flow.coupling": "none"})
    model = build(config, n_genes=200).to(GPU)
    batch = on_gpu(cell_batch(64, 200)[0])
    expected = gradients(model, "autoencoder", batch)["the loss"]
    dist.init_process_group("nccl", store=dist.HashStore(), rank=0, world_size=1)
    try:
        wrapped = DistributedDataParallel(model.autoencoder, device_ids=[GPU], gradient_as_bucket_view=True)
        loss = (wrapped(batch.x) - batch.x).square().sum() / (batch.n_mean * batch.x.shape[1])
        loss.backward()
        total = torch.ones(3, device=GPU)
        dist.all_reduce(total)
        assert total.tolist() == [1, 1, 1]
        torch.testing.assert_close(loss.detach().cpu(), expected)
    finally:
        dist.destroy_process_group()


@pytest.mark.ray
@pytest.mark.parametrize(("workers", "gpus"), [(1, 1.0), (2, 0.5)], ids=["NCCL", "two workers share the GPU"])
def test_ray_workers_train_on_it(store, tmp_path, workers, gpus):
    config = settings(store, train__workers=workers, train__gpus=gpus)
    train_on_ray(config, tmp_path / "run", progress=False)
    summary = json.loads((tmp_path / "run" / "run.json").read_text())
    assert torch.cuda.get_device_name() in summary["hardware"]
    assert summary["peak_gpu_gb"] > 0


def test_a_share_of_the_gpu_is_kept_to():
    context = LocalContext(0.01)
    try:
        with pytest.raises(torch.OutOfMemoryError) as caught:
            torch.empty(8 << 30, dtype=torch.uint8, device=context.device)
        assert reason(caught.value).startswith("out of memory")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, GPU)
