"""What each axis does to a score: all at once, one, two, how much each matters, and the front of two objectives."""

from __future__ import annotations

from scbig_dist.dashboard.axis_figures import heat_map, importance_bars, one_axis, parallel, pareto, value_of
from scbig_dist.dashboard.blocks import Block, Chart, Choice, Choices, Columns, Heading, Text
from scbig_dist.dashboard.figures import label
from scbig_dist.dashboard.important import Found
from scbig_dist.dashboard.study import Snapshot
from scbig_dist.dashboard.trial import COSTS, Trial
from scbig_dist.dashboard.view import View
from scbig_dist.report.wording import arrow


def axes_page(view: View) -> list[Block]:
    study = view.study
    axes = study.axes
    if not axes:
        return [
            Heading("Axes"),
            Text("axes-empty", "This study names no axis: nothing differs between its trials.", "empty"),
        ]
    labels = [group.label for group in study.groups if group.trials[0].status == "finished"]
    budget = view.chosen("budget", labels)
    trials = compared(study, budget)
    columns = measured(study)
    metric = view.chosen("metric", columns, study.metric)
    x = view.chosen("x", axes)
    y = view.chosen("y", axes, next((a for a in axes if a != x), axes[0]))
    other = view.chosen("other", columns, default_other(study, columns, metric))
    scatter, scatter_said = one_axis(study, trials, x, metric)
    map_, map_said = heat_map(study, trials, x, y, metric)
    front, front_said = pareto(study, trials, other, metric)
    importances = view.importances.of(study, trials, metric)
    axis_options, column_options = tuple((a, a) for a in axes), tuple((c, label(c)) for c in columns)
    return [
        Heading("Axes", f"{len(trials)} finished trials of {budget}" if budget else "no trial has finished yet"),
        Choices("set", (
            Choice("metric", "score", column_options or ((metric, metric),), metric),
            Choice("x", "axis", axis_options, x),
            Choice("y", "second axis", axis_options, y),
            Choice("other", "second objective", column_options or ((other, other),), other),
            Choice("budget", "budget", tuple((b, b) for b in labels) or (("", "none yet"),), budget),
        )),
        Chart("parallel", "All axes", parallel(study, trials, metric),
              f"A line per finished trial through its settings to {metric} {arrow(metric)}; yellower is better, orange the best.", 380),
        Columns((
            Chart("one-axis", f"{metric} against {x}", scatter, scatter_said),
            Chart("heat-map", f"{x} × {y}", map_, map_said),
        )),
        Columns((
            _importance(importances, metric),
            Chart("pareto", "Two objectives", front, front_said),
        )),
    ]  # fmt: skip


def _importance(found: Found | None, metric: str) -> Chart:
    if found is None:
        return Chart("importance", "Importance", None, "Being computed: it appears here in a moment.")
    if found.problem or not found.shares:
        return Chart(
            "importance",
            "Importance",
            None,
            found.problem or "Optuna's fANOVA, from four finished trials that differ on.",
        )
    said = (
        f"Optuna's fANOVA over {found.n} trials: the share of the variance of {metric} that an axis explains by itself."
    )
    few = " So few trials say little." if found.n < 30 else ""
    return Chart("importance", "Importance", importance_bars(found.shares), said + few)


def compared(study: Snapshot, budget: str) -> list[Trial]:
    """Finished trials of one budget: only these can be compared."""
    return [t for group in study.groups if group.label == budget for t in group.trials if t.status == "finished"]


def measured(study: Snapshot) -> list[str]:
    """Scores and costs that some trial has, the study's own metric first."""
    names = {n for t in study.of("finished") for n in (*t.scores, *t.costs) if value_of(t, n) is not None}
    scores = sorted(n for n in names if n not in COSTS and n != study.metric)
    return [study.metric, *scores, *(c for c in COSTS if c in names)]


def default_other(study: Snapshot, columns: list[str], metric: str) -> str:
    """The study's second objective where it names one, else what a trial costs."""
    named = [o for o in study.objectives if o != metric and o in columns]
    return next(iter([*named, *(c for c in ("seconds_total", "step_ms", "peak_mem_gb") if c in columns)]), metric)
