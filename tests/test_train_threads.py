"""A training's number of threads is the config's, whatever the shell or Ray says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

CODE = """
import json
import scbig_dist.train.run
from scbig_dist.train.threads import use_threads
from threadpoolctl import threadpool_info
before = [pool["num_threads"] for pool in threadpool_info()]
use_threads(1)
print(json.dumps([before, [pool["num_threads"] for pool in threadpool_info()]]))
"""


def test_every_library_computes_with_the_threads_of_the_config():
    env = os.environ | {
        "OMP_NUM_THREADS": "2",
        "OPENBLAS_NUM_THREADS": "2",
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    done = subprocess.run([sys.executable, "-c", CODE], env=env, capture_output=True, text=True, check=True)
    before, after = json.loads(done.stdout)
    assert max(before) > 1, "the environment was heard"
    assert after and set(after) == {1}
