"""Files that start clusters, as far as they can be checked without one; each check can fail."""

from __future__ import annotations

import copy
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from cluster_cases import scbig

from scbig_dist.cluster.files import check_file, launcher_problems
from scbig_dist.cluster.kubernetes import kubernetes_problems
from scbig_dist.cluster.slurm import slurm_problems
from scbig_dist.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "configs" / "clusters"
LAUNCHER = [ROOT / "cluster.yaml", FOLDER / "gcp.yaml", FOLDER / "local.yaml"]
KUBERNETES = [FOLDER / "kuberay-cluster.yaml", FOLDER / "kuberay-job.yaml"]
SLURM = FOLDER / "slurm.sbatch"
FILES = [*LAUNCHER, *KUBERNETES, SLURM]


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_a_file_lacks_nothing_but_what_is_yours(path):
    problems = [each for each in check_file(path) if "still to be filled in" not in each.what]
    assert problems == []


def test_every_file_is_checked():
    assert {path.name for path in FOLDER.iterdir()} - {"Dockerfile"} == {
        path.name for path in FILES if path.parent == FOLDER
    }


def test_placeholders_are_named(tmp_path):
    assert {re.findall(r"'(.*?)'", each.what)[0] for each in check_file(ROOT / "cluster.yaml")} == {
        "YOUR-AMI",
        "YOUR-EFS-ID",
    }
    path = tmp_path / "c.yaml"
    path.write_text((ROOT / "cluster.yaml").read_text().replace("YOUR-AMI", "ami-1").replace("YOUR-EFS-ID", "fs-1"))
    assert check_file(path) == []


def test_versions_are_those_of_the_lock():
    lock = (ROOT / "requirements.lock").read_text()
    assert f"\nray=={ray.__version__}\n" in lock
    assert f"FROM rayproject/ray:{ray.__version__}-py311-gpu" in (FOLDER / "Dockerfile").read_text()
    for path in LAUNCHER:
        assert f"ray[default]=={ray.__version__}" in path.read_text()


def changed(path: Path, change: Callable[[dict[str, Any]], None]) -> list[str]:
    config = yaml.safe_load(path.read_text())
    change(config)
    return [what for _, what, _ in launcher_problems(config, ray.__version__)]


def edit(key: str, old: str, new: str) -> Callable[[dict[str, Any]], None]:
    def change(config: dict[str, Any]) -> None:
        before = copy.deepcopy(config[key])
        config[key] = [each.replace(old, new) for each in config[key]]
        assert config[key] != before

    return change


