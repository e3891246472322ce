"""What the trials of a study share, and what they would cost: said before any of them starts."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from scbig_dist.artifacts.contents import MANIFEST
from scbig_dist.artifacts.place import open_place
from scbig_dist.cluster.plan import Plan
from scbig_dist.cluster.trials import read_json
from scbig_dist.config import Config
from scbig_dist.errors import amount
from scbig_dist.settings import flatten, with_values
from scbig_dist.train.arrows import Arrow
from scbig_dist.train.experiment import open_experiment
from scbig_dist.train.forecast import Forecast, forecast, screen_of_store, time_text
from scbig_dist.train.inputs import planned
from scbig_dist.train.measure import Rates, measure

BANDWIDTH = 1.25e9  # bytes/s between two workers, as `scbig scale` takes it
PATIENCE_S = 30.0  # of measuring, in all; then shapes are taken for the most alike of those measured
COSTLESS = (  # settings that change how many steps there are, or what they learn, and not what one costs
    "store", "data", "qc", "split", "shift", "autoencoder.lr", "autoencoder.schedule", "autoencoder.epochs",
    "autoencoder.patience", "autoencoder.check_every", "autoencoder.metacell_weight", "autoencoder.metacell_size",
    "flow.lr", "flow.schedule", "flow.steps", "flow.sigma", "flow.condition_drop", "flow.clip", "flow.validate_every",
    "flow.latent_scale", "align.every", "align.lambda_corr", "align.lambda_path", "align.epsilon", "train.seed",
    "train.checkpoint_every", "train.memory_gb", "evaluate.n_cells", "grc.seed", "priors.target_embedding",
)  # fmt: skip


def kept_root(study_dir: Path) -> str | None:
    """Where the study's artefacts lie, as `--artifacts` said when it was begun; None: in the study."""
    kept = study_dir / "study.yaml"
    return yaml.safe_load(kept.read_text()).get("artifacts") if kept.is_file() else None


def artifact_root(study_dir: Path) -> str:
    return kept_root(study_dir) or str(study_dir / "artifacts")


def print_outlook(plan: Plan, root: str, estimate: bool) -> None:
    """Distinct artefacts of the trials that are known, which of them are there, and what the rest would cost."""
    console = Console(markup=False, soft_wrap=True, highlight=False)
    configs = [plan.config(point.values) for point in plan.points[: plan.n_trials]]
    unknown = plan.n_trials - len(configs)
    if unknown:
        console.print(f"{amount(unknown, 'trial')} named as the search goes: what they share is not known before")
    if not configs:
        configs = [plan.base]
        console.print("what follows is for one trial with the study's base settings")
    n_known = len(configs)
    configs = [
        with_values(config, {"train.seed": config.train.seed + n})
        for config in configs
        for n in range(plan.study.seeds)
    ]
    arrows = [planned(open_experiment(config)) for config in configs]
    there = _there(root, arrows)
    _print_artifacts(console, arrows, there, root)
    if not estimate:
        return
    if plan.base.model.name != "scbig":
        console.print("no estimate: a baseline's steps are not forecast")
        return
    costs, basis = _forecasts(configs)
    _print_costs(console, arrows, there, costs, basis)
    if unknown:
        hours = sum(cost.hours for cost in costs) / n_known * plan.n_trials
        console.print(f"all {amount(plan.n_trials, 'trial')}, if each is like that: {time_text(hours)} by themselves")


def saved(study_dir: Path) -> str:
    """What the runs of a study did not have to make themselves, in words; empty where that is nothing."""
    runs = [*study_dir.glob("trials/*/run.json"), *study_dir.glob("trials/*/*/run.json")]
    reused = [each for run in runs for each in read_json(run).get("artifacts", []) if each["reused"]]
    if not reused:
        return ""
    hours = sum(each["seconds"] for each in reused) / 3600
    return f"shared artefacts were used {len(reused)} times instead of made: {time_text(hours)} not spent twice"


def _there(root: str, arrows: Sequence[list[Arrow]]) -> set[str]:
    """Names of those that stand in the root; their checksums are looked at by whoever reads them."""
    place = open_place(root)
    standing = set(place.names())
    names = {_name(arrow) for each in arrows for arrow in each}
    return {name for name in names if name in standing and MANIFEST in place.names(name)}


def _name(arrow: Arrow) -> str:
    return f"{arrow.kind}-{arrow.key}"


