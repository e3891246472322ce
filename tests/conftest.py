"""Shapes are checked while tests run: the hook must come before the package is imported."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import pytest
import torch
from cluster_cases import TwoNodes, two_nodes

jaxtyping.install_import_hook(["scbig_dist.nn", "scbig_dist.flow", "scbig_dist.losses"], "beartype.beartype")

# What the machine remembers of stores (store/verified.py) stays out of the user's own cache; fonts stay in it.
if "MPLCONFIGDIR" not in os.environ:
    os.environ["MPLCONFIGDIR"] = str(Path.home() / ".cache" / "matplotlib")
_CACHE = tempfile.TemporaryDirectory(prefix="scbig-tests-")
os.environ["XDG_CACHE_HOME"] = _CACHE.name

# A job in the background of a shell ignores Ctrl-C, and so would every program that a test starts.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Tensors are tiny here: more threads would only wait for each other.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Public screens and priors beside the repository; tests that need them skip where they are absent."""
    path = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not path.is_dir():
        pytest.skip("no ../shared/data beside the repository: public screens and priors are not here")
    return path


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoNodes]:
    """A real cluster on this machine, started once for all files that ask for it."""
    with two_nodes(tmp_path_factory.mktemp("cluster")) as made:
        yield made
