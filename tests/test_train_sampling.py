"""What the ranks see together is what one process sees alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from training_cases import TINY, make_store

from scbig_dist.models.scbig import ScBIG
from scbig_dist.settings import build_config
from scbig_dist.train.autoencoder_stage import AutoencoderStage
from scbig_dist.train.context import LocalContext
from scbig_dist.train.experiment import Experiment, open_experiment, settle
from scbig_dist.train.flow_stage import FlowStage
from scbig_dist.train.inputs import prepare
from scbig_dist.train.random import generator, torch_seeded


class Rank(LocalContext):
    """One of several workers, as far as the sampler can tell."""

    def __init__(self, rank: int, world_size: int) -> None:
        super().__init__()
        self.rank, self.world_size = rank, world_size


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    store = make_store(tmp_path_factory.mktemp("sampling"))
    values = {"store": str(store), "flow.accumulate": 6, "flow.steps": 60, "flow.validate_every": 60}
    values |= {"priors.target_embedding": "random", "flow.target_noise": 0.5}
    return open_experiment(settle(build_config(TINY | values)))


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_workers_see_each_training_cell_once_per_epoch(experiment, world_size):
    stages = [AutoencoderStage(experiment, Rank(rank, world_size)) for rank in range(world_size)]
    per_epoch = stages[0].n_steps // experiment.config.autoencoder.epochs
    for epoch in range(2):
        steps = range(epoch * per_epoch, (epoch + 1) * per_epoch)
        seen = np.concatenate([stage.rows(step) for stage in stages for step in steps])
        assert np.array_equal(np.sort(seen), experiment.train_cells())


def test_epochs_differ_in_order(experiment):
    stage = AutoencoderStage(experiment, LocalContext())
    per_epoch = stage.n_steps // experiment.config.autoencoder.epochs
    assert not np.array_equal(stage.rows(0), stage.rows(per_epoch))


def test_ranks_with_unequal_shares_average_to_the_whole_loss(experiment, tmp_path):
    model = ScBIG(prepare(experiment, tmp_path).inputs, experiment.config).eval()
    last = AutoencoderStage(experiment, LocalContext()).n_steps - 1
    losses = {}
    for world_size in (1, 2, 3):
        batches = [
            next(AutoencoderStage(experiment, Rank(r, world_size)).micro_batches(last)) for r in range(world_size)
        ]
        with torch.no_grad():
            losses[world_size] = np.mean([float(model.loss("autoencoder", batch).total) for batch in batches])
    assert losses[2] == pytest.approx(losses[1], rel=1e-6)
    assert losses[3] == pytest.approx(losses[1], rel=1e-6)


@pytest.mark.parametrize("world_size", [2, 3])
def test_micro_batches_of_all_ranks_are_those_of_one(experiment, tmp_path, world_size):
    model = ScBIG(prepare(experiment, tmp_path).inputs, experiment.config).eval()
    alone = list(FlowStage(experiment, model, LocalContext()).micro_batches(3))
    ranks = [list(FlowStage(experiment, model, Rank(r, world_size)).micro_batches(3)) for r in range(world_size)]
    for index, batch in enumerate(alone):
        other = ranks[index % world_size][index // world_size]
        for name in ("x0", "x1", "t", "noise", "uniforms", "keep", "target_noise"):
            assert torch.equal(getattr(batch, name), getattr(other, name)), name


def test_training_never_draws_a_cell_of_validation_or_test(experiment, tmp_path):
    held = set(experiment.cells_of([*experiment.split.val, *experiment.split.test]).tolist())
    assert held.isdisjoint(experiment.train_cells().tolist())
    model = ScBIG(prepare(experiment, tmp_path).inputs, experiment.config).eval()
    stage = FlowStage(experiment, model, LocalContext())
    assert set(stage.conditions).isdisjoint([*experiment.split.val, *experiment.split.test])


def test_generator_depends_on_all_of_its_arguments():
    draws = {
        int(generator(seed, purpose, index).integers(2**62))
        for seed in (0, 1)
        for purpose in ("flow", "epoch")
        for index in (0, 1)
    }
    assert len(draws) == 8


def test_torch_randomness_is_restored():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with torch_seeded(0, "dropout", 7, torch.device("cpu")):
        inside = torch.rand(3)
    assert torch.equal(torch.rand(3), expected)
    with torch_seeded(0, "dropout", 7, torch.device("cpu")):
        assert torch.equal(torch.rand(3), inside)
