"""A perturbed gene's own expression as training measured it: seen, unseen and outside the screen."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from training_cases import TINY, make_store

from scbig_dist.conditions import Condition
from scbig_dist.models.own_gene import OwnGene, OwnShifts
from scbig_dist.models.protocol import ConditionInput
from scbig_dist.settings import build_config
from scbig_dist.train.context import LocalContext
from scbig_dist.train.experiment import Experiment, open_experiment, settle
from scbig_dist.train.inputs import prepare
from scbig_dist.train.own_gene import own_shifts
from scbig_dist.train.predictor import load_predictor
from scbig_dist.train.run import train_run


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """Split `holdout`: two genes are in test alone, one is in validation alone."""
    store = make_store(tmp_path_factory.mktemp("own"))
    values = {"store": str(store), "split.kind": "holdout", "split.n_val": 1, "shift.own_gene": "measured"}
    # An embedding of targets, so that unseen ones and those outside the screen have a vector.
    return open_experiment(settle(build_config(TINY | values | {"priors.target_embedding": "random"})))


def test_only_the_targets_own_genes_move_and_their_spread_stays():
    cells = torch.rand(20, 6, generator=torch.Generator().manual_seed(0))
    control = torch.arange(12.0).reshape(2, 6)
    inputs = OwnShifts(torch.tensor([4, -1, 2]), torch.tensor([0.5, 9.0, -0.25]), torch.tensor(0.1), control)
    condition = ConditionInput(torch.tensor([[2, 0, -1]]), torch.tensor([1]), torch.zeros(1))
    moved = OwnGene(inputs)(cells, condition)
    torch.testing.assert_close(moved[:, [2, 4]].mean(0), torch.tensor([8 - 0.25, 10 + 0.5]))
    torch.testing.assert_close(moved.std(0), cells.std(0))
    assert torch.equal(moved[:, [0, 1, 3, 5]], cells[:, [0, 1, 3, 5]])
    outside = ConditionInput(torch.tensor([[1, -1]]), torch.tensor([0]), torch.zeros(1))  # its gene is not in the panel
    assert torch.equal(OwnGene(inputs)(cells, outside), cells)


def test_shifts_are_those_of_training_and_an_unseen_target_has_their_mean(experiment):
    own, store, train = own_shifts(experiment), experiment.store, experiment.split.train
    assert own is not None
    control = store.dense(store.cells(store.control(train[0].context)), experiment.n_genes).mean(0)
    seen = {}
    for row, target in enumerate(experiment.targets):
        assert experiment.genes[own.column[row]] == target
        hit = [store.dense(store.cells(c), experiment.n_genes).mean(0) for c in train if target in c.targets]
        if hit:
            seen[target] = np.mean([x[own.column[row]] - control[own.column[row]] for x in hit])
            assert own.shift[row] == pytest.approx(seen[target], abs=1e-5)
    unseen = [row for row, target in enumerate(experiment.targets) if target not in seen]
    assert unseen and own.shift[unseen].numpy() == pytest.approx(np.mean(list(seen.values())), abs=1e-5)


def test_a_run_predicts_with_it_also_a_target_outside_the_screen(experiment, tmp_path):
    train_run(experiment.config, tmp_path / "run", LocalContext(), progress=False)
    predictor = load_predictor(tmp_path / "run")
    own = own_shifts(experiment)
    assert own is not None
    for condition in (experiment.split.test[0], experiment.split.train[0]):
        cells = predictor.predict(condition, 16, 0)
        for target in condition.targets:
            row = experiment.targets.index(target)
            wanted = own.control_mean[experiment.contexts.index(condition.context), own.column[row]] + own.shift[row]
            assert cells[:, own.column[row]].mean() == pytest.approx(wanted.item(), abs=1e-4)
    beyond = next(gene for gene in experiment.genes if gene not in experiment.targets)
    cells = predictor.predict(Condition(experiment.split.train[0].context, beyond), 16, 0)
    wanted = own.control_mean[0, experiment.genes.index(beyond)] + own.typical
    assert cells[:, experiment.genes.index(beyond)].mean() == pytest.approx(wanted.item(), abs=1e-4)


def test_a_screen_that_hits_no_gene_of_the_panel_says_so_and_predicts(experiment, monkeypatch, tmp_path):
    others = [f"other{index}" for index in range(experiment.n_genes)]
    monkeypatch.setattr(Experiment, "genes", others)
    prepared = prepare(experiment, tmp_path)
    assert prepared.inputs.own is None
    assert any("shift.own_gene=measured: no training condition hits a gene" in note for note in prepared.notes)