def _print_artifacts(console: Console, arrows: Sequence[list[Arrow]], there: set[str], root: str) -> None:
    shared = Counter(_name(arrow) for each in arrows for arrow in each)
    if not shared:
        return
    table = Table("artefact", "distinct", "runs that share one", "there", title=f"in {root}", title_justify="left")
    for kind in dict.fromkeys(arrow.kind for each in arrows for arrow in each):
        counts = {name: n for name, n in shared.items() if name.startswith(f"{kind}-")}
        groups = Counter(counts.values())
        text = ", ".join(f"{n}" if groups[n] == 1 else f"{n} ({groups[n]}×)" for n in sorted(groups, reverse=True))
        table.add_row(kind, str(len(counts)), text, str(sum(name in there for name in counts)))
    console.print(table)


def _forecasts(configs: Sequence[Config]) -> tuple[list[Forecast], str]:
    """One per trial, from a measurement per shape, for as long as there is patience; and their basis in words."""
    began, rates, borrowed = time.monotonic(), dict[str, tuple[Config, Rates]](), 0
    found = []
    for config in configs:
        screen = screen_of_store(config, None)
        shape = str(_shape(config))
        if shape in rates:
            own = rates[shape][1]
        elif not rates or time.monotonic() - began < PATIENCE_S:
            own = measure(config, screen.n_genes, screen.entries_per_cell, config.train.most_workers)
            rates[shape] = (config, own)
        else:
            borrowed += 1
            own = min(rates.values(), key=lambda each: _difference(each[0], config))[1]
        found.append(forecast(config, screen, own, config.train.most_workers, BANDWIDTH))
    basis = f"steps of {len(rates)} shape{'s' if len(rates) > 1 else ''} timed here in {time.monotonic() - began:.0f} s"
    if borrowed:
        basis += f"; {borrowed} runs of other shapes are taken for the most alike of these"
    return found, basis


def _shape(config: Config) -> dict[str, Any]:
    """What a step costs depends on."""
    flat = flatten(config.model_dump())
    kept = {name: value for name, value in flat.items() if not name.startswith(tuple(f"{each}." for each in COSTLESS))}
    kept = {name: value for name, value in kept.items() if name not in COSTLESS}
    return kept | {f"align.{name}": getattr(config.align, name) > 0 for name in ("lambda_corr", "lambda_path")}


def _difference(one: Config, other: Config) -> int:
    left, right = _shape(one), _shape(other)
    return sum(left[name] != right[name] for name in left)


def hours_by_kind(found: Forecast) -> dict[str, float]:
    """Hours of a training by the artefact that they go into."""
    stages = {stage.name: stage.hours for stage in found.stages}
    return {
        "modules": found.parts["components and modules"],
        "autoencoder": stages["autoencoder"],
        "latents": found.parts["latents"],
        "flow": stages["flow"],
    }


def _print_costs(
    console: Console, arrows: Sequence[list[Arrow]], there: set[str], costs: Sequence[Forecast], basis: str
) -> None:
    made, shared_hours = set(there), 0.0
    for each, cost in zip(arrows, costs, strict=True):
        hours, kinds = hours_by_kind(cost), {arrow.kind for arrow in each}
        for arrow in each:
            if _name(arrow) not in made:
                made.add(_name(arrow))
                shared_hours += hours.get(arrow.kind, 0.0)
        shared_hours += sum(value for kind, value in hours.items() if kind not in kinds)
    alone = sum(cost.hours for cost in costs)
    low, high = (pick(cost.hours for cost in costs) for pick in (min, max))
    memory = max(cost.host_gb for cost in costs)
    gpu = max(cost.device_gb for cost in costs)
    table = Table("", "training", title=f"estimate ({basis})", title_justify="left")
    table.add_row("a run by itself", time_text(low) if low == high else f"{time_text(low)} to {time_text(high)}")
    table.add_row(f"{amount(len(costs), 'run')} by {'itself' if len(costs) == 1 else 'themselves'}", time_text(alone))
    table.add_row("with what they share made once, and what is there", time_text(shared_hours))
    console.print(table)
    console.print(
        f"memory of a worker: {memory:.2f} GB of its own" + (f" + {gpu:.2f} GB on its GPU" if gpu else "") + ", and a "
        "few tenths in libraries and mapped shards, which processes share and peak_mem_gb counts. Stage 1 is counted with "
        "all its epochs, early stopping and the reading of priors not at all; scoring comes on top"
    )
