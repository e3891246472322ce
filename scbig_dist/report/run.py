"""The report of one run."""

from __future__ import annotations

from typing import Any

import yaml

from scbig_dist.report.document import Code, Document, Heading, Picture, Text
from scbig_dist.report.reading import RunFiles
from scbig_dist.report.run_figures import condition_scatter, condition_strip, loss_curves, strongest_baseline
from scbig_dist.report.tables import run_facts, scores_table

METRIC = "pearson_delta"


def run_document(run: RunFiles) -> Document:
    """Scores beside baselines, losses, conditions, settings and machine."""
    document = Document(f"Run {run.path.resolve().name}")
    document.add(Text(f"Data: {data_sentence(run.data_label)}", "label"))
    document.add(*(Text(f"Missing here: {problem}.", "note") for problem in run.problems))
    document.add(*scores_blocks(run))
    losses = loss_curves(run.log)
    if losses is not None:
        document.add(Heading("Training"))
        document.add(Picture("losses", losses, "Losses of every stage and the validation score, by update."))
    document.add(Heading("The run"), run_facts(run))
    notes = run.summary.get("notes") or run.summary.get("note") or []
    document.add(*(Text(str(line), "note") for line in ([notes] if isinstance(notes, str) else notes)))
    if run.config:
        document.add(Code("config.yaml", yaml.safe_dump(run.config, sort_keys=False, allow_unicode=True)))
    return document


def scores_blocks(run: RunFiles) -> list[Any]:
    """The scores on test and two pictures of them by condition; nothing before an evaluation."""
    if not run.scores:
        return []
    n_test = len(run.split.get("test") or []) or None
    about = f"{n_test} test conditions" if n_test else "the test conditions"
    caption = f"Mean over {about} ({run.data_label} data). ● best method; – undefined. Arrows: which way is better."
    blocks: list[Any] = [
        Heading("Scores on test"),
        scores_table(run.scores, caption, run.method, run.scores_meta.get("undefined"), n_test),
    ]
    ceiling = run.scores_meta.get("latent_ceiling")
    if isinstance(ceiling, dict):
        caption = "What the latent can carry: true test cells, encoded and decoded. A flow in this latent can hardly do better."
        blocks.append(scores_table({"true cells, encoded and decoded": ceiling}, caption, run.method))
    for part, table in (run.scores_meta.get("part_scores") or {}).items():
        if isinstance(table, dict) and table:
            n = (run.scores_meta.get("parts") or {}).get(part)
            about = f"Part '{part}'" + (f", {n} condition{'s' * (n != 1)}." if n else ".")
            missing = (run.scores_meta.get("part_undefined") or {}).get(part)
            blocks.append(scores_table(table, about, run.method, missing, n))
    strip = condition_strip(run.conditions, METRIC, run.method)
    if strip is not None:
        blocks.append(Picture("conditions", strip, f"{METRIC} of every test condition, by method."))
    other = strongest_baseline(run.scores, METRIC, run.method, run.scores_meta.get("undefined"))
    scatter = condition_scatter(run.conditions, METRIC, run.method, other) if other else None
    if scatter is not None:
        caption = f"{run.method} against {other}, the strongest baseline, by test condition: above the line {run.method} is better."
        blocks.append(Picture("against_baseline", scatter, caption))
    return blocks


def data_sentence(label: str) -> str:
    """What the label of a run's data means for its numbers."""
    meanings = {
        "semi-synthetic": "semi-synthetic. Real effects and baselines, drawn cells: the scores are not those of a real screen.",
        "simulated": "simulated. The scores say that the software works, nothing about biology.",
        "unknown": "not recorded.",
    }
    return meanings.get(label, f"{label}.")
