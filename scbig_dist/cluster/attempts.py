"""Where a trial has been: a line per start of its process, and of every group of workers.

`RUN/attempts.jsonl`: began, node, ip, pid, gpus of the trial's own process.
`RUN/workers.jsonl`: began, and the same of each worker, where a trial has several.
"""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from typing import Any

import ray

ATTEMPTS, WORKERS = "attempts.jsonl", "workers.jsonl"
COLUMNS = ("restarts", "node", "gpus")  # of a trial's row


def here() -> dict[str, Any]:
    """This process: host name, address, process id, GPUs that Ray has given it."""
    gpus = ray.get_runtime_context().get_accelerator_ids().get("GPU", [])
    return {"node": socket.gethostname(), "ip": ray.util.get_node_ip_address(), "pid": os.getpid(), "gpus": list(gpus)}


def note_attempt(run: Path) -> None:
    run.mkdir(parents=True, exist_ok=True)
    _append(run / ATTEMPTS, {"began": round(time.time(), 3), **here()})


def note_workers(run: Path, workers: list[dict[str, Any]]) -> None:
    _append(run / WORKERS, {"began": round(time.time(), 3), "workers": workers})


def whereabouts(trial: Path) -> dict[str, Any]:
    """How often a trial was begun again, and where it was last: nodes and GPUs, each once."""
    attempts = read_lines(trial / ATTEMPTS)
    groups = [read_lines(path) for path in sorted([*trial.glob(WORKERS), *trial.glob(f"seed-*/{WORKERS}")])]
    last = groups[-1][-1]["workers"] if groups and groups[-1] else attempts[-1:]
    return {
        "restarts": max(len(attempts), *(len(each) for each in groups), 1) - 1,
        "node": ",".join(dict.fromkeys(each["node"] for each in last)),
        "gpus": ",".join(dict.fromkeys(gpu for each in last for gpu in each["gpus"])),
    }


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a file that a process may have died in writing."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def _append(path: Path, record: dict[str, Any]) -> None:
    torn = path.is_file() and not path.read_bytes().endswith(b"\n")  # what follows a torn line is a line of its own
    with open(path, "a", encoding="utf-8") as file:
        file.write("\n" * torn + json.dumps(record) + "\n")
