"""The machine and the libraries behind a run's figures, in a line each."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

import torch


def hardware(device: torch.device, threads: int, n_workers: int) -> str:
    """E.g. `2 × 1 thread of AMD EPYC, 2 cores, 24 GB` or `1 × NVIDIA H100`."""
    if device.type == "cuda":
        return f"{n_workers} × {torch.cuda.get_device_name(device)}"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    unit = "thread" if threads == 1 else "threads"
    return f"{n_workers} × {threads} {unit} of {_cpu()}, {os.cpu_count()} cores, {memory:.0f} GiB"


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Versions of what shapes the numbers."""
    names = ("scbig-dist", "torch", "numpy", "scanpy", "anndata", "POT", "ray", "optuna")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}
