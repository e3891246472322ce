"""`cluster.yaml` as far as it can be checked without a cloud."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import ray
import yaml

ROOT = Path(__file__).resolve().parents[1]


def validate(config: dict[str, Any]) -> dict[str, Any]:
    """Ray's own check of a cluster file. It is private to Ray, which has no dry run; this is the one place that calls it."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(config)
    validate_config(prepared)
    return prepared


@pytest.fixture
def config() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "cluster.yaml").read_text())


def test_ray_accepts_the_cluster_file(config):
    prepared = validate(config)
    assert prepared["head_node_type"] in prepared["available_node_types"]


def test_ray_rejects_an_unknown_key(config):
    with pytest.raises(Exception, match="headnode"):
        validate(config | {"headnode": {}})


def test_what_rays_check_lets_pass(config):
    """A region, nodes enough, one version of Ray, files that are there."""
    assert config["provider"]["region"]
    kinds = config["available_node_types"]
    assert sum(kind.get("min_workers", 0) for kind in kinds.values()) <= config["max_workers"]
    assert f":{ray.__version__}-py311" in config["docker"]["image"]
    assert f"ray[default]=={ray.__version__}" in (ROOT / "cluster.yaml").read_text()
    assert (ROOT / "requirements.lock").is_file()


def test_the_head_trains_nothing_and_every_trial_fits_a_worker(config):
    kinds = config["available_node_types"]
    assert kinds["head"]["resources"] == {"CPU": 0, "GPU": 0}
    assert kinds["gpu"]["resources"]["GPU"] >= 1 and kinds["gpu"]["resources"]["CPU"] >= 2


def test_a_token_is_asked_for_and_the_dashboard_stays_on_loopback(config):
    head = " ".join(config["head_start_ray_commands"])
    worker = " ".join(config["worker_start_ray_commands"])
    assert "--dashboard-host=127.0.0.1" in head and "0.0.0.0" not in head
    for start in (head, worker):
        assert "RAY_AUTH_MODE=token" in start and "RAY_USAGE_STATS_ENABLED=0" in start
    assert "chmod 600 ~/.ray/auth_token" in config["setup_commands"]
    assert "~/.ray/auth_token" in config["file_mounts"]
