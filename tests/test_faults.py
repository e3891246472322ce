"""A short campaign of faults: what dies is made good, nothing is lost or done twice, scores are as undisturbed."""

from __future__ import annotations

from collections import Counter

import pytest

from benchmarks.fault_check import examine
from benchmarks.fault_cluster import Nodes, make_store, write_study
from benchmarks.fault_sweep import Sweep

pytestmark = pytest.mark.ray


def test_a_sweep_under_faults_ends_as_one_without(tmp_path):
    short = {"flow.steps": 1600, "flow.validate_every": 800, "train.checkpoint_every": 50, "autoencoder.epochs": 20}
    with Nodes() as nodes:
        store, study = make_store(tmp_path), write_study(tmp_path / "study.py", 1, (1e-3, 2e-3), **short)
        calm = Sweep(nodes, study, 1, store, tmp_path / "calm")
        calm.finish()
        sweep = Sweep(nodes, study, 1, store, tmp_path / "struck", "3")
        while len(sweep.faults) < 4 and sweep.wait(0.2, 1.0):
            sweep.strike(Counter(fault.kind for fault in sweep.faults))
        sweep.finish()
        found = examine(sweep, calm)
    assert len({fault.kind for fault in sweep.faults}) >= 3, sweep.faults
    assert not found.wrong and found.n_finished == found.n_alone == 2
    assert found.n_artifacts >= 4, "the check of artefacts looked at none"
