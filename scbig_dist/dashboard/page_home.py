"""The studies that the page was opened with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from scbig_dist.dashboard.blocks import Block, Heading, Link, Table
from scbig_dist.dashboard.study import Snapshot
from scbig_dist.report.wording import bare, score


def home_page(studies: Mapping[str, Snapshot]) -> list[Block]:
    rows = []
    for name, study in studies.items():
        counts = Counter(t.status for t in study.trials.values())
        over, best = sum(counts[s] for s in ("finished", "stopped", "failed")), study.best
        state = (
            "a sweep is at work"
            if study.sweep.at_work
            else "ended"
            if over == study.n_trials
            else "no sweep is at work"
        )
        value = (
            "–"
            if best is None
            else f"{study.metric} {score(best.scores[study.metric], bare(study.metric))} (trial {best.id})"
        )
        rows.append(
            (
                Link(name, f"/study/{name}"),
                state,
                f"{over} of {study.n_trials}",
                str(counts["failed"]),
                value,
                ", ".join(study.axes),
            )
        )
    columns = ("study", "state", "ended", "failed", "best", "axes")
    return [Heading("Studies"), Table("studies", columns, tuple(rows), frozenset({2, 3}))]
