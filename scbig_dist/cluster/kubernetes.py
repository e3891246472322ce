"""RayCluster and RayJob of KubeRay, checked by the fields that their CRDs know and by what a sweep needs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Problem = tuple[bool, str, str]
# The fields of ray.io/v1 (KubeRay 1.5 and later) as its API reference lists them.
FIELDS = {
    "RayCluster": {
        "suspend", "managedBy", "autoscalerOptions", "headServiceAnnotations", "enableInTreeAutoscaling",
        "gcsFaultToleranceOptions", "headGroupSpec", "rayVersion", "workerGroupSpecs", "authOptions",
    },
    "RayJob": {
        "activeDeadlineSeconds", "backoffLimit", "rayClusterSpec", "submitterPodTemplate", "metadata", "clusterSelector",
        "submitterConfig", "managedBy", "deletionStrategy", "entrypoint", "runtimeEnvYAML", "jobId", "submissionMode",
        "entrypointResources", "entrypointNumCpus", "entrypointNumGpus", "ttlSecondsAfterFinished",
        "shutdownAfterJobFinishes", "suspend",
    },
    "headGroupSpec": {"template", "headService", "enableIngress", "rayStartParams", "serviceType"},
    "workerGroupSpec": {
        "suspend", "groupName", "replicas", "minReplicas", "maxReplicas", "idleTimeoutSeconds", "rayStartParams",
        "template", "scaleStrategy", "numOfHosts",
    },
}  # fmt: skip
GPU = "nvidia.com/gpu"


def kubernetes_problems(documents: list[dict[str, Any]], version: str) -> list[Problem]:
    """What is wrong with the manifests of a file, those of KubeRay and the claim beside them."""
    problems: list[Problem] = []
    for document in documents:
        kind, spec = document["kind"], document.get("spec", {})
        if kind == "PersistentVolumeClaim" and "ReadWriteMany" not in spec.get("accessModes", []):
            what = f"claim {document['metadata']['name']} is not ReadWriteMany: one node alone could mount it"
            problems.append((True, what, "accessModes: [ReadWriteMany], of a storage class that can"))
        if kind not in ("RayCluster", "RayJob"):
            continue
        if document.get("apiVersion") != "ray.io/v1":
            problems.append((True, f"{kind} of {document.get('apiVersion')}", "apiVersion: ray.io/v1"))
        problems += _unknown(kind, spec, FIELDS[kind])
        if kind == "RayJob" and "clusterSelector" not in spec:
            if not spec.get("entrypoint"):
                problems.append((True, "RayJob without an entrypoint", "entrypoint: scbig sweep …"))
            spec = spec.get("rayClusterSpec", {})
            problems += _unknown("rayClusterSpec", spec, FIELDS["RayCluster"])
        problems += _cluster(spec, version)
    if not any(document["kind"] in ("RayCluster", "RayJob") for document in documents):
        problems.append((True, "neither a RayCluster nor a RayJob", "configs/clusters/kuberay-cluster.yaml is one"))
    return problems


def _unknown(where: str, spec: dict[str, Any], known: set[str]) -> list[Problem]:
    return [
        (True, f"{where} has no field '{name}'", f"known: {', '.join(sorted(known))}")
        for name in spec
        if name not in known
    ]


def _cluster(spec: dict[str, Any], version: str) -> list[Problem]:
    if not spec.get("headGroupSpec") or not spec.get("workerGroupSpecs"):
        return [(True, "no headGroupSpec or no workerGroupSpecs", "a head and at least one group of workers")]
    problems: list[Problem] = []
    head, groups = spec["headGroupSpec"], spec["workerGroupSpecs"]
    problems += _unknown("headGroupSpec", head, FIELDS["headGroupSpec"])
    for group in groups:
        problems += _unknown(f"workerGroupSpecs.{group.get('groupName')}", group, FIELDS["workerGroupSpec"])
    if spec.get("authOptions", {}).get("mode") != "token":
        problems.append(
            (True, "no token: whoever reaches a pod runs code there", "authOptions: {mode: token} (KubeRay 1.5.1)")
        )
    if head.get("serviceType", "ClusterIP") != "ClusterIP" or head.get("enableIngress"):
        problems.append((True, "the head is reachable from outside Kubernetes", "serviceType: ClusterIP, no ingress"))
    if str(head.get("rayStartParams", {}).get("num-cpus")) != "0":
        problems.append((False, "the head trains as well: its loss ends the sweep", 'rayStartParams: {num-cpus: "0"}'))
    if str(spec.get("rayVersion")) != version:
        problems.append(
            (True, f"rayVersion {spec.get('rayVersion')} is not the lock's {version}", f'rayVersion: "{version}"')
        )
    if not any(GPU in _limits(container) for group in groups for container in _containers(group)):
        problems.append((False, "no worker has a GPU", f"limits: {{{GPU}: 1}}"))
    for role, group in (("head", head), *((str(group.get("groupName")), group) for group in groups)):
        problems += _pod(role, group, version)
    if len({tuple(sorted(_shared(group))) for group in (head, *groups)}) > 1:
        problems.append(
            (True, "head and workers do not mount one claim under one path", "the same volumeMounts everywhere")
        )
    return problems


def _pod(role: str, group: dict[str, Any], version: str) -> list[Problem]:
    problems: list[Problem] = []
    if any(not isinstance(value, str) for value in group.get("rayStartParams", {}).values()):
        problems.append((True, f"{role}: rayStartParams are text", 'write num-cpus: "0"'))
    if not _shared(group):
        problems.append(
            (
                True,
                f"{role}: no claim is mounted: nodes share no storage",
                "a persistentVolumeClaim and its volumeMounts",
            )
        )
    for container in _containers(group):
        image = str(container.get("image", ""))
        if f":{version}" not in image:
            problems.append(
                (True, f"{role}: the image {image} is not tagged with Ray {version}", f"an image of Ray {version}")
            )
        asked = container.get("resources", {}).get("requests", {})
        if asked and asked != _limits(container):
            problems.append((False, f"{role}: requests and limits differ", "Ray counts the limits; make both equal"))
    return problems


def _containers(group: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from group.get("template", {}).get("spec", {}).get("containers", [])


def _limits(container: dict[str, Any]) -> dict[str, Any]:
    return container.get("resources", {}).get("limits", {})


def _shared(group: dict[str, Any]) -> set[tuple[str, str]]:
    """(claim, path) of every claim that the group's Ray container mounts."""
    volumes = group.get("template", {}).get("spec", {}).get("volumes", [])
    claims = {
        each["name"]: each["persistentVolumeClaim"]["claimName"] for each in volumes if "persistentVolumeClaim" in each
    }
    ray = next(_containers(group), {})
    return {(claims[each["name"]], each["mountPath"]) for each in ray.get("volumeMounts", []) if each["name"] in claims}
