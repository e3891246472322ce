"""Two to six trials beside each other: curves, settings that differ, scores by condition, and a paired test."""

from __future__ import annotations

from collections.abc import Sequence

from scbig_dist.dashboard.beside import trial_href
from scbig_dist.dashboard.blocks import Block, Cell, Chart, Choice, Choices, Columns, Heading, Link, Table, Text
from scbig_dist.dashboard.conditions import paired_tests, per_condition
from scbig_dist.dashboard.curve_figures import curves_over_another
from scbig_dist.dashboard.figures import setting_text
from scbig_dist.dashboard.study import Snapshot
from scbig_dist.dashboard.trial import Trial, config_of
from scbig_dist.dashboard.view import View
from scbig_dist.metrics.summary import METRICS
from scbig_dist.report.wording import MISSING, arrow, bare, duration, score
from scbig_dist.report.wording import number as shown
from scbig_dist.settings import flatten

FEWEST, MOST = 2, 6
MOST_OPTIONS = 400


def compare_page(view: View) -> list[Block]:
    chosen = chosen_trials(view)
    options = _options(view)
    pick = Choices("set", (Choice("trials", "trials, two to six", options, [key for key, _, _ in chosen], many=True),))
    heading = Heading("Compare")
    if len(chosen) < FEWEST:
        said = "Pick two to six trials: their curves, settings, scores by condition and a paired test stand here."
        return [heading, pick, Text("compare-empty", said, "empty")]
    few = chosen[:MOST]
    logs = {name(key, trial, view): view.logs(trial.runs[0] / "metrics.jsonl") for key, study, trial in few}
    metric = view.study.metric
    scatter, scatter_said = per_condition([(name(k, t, view), t) for k, _, t in few], bare(metric))
    return [
        heading, pick,
        Text("compare-many", f"The first {MOST} of {len(chosen)} are shown." if len(chosen) > MOST else "", "note"),
        Text("budgets", _budgets(few), "warn"),
        Columns((
            Chart("validation", "Validation", curves_over_another(logs, metric), "While training, from the first validation on."),
            Chart("loss", "Loss", curves_over_another(logs, "loss"), "Of the stage that a trial is judged by, as logged."),
        )),
        Heading("Scores and costs"),
        _scores(few, view),
        Heading("Settings that differ"),
        _settings(few, view),
        Heading("Condition by condition"),
        Columns((
            Chart("conditions", "Test scores by condition", scatter, scatter_said, 380),
            paired_tests([(name(k, t, view), t) for k, _, t in few], bare(metric)),
        )),
    ]  # fmt: skip


def chosen_trials(view: View) -> list[tuple[str, Snapshot, Trial]]:
    """(key, study, trial) of the query's `trials`; names that are none are passed over. A key is TRIAL or STUDY:TRIAL."""
    found: dict[str, tuple[str, Snapshot, Trial]] = {}
    for key in view.query.get("trials", "").split(","):
        study_name, _, trial_name = key.rpartition(":")
        if study_name and study_name not in view.studies:
            continue
        study = view.studies[study_name]() if study_name else view.study
        if (trial := study.trials.get(trial_name)) is not None:
            key = trial_name if study.id == view.study.id else key
            found.setdefault(key, (key, study, trial))
    return list(found.values())


def _options(view: View) -> tuple[tuple[str, str], ...]:
    """Trials of this study by rank, then the ranked ones of the others."""
    ranked = [t for group in view.study.groups for t in group.trials]
    rest = [t for t in view.study.trials.values() if t.id not in view.study.places]
    options = [(t.id, _option(view.study, t)) for t in [*ranked, *rest]]
    for other in view.studies:
        if other != view.study.id:
            study = view.studies[other]()
            options += [(f"{other}:{t.id}", f"{other}: {_option(study, t)}") for g in study.groups for t in g.trials]
    shown = options[:MOST_OPTIONS]
    picked = set(view.query.get("trials", "").split(","))
    return tuple(shown + [option for option in options[MOST_OPTIONS:] if option[0] in picked])


def _option(study: Snapshot, trial: Trial) -> str:
    value = trial.scores.get(study.metric)
    return trial.title + (f"  {score(value, bare(study.metric))}" if value is not None else f"  {trial.status}")


def name(key: str, trial: Trial, view: View) -> str:
    return f"{key} {trial.name}".strip()


def _budgets(few: Sequence[tuple[str, Snapshot, Trial]]) -> str:
    """A warning where the trials had different budgets."""
    groups = {key: place.group for key, study, trial in few if (place := study.places.get(trial.id))}
    if len(set(groups.values())) < 2:
        return ""
    return "These trials had different budgets, so their scores are not on equal terms: " + "; ".join(
        f"{k}: {g}" for k, g in groups.items()
    )


def _scores(few: Sequence[tuple[str, Snapshot, Trial]], view: View) -> Block:
    metrics = [f"{part}_{m}" for part in ("val", "test") for m in METRICS[:4]]
    kept = [m for m in dict.fromkeys([view.study.metric, *metrics]) if any(m in t.scores for _, _, t in few)]
    rows = list[tuple[Cell, ...]]()
    for key, study, trial in few:
        cells = [score(trial.scores.get(m), bare(m)) for m in kept]
        costs = [
            duration(trial.seconds),
            f"{shown(trial.costs.get('peak_mem_gb'))}",
            MISSING if trial.budget is None else f"{trial.budget:,}",
        ]
        rows.append((Link(name(key, trial, view), trial_href(study, trial.id)), trial.status, *cells, *costs))
    columns = ("trial", "status", *(f"{m} {arrow(m)}" for m in kept), "time", "memory, GB", "budget")
    return Table("scores", columns, tuple(rows), frozenset(range(2, len(columns))))


def _settings(few: Sequence[tuple[str, Snapshot, Trial]], view: View) -> Block:
    configs = {key: flatten(config_of(trial).value) for key, _, trial in few}
    known = list(dict.fromkeys(a for config in configs.values() for a in config))
    differs = [a for a in known if len({repr(config.get(a, MISSING)) for config in configs.values()}) > 1]
    missing = [key for key, config in configs.items() if not config]
    caption = f"No config can be read of {', '.join(missing)}." if missing else ""
    if not differs:
        return Text("settings", "No setting differs." + caption, "note")
    names = [name(key, trial, view) for key, _, trial in few]
    rows = tuple(
        (a, *(setting_text(configs[key][a]) if a in configs[key] else MISSING for key, _, _ in few)) for a in differs
    )
    return Table("settings", ("setting", *names), rows, frozenset(range(1, len(names) + 1)), caption=caption)
