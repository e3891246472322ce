"""What a report says of a study with two metrics: the trials that no other beats in both."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from scbig_dist.cluster.objectives import Objective
from scbig_dist.report.document import Block, Heading, Picture, Table, Text
from scbig_dist.report.ranking import competing, front_of
from scbig_dist.report.reading import StudyFiles
from scbig_dist.report.style import COLOURS, INK, canvas, legend
from scbig_dist.report.tables import with_spread
from scbig_dist.report.wording import is_missing, number, setting, with_unit


def front_blocks(study: StudyFiles, axes: list[str], objectives: list[Objective]) -> list[Block]:
    """Table and picture of the front; nothing for one metric."""
    names = [each.name for each in objectives]
    if len(objectives) < 2:
        return []
    heading = Heading("Front of two metrics")
    if not {"trial", "status", *names} <= set(study.trials.columns):
        return [heading, Text(f"trials.parquet lacks {' or '.join(names)}: there is no front.", "note")]
    front, able = front_of(study.trials, objectives), competing(study.trials, names)
    if not front:
        return [heading, Text("No finished trial has both metrics.", "note")]
    tests = [c for c in ("test_pearson_delta", "test_e_dist") if any(not is_missing(row.get(c)) for row in front)]
    named = ["name"] if any(not is_missing(row.get("name")) for row in front) else []
    headings = (*(_heading(each) for each in objectives), *tests)
    columns = ("trial", *named, *axes, *headings)
    rows = tuple(
        (
            str(row["trial"]),
            *(number(row[n]) for n in named),
            *(setting(row[axis]) for axis in axes),
            *(_value(row, name) for name in (*names, *tests)),
        )
        for row in front
    )
    out = len(study.trials) - int(able.sum())
    about = f"No other trial is as good in both and better in one. Of {int(able.sum())} finished trials of equal budget"
    about += f"; {out} that failed, were stopped or had less training are left out." if out else "."
    picture = _figure(study.trials[able].to_dict("records"), front, objectives)
    return [
        heading,
        Table(columns, rows, frozenset(columns[1 + len(named) :]), about),
        Picture("front", picture, f"{names[0]} against {names[1]}: finished trials of equal budget, the front joined."),
    ]


def _heading(of: Objective) -> str:
    return f"{with_unit(of.name)} {'↑' if of.sign > 0 else '↓'}"


def _value(row: dict[str, Any], name: str) -> str:
    return with_spread(row, name) if name.startswith(("val_", "test_")) else number(row.get(name))


def _figure(trials: list[dict[Any, Any]], front: list[dict[str, Any]], objectives: list[Objective]) -> Figure:
    """The first metric over the second; bars: standard deviation over a trial's seeds."""
    score, cost = objectives[0].name, objectives[1].name
    figure, (panel,) = canvas(5.4, 3.6)
    on_front = {row["trial"] for row in front}
    rest = [row for row in trials if row["trial"] not in on_front]
    for rows, colour, mark, line, label in (
        (rest, COLOURS[0], "o", "none", "beaten"), (front, COLOURS[1], "D", (0, (2, 2)), "front"),
    ):  # fmt: skip
        if not rows:
            continue
        x, y = [row[cost] for row in rows], [row[score] for row in rows]
        spread = [0.0 if is_missing(row.get(f"{score}_sd")) else float(row[f"{score}_sd"]) for row in rows]
        if any(spread):
            panel.errorbar(x, y, yerr=spread, fmt="none", ecolor=colour, elinewidth=1.0, alpha=0.6)
        panel.plot(
            x,
            y,
            color=colour,
            marker=mark,
            ls=line,
            drawstyle="steps-post",
            lw=1.2,
            ms=6,
            mec="white",
            mew=0.6,
            label=label,
        )
    for row in front:
        panel.annotate(str(row["trial"]), (row[cost], row[score]), xytext=(5, 5), textcoords="offset points", fontsize=8, color=INK)  # fmt: skip
    panel.set_xlabel(_heading(objectives[1]))
    panel.set_ylabel(_heading(objectives[0]))
    panel.margins(0.12)
    legend(panel, loc="best")
    return figure
