"""`scbig doctor` on this machine and on a real cluster; each problem is found from what a node says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cluster_cases import TwoNodes, scbig

from scbig_dist.cluster import on_node
from scbig_dist.cluster.diagnosis import Finding, Report, diagnose, read_lock
from scbig_dist.cluster.doctor import LOCK, examine

SOUND = {
    "host": "a", "python": "3.11.9", "packages": {"ray": "2.60.0", "torch": "2.13.0", "pandas": "2.3.0"}, "code": "c0de",
    "torch_cuda": "13.0", "gpus": [], "token": {"from": "/h/.ray/auth_token", "mode": 0o600}, "open_files": 65536,
    "free": {"/tmp": 2e11}, "shm": 8e9,
}  # fmt: skip


def found(resources: dict[str, float] | None = None, skew: float = 0.0, **changed) -> list[Finding]:
    report = Report("n", SOUND | changed, "", resources or {"CPU": 2.0}, skew, 0.01)
    return diagnose([report], SOUND, SOUND["packages"])


def test_a_sound_node_has_no_problem():
    assert found() == [] and found({"CPU": 2.0, "GPU": 1.0}, gpus=["A10G"]) == []


@pytest.mark.parametrize(
    ("stops", "words", "changed"),
    [
        (True, "Python 3.12.1, here 3.11.9", {"python": "3.12.1"}),
        (True, "torch 2.12.0, the lock says 2.13.0", {"packages": SOUND["packages"] | {"torch": "2.12.0"}}),
        (True, "ray missing", {"packages": {"torch": "2.13.0", "pandas": "2.3.0"}}),
        (True, "missing packages: pandas", {"packages": {"ray": "2.60.0", "torch": "2.13.0"}}),
        (False, "pandas 2.2.0 \\(lock: 2.3.0\\)", {"packages": SOUND["packages"] | {"pandas": "2.2.0"}}),
        (True, "scbig_dist is not installed", {"code": None}),
        (True, "scbig_dist bad is not the code here", {"code": "bad"}),
        (True, "Ray counts 4 GPUs, the driver shows 1", {"resources": {"GPU": 4.0}, "gpus": ["A10G"]}),
        (True, "PyTorch is a CPU build", {"resources": {"GPU": 1.0}, "gpus": ["A10G"], "torch_cuda": ""}),
        (False, "1 GPUs that Ray does not count", {"gpus": ["A10G"]}),
        (False, "has mode 0644", {"token": {"from": "t", "mode": 0o644}}),
        (True, "/mnt/x is not there", {"free": {"/mnt/x": None}}),
        (True, "0.5 GB free at /tmp", {"free": {"/tmp": 5e8}}),
        (False, "5.0 GB free at /tmp", {"free": {"/tmp": 5e9}}),
        (False, "0.06 GB free in /dev/shm", {"shm": 6.4e7}),
        (True, "256 open files", {"open_files": 256}),
        (False, "1024 open files", {"open_files": 1024}),
        (False, "clock is -5.0 s off", {"skew": -5.0}),
        (True, r"clock is \+90.0 s off", {"skew": 90.0}),
    ],
)  # fmt: skip
def test_a_problem_is_named_with_its_remedy(stops, words, changed):
    [finding] = found(**changed)
    assert finding.stops == stops and re.search(words, finding.what) and finding.remedy


def test_a_silent_node_is_a_problem():
    [finding] = diagnose([Report("10.0.0.9", None, "no answer in 60 s")], SOUND, {})
    assert finding.stops and "does not answer (no answer in 60 s)" in finding.what


def test_facts_never_hold_the_token(tmp_path):
    (tmp_path / ".ray").mkdir()
    file = tmp_path / ".ray" / "auth_token"
    file.write_text("5ec2e7")
    file.chmod(0o644)
    assert on_node.token({}, tmp_path) == {"from": str(file), "mode": 0o644}
    assert on_node.token({"RAY_AUTH_TOKEN": "5ec2e7"}, tmp_path) == {"from": "RAY_AUTH_TOKEN", "mode": None}
    assert on_node.token({}, tmp_path / "none") == {"from": None, "mode": None}


def test_the_lock_is_read_as_pip_reads_it():
    lock = read_lock(LOCK)
    assert lock["torch"] == "2.13.0" and len(lock) > 100 and on_node.installed("ray") == lock["ray"]


def test_doctor_without_ray_looks_over_this_machine(tmp_path):
    done = scbig(None, "doctor", "--storage", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "this machine" in done.stdout and "nothing would stop a sweep" in done.stdout
    assert list(tmp_path.iterdir()) == []
    done = scbig(None, "doctor", "--storage", str(tmp_path / "none"))
    assert done.returncode == 2 and "none: not a directory here" in done.stderr


@pytest.mark.ray
def test_doctor_asks_every_node_of_a_cluster(cluster: TwoNodes, tmp_path: Path, monkeypatch):
    done = scbig(cluster.head, "doctor", "--address", cluster.head.address, "--storage", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line for line in done.stdout.splitlines() if "3.11" in line]
    assert len(rows) == 2 and "(head)" in rows[0] and re.search(r"[+-]0\.\d\d s", rows[1])
    assert cluster.head.token_file.read_text() not in done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []
    if cluster.isolated:
        monkeypatch.setenv("HOME", cluster.head.env["HOME"])
        found = examine(cluster.head.address, cluster.private).findings
        assert any(each.stops and "does not see what" in each.what for each in found)
        assert list(cluster.private.glob(".scbig-seen*")) == []
