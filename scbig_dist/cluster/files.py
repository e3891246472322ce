"""Files that describe a cluster, checked without one: for `ray up`, for KubeRay, for Slurm."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import ray
import yaml

from scbig_dist.cluster.diagnosis import Finding
from scbig_dist.cluster.kubernetes import kubernetes_problems
from scbig_dist.cluster.slurm import slurm_problems
from scbig_dist.errors import UserError

Problem = tuple[bool, str, str]
OLD_IMAGES = ("", "latest_dlami")
WHERE = {"aws": ("region",), "gcp": ("region", "availability_zone", "project_id"), "local": ("head_ip", "worker_ips")}


def check_file(path: Path) -> list[Finding]:
    """What is wrong with a cluster's file, as far as can be told without the cluster. UserError where it is none."""
    if not path.is_file():
        raise UserError(f"--config {path}: no such file; there are cluster.yaml and configs/clusters/")
    text = path.read_text()
    problems = [
        (True, f"'{each}' is still to be filled in", "the file's head says with what") for each in _placeholders(text)
    ]
    if text.startswith("#!") or "#SBATCH" in text:
        problems += slurm_problems(text)
    else:
        problems += _yaml_problems(path, text)
    return [Finding(str(path), *each) for each in problems]


def _yaml_problems(path: Path, text: str) -> list[Problem]:
    try:
        documents = [each for each in yaml.safe_load_all(text) if each is not None]
    except yaml.YAMLError as error:
        raise UserError(f"--config {path}: not YAML: {' '.join(str(error).split())}") from None
    if documents and all(isinstance(each, dict) and "kind" in each for each in documents):
        return kubernetes_problems(documents, ray.__version__)
    if len(documents) == 1 and isinstance(documents[0], dict) and "provider" in documents[0]:
        return launcher_problems(documents[0], ray.__version__)
    raise UserError(
        f"--config {path}: not a cluster's file; known are those of 'ray up' (provider:), of Kubernetes (kind:), Slurm (#SBATCH)"
    )


def _placeholders(text: str) -> list[str]:
    code = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    return sorted(set(re.findall(r"YOUR-[A-Z0-9]+(?:-[A-Z0-9]+)*", code)))


def launcher_problems(config: dict[str, Any], version: str) -> list[Problem]:
    """What Ray's own check refuses, then what it lets pass."""
    refusal = _refusal(config)
    if refusal is not None:
        return [(True, f"Ray refuses it: {refusal}", "the schema is that of 'ray up'")]
    problems: list[Problem] = []
    for check in (_place, _head, _start, _storage, _version):
        problems += check(config, version)
    return problems


def _refusal(config: dict[str, Any]) -> str | None:
    """Why `ray up` would refuse the file. Private to Ray, which has no dry run: this is the one place that calls it."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    logging.getLogger("ray.autoscaler").setLevel(logging.WARNING)  # it tells which defaults it fills in
    try:
        validate_config(prepare_config(config))
    except (Exception, SystemExit) as error:  # ValueError, jsonschema's, click's, by the cause
        return " ".join(str(getattr(error, "message", error)).split())[:200] or type(error).__name__
    return None


def _place(config: dict[str, Any], version: str) -> list[Problem]:
    provider = config["provider"]
    if provider["type"] not in WHERE:
        return [
            (
                False,
                f"provider '{provider['type']}' is not one whose settings are known here",
                f"known: {', '.join(WHERE)}",
            )
        ]
    lacks = [name for name in WHERE[provider["type"]] if not provider.get(name)]
    found = [(True, f"provider.{name} is missing", f"{provider['type']} needs it") for name in lacks]
    for name, kind in config.get("available_node_types", {}).items():
        if provider["type"] == "aws" and kind.get("node_config", {}).get("ImageId", "").lower() in OLD_IMAGES:
            what = f"{name}: the image 'latest_dlami' is of 2022, its driver too old for the locked PyTorch"
            found.append((True, what, "name an ImageId of your region; cluster.yaml says how to find one"))
        if kind.get("min_workers", 0) != kind.get("max_workers", kind.get("min_workers", 0)):
            what = f"{name}: nodes come and go between min_workers and max_workers"
            found.append((False, what, "a sweep counts the nodes that are up when it starts; make both equal"))
    return found


def _head(config: dict[str, Any], version: str) -> list[Problem]:
    kinds = config.get("available_node_types", {})
    said = kinds.get(config.get("head_node_type"), {}).get("resources", {})
    if said.get("CPU") == 0 or "--num-cpus=0" in _commands(config, "head_start_ray_commands"):
        return []
    return [
        (
            False,
            "the head trains as well: its loss ends the sweep",
            'give it resources: {"CPU": 0, "GPU": 0}, or --num-cpus=0',
        )
    ]


def _start(config: dict[str, Any], version: str) -> list[Problem]:
    found: list[Problem] = []
    for role in ("head", "worker"):
        started = _commands(config, f"{role}_start_ray_commands")
        if "RAY_AUTH_MODE=token" not in started:
            what = f"the {role} starts without a token: whoever reaches its ports runs code"
            found.append((True, what, f"RAY_AUTH_MODE=token before 'ray start' in {role}_start_ray_commands"))
    head = _commands(config, "head_start_ray_commands")
    host = re.search(r"--dashboard-host[= ](\S+)", head)
    if host and host[1] not in ("127.0.0.1", "localhost"):
        found.append(
            (True, f"the dashboard listens at {host[1]}", "--dashboard-host=127.0.0.1 and 'ray dashboard', a tunnel")
        )
    if not any(str(target).endswith(".ray/auth_token") for target in config.get("file_mounts", {})):
        found.append((True, "no node is given the token", "file_mounts: ~/.ray/auth_token: ~/.ray/auth_token"))
    elif "chmod 600 ~/.ray/auth_token" not in _commands(config, "setup_commands"):
        found.append((False, "others on the nodes may read the token", "setup_commands: chmod 600 ~/.ray/auth_token"))
    return found


def _storage(config: dict[str, Any], version: str) -> list[Problem]:
    commands = _commands(config, "initialization_commands") + _commands(config, "setup_commands")
    mount = re.search(r"\bmountpoint -q (\S+)", commands) or re.search(
        r"\bmount -t nfs\S* .*?\s(/\S+)(?:\s|$)", commands
    )
    remedy = "mount a network file system in initialization_commands, under one path on all nodes"
    if mount is None:
        return [(True, "no command mounts storage that all nodes share, or looks for it", remedy)]
    options = " ".join(config.get("docker", {}).get("run_options", []))
    if config.get("docker", {}).get("image") and f"{mount[1]}:{mount[1]}" not in options:
        return [
            (True, f"{mount[1]} is not in the container", f'docker.run_options: ["--volume {mount[1]}:{mount[1]}"]')
        ]
    return []


def _version(config: dict[str, Any], version: str) -> list[Problem]:
    image = config.get("docker", {}).get("image", "")
    if image and f":{version}-" not in image:
        return [
            (True, f"the image {image} is not of Ray {version}", f"rayproject/ray:{version}-py311-gpu, as in the lock")
        ]
    if not image and "requirements.lock" not in _commands(config, "setup_commands"):
        return [
            (
                True,
                "nothing installs the locked versions",
                "setup_commands: pip install --requirement requirements.lock",
            )
        ]
    return []


def _commands(config: dict[str, Any], name: str) -> str:
    return "\n".join(config.get(name, []))
