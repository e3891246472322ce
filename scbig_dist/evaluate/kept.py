"""Validation scores of a run as an artefact: what follows from the same flow is drawn and scored once."""

from __future__ import annotations

import json
import time
from pathlib import Path

from scbig_dist.artifacts import Shelf, write_text
from scbig_dist.evaluate.run import evaluate_run
from scbig_dist.models.names import method_name
from scbig_dist.settings import load_config
from scbig_dist.train.arrows import scores_arrow

SCORES = "scores.json"


def validation_scores(run: Path, root: Path | str | None) -> dict[str, float | None]:
    """Scores of a finished run's own model, from `root` (a path or a URI) where another run's equal model has left them.

    A run without an artefact of its flow (a baseline, or no `root`) is scored anew.
    """
    config = load_config(run / "config.yaml")

    def scored() -> dict[str, float | None]:
        table = evaluate_run(run, part="val", progress=False, references=False)
        return table[method_name(config)]

    used = json.loads((run / "run.json").read_text()).get("artifacts", [])
    flow = next((each["key"] for each in used if each["kind"] == "flow"), None)
    if root is None or flow is None:
        return scored()
    arrow = scores_arrow(config, flow, "val")
    with Shelf(root, config.data.cache, str(run.resolve())) as shelf, shelf.claim(arrow.kind, arrow.key) as found:
        if found is None:
            began, scores = time.monotonic(), scored()

            def write(beside: Path) -> None:
                write_text(beside / SCORES, json.dumps(scores, indent=1, allow_nan=False))

            found = shelf.put(arrow.kind, arrow.key, arrow.inputs, write, time.monotonic() - began)
        kept: dict[str, float | None] = json.loads((found.path / SCORES).read_text())
    return kept