@pytest.mark.parametrize(
    ("path", "change", "words"),
    [
        (0, lambda c: c.update(headnode={}), "Ray refuses it: .*headnode"),
        (0, lambda c: c.update(max_workers=1), "Ray refuses it: .*max_workers"),
        (2, lambda c: c["provider"].pop("head_ip"), "Ray refuses it"),
        (0, lambda c: c["provider"].pop("region"), "provider.region is missing"),
        (1, lambda c: c["provider"].update(project_id=None), "provider.project_id is missing"),
        (0, lambda c: c["available_node_types"]["gpu"]["node_config"].update(ImageId="latest_dlami"), "of 2022"),
        (0, lambda c: c["available_node_types"]["gpu"].update(min_workers=0), "come and go"),
        (0, lambda c: c["available_node_types"]["head"].update(resources={"CPU": 8}), "the head trains as well"),
        (2, edit("head_start_ray_commands", "--num-cpus=0", ""), "the head trains as well"),
        (0, edit("head_start_ray_commands", "RAY_AUTH_MODE=token", ""), "the head starts without a token"),
        (1, edit("worker_start_ray_commands", "RAY_AUTH_MODE=token", ""), "the worker starts without a token"),
        (0, edit("head_start_ray_commands", "127.0.0.1", "0.0.0.0"), "the dashboard listens at 0.0.0.0"),
        (0, lambda c: c["file_mounts"].pop("~/.ray/auth_token"), "no node is given the token"),
        (0, edit("setup_commands", "chmod 600", "chmod 644"), "others on the nodes may read the token"),
        (0, lambda c: c.pop("initialization_commands"), "no command mounts storage"),
        (1, lambda c: c["docker"].update(run_options=[]), "/mnt/shared is not in the container"),
        (0, lambda c: c["docker"].update(image="rayproject/ray:2.59.0-py311-gpu"), "is not of Ray 2.6"),
        (2, edit("setup_commands", "requirements.lock", "requirements.txt"), "nothing installs the locked versions"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_for_ray_up_is_named(path, change, words):
    [what] = changed(LAUNCHER[path], change)
    assert re.search(words, what)


def test_trials_run_on_spot_nodes_and_fit_them():
    aws, gcp = (yaml.safe_load(path.read_text())["available_node_types"] for path in LAUNCHER[:2])
    assert aws["gpu"]["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert {"preemptible": True} in gcp["gpu"]["node_config"]["scheduling"]
    for kinds in (aws, gcp):
        assert (
            "InstanceMarketOptions" not in kinds["head"]["node_config"]
            and "scheduling" not in kinds["head"]["node_config"]
        )
        assert kinds["gpu"]["resources"]["GPU"] >= 1 and kinds["gpu"]["resources"]["CPU"] >= 2


def test_the_job_on_kubernetes_has_the_cluster_of_the_one_that_stays():
    [_, cluster] = yaml.safe_load_all(KUBERNETES[0].read_text())
    assert cluster["spec"] == yaml.safe_load(KUBERNETES[1].read_text())["spec"]["rayClusterSpec"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("mode: token", "mode: disabled", "no token"),
        ("serviceType: ClusterIP", "serviceType: LoadBalancer", "reachable from outside"),
        ('num-cpus: "0"', 'num-cpus: "4"', "the head trains as well"),
        ('num-gpus: "0"', "num-gpus: 0", "rayStartParams are text"),
        ('rayVersion: "2.60.0"', 'rayVersion: "2.59.0"', "rayVersion 2.59.0 is not the lock's"),
        ("image: YOUR-REGISTRY/scbig:2.60.0", "image: scbig:latest", "not tagged with Ray"),
        ("ReadWriteMany", "ReadWriteOnce", "is not ReadWriteMany"),
        ("groupName: gpu\n", "groupName: gpu\n      group: a\n", "workerGroupSpecs.gpu has no field 'group'"),
        ("authOptions:", "authOption:", "RayCluster has no field 'authOption'"),
        ("ray.io/v1\n", "ray.io/v1alpha1\n", "RayCluster of ray.io/v1alpha1"),
        ("{name: shared, mountPath: /mnt/shared}\n                -", "{name: shared, mountPath: /mnt/x}\n                -", "under one path"),
        (', nvidia.com/gpu: "1"', "", "no worker has a GPU"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_for_kubernetes_is_named(old, new, words):
    text = KUBERNETES[0].read_text()
    assert old in text
    problems = kubernetes_problems(list(yaml.safe_load_all(text.replace(old, new))), "2.60.0")
    assert problems and any(words in what for _, what, _ in problems)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("; fi\n", "\n", "bash: "),
        ("#SBATCH --nodes=4\n", "", "no #SBATCH --nodes"),
        ("--ntasks-per-node=1\n", "--ntasks-per-node=4\n", "--ntasks-per-node=4"),
        ("#SBATCH --gpus-per-node=4\n", "", "no GPU is asked for"),
        ("#SBATCH --exclusive\n", "", "nodes may be shared"),
        ("#SBATCH --job-name=scbig\n", "set -e\n#SBATCH --job-name=scbig\n", "#SBATCH after 'set -e'"),
        ("RAY_AUTH_MODE=token ", "", "no token"),
        ("ray symmetric-run", "ray start", "no 'ray symmetric-run"),
        ('--min-nodes "$SLURM_JOB_NUM_NODES"', "", "without --min-nodes"),
        ("--dashboard-host=127.0.0.1", "--dashboard-host=0.0.0.0", "the dashboard listens at 0.0.0.0"),
        ("--resume", "", "does not go on with a study"),
    ],
)
def test_what_is_wrong_with_a_script_for_slurm_is_named(old, new, words):
    text = SLURM.read_text()
    assert old in text and slurm_problems(text) == []
    problems = slurm_problems(text.replace(old, new))
    assert problems and any(words in what for _, what, _ in problems)


def test_the_script_for_slurm_starts_one_ray_over_all_nodes_and_resumes(tmp_path):
    """Run for real by bash, with stand-ins for Slurm's own commands that print what they are asked."""
    for name, body in {"srun": 'printf "%s\\n" "$@"', "scontrol": "printf 'gpu1\\ngpu2\\n'"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    slurm = {
        "SLURM_JOB_ID": "70123",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_JOB_NODELIST": "gpu[1-2]",
        "SLURM_CPUS_PER_TASK": "16",
    }
    env = os.environ | slurm | {"SLURM_SUBMIT_DIR": str(tmp_path), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    study = tmp_path / "study"
    for resumes in (False, True):
        done = subprocess.run(
            ["bash", str(SLURM), "tune/scaling.py", "/s", str(study)],
            env=env,
            capture_output=True,
            text=True,
            timeout=20,
        )
        assert done.returncode == 0, done.stderr
        words = done.stdout.splitlines()
        assert words[words.index("--address") + 1] == "gpu1:30123" and words[words.index("--min-nodes") + 1] == "2"
        sweep = words[words.index("--") + 1 :]
        assert sweep[:3] == ["scbig", "sweep", "tune/scaling.py"] and ("--resume" in sweep) == resumes
        study.mkdir(exist_ok=True)
        (study / "study.yaml").touch()
    done = subprocess.run(["bash", str(SLURM)], env=env, capture_output=True, text=True, timeout=20)
    assert done.returncode != 0 and "a study, e.g." in done.stderr


def test_a_file_of_another_kind_is_refused(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        check_file(tmp_path / "none.yaml")
    with pytest.raises(UserError, match="not a cluster's file"):
        check_file(ROOT / "configs" / "demo.yaml")
    (tmp_path / "broken.yaml").write_text("a: [")
    with pytest.raises(UserError, match=r"broken\.yaml: not YAML"):
        check_file(tmp_path / "broken.yaml")


def test_doctor_says_what_a_file_lacks():
    done = scbig(None, "doctor", "--config", str(FOLDER / "gcp.yaml"))
    assert done.returncode == 2 and "'YOUR-PROJECT' is still to be filled in" in done.stdout
