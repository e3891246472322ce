"""From a study to its trials: the points that are known beforehand, all checked."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scbig_dist.cluster.axes import Range, Value, combinations
from scbig_dist.cluster.study import Study
from scbig_dist.cluster.study_schema import STUDY_SCHEMA
from scbig_dist.config import Config
from scbig_dist.errors import UserError
from scbig_dist.screen.splits import Split
from scbig_dist.settings import addresses, flatten, load_config, read_values, suggest_address, with_values
from scbig_dist.store.reader import Store
from scbig_dist.train.baseline_inputs import SEES_TARGETS
from scbig_dist.train.experiment import STAND_INS, divide, open_config_store, settle
from scbig_dist.train.prior_files import check_prior_files
from scbig_dist.train.target_vectors import require_sources

FILES = (
    "store", "split.file", "grc.feedback",
    "priors.ppi", "priors.pathways", "priors.gene_embedding", "priors.target_embedding",
)  # fmt: skip
EVERY_GENE = "genes"  # a point's `grc.n_modules`: each gene is a module of its own
MOST_TRIED = 64  # combinations with one value in them; enough to find a valid one where there is one to find


@dataclass(frozen=True)
class Point:
    """A trial that is known before the study starts."""

    name: str
    values: dict[str, Value]


@dataclass(frozen=True)
class Plan:
    """A study made ready: its base config (store's settings and absolute paths in it) and its points."""

    study: Study
    base: Config
    points: tuple[Point, ...]
    n_trials: int
    store_key: str

    def config(self, values: Mapping[str, Any]) -> Config:
        return with_values(self.base, _absolute(values))

    def extremes(self) -> list[Config]:
        """Configs that hold every kind of trial there may be, as far as `train.*` goes."""
        configs = [self.config(point.values) for point in self.points]
        if self.study.sampler != "grid":
            ends = {address: of for address, of in _ends(self.study).items() if address.startswith("train.")}
            when = {address: others for address, others in self.study.when.items() if others.keys() <= ends.keys()}
            for combination in itertools.islice(combinations(ends, when), MOST_TRIED):
                with suppress(UserError):  # a combination that no trial can have
                    configs.append(self.config(combination))
        return configs

    def record(self) -> dict[str, Any]:
        """What `study.yaml` keeps: everything that makes two studies the same, and a hash of it."""
        asked = self.study.model_dump(exclude={"scales", "base", "fixed", "n_trials"})
        base = {address: value for address, value in flatten(self.base.model_dump()).items() if address != "store"}
        settled: dict[str, Any] = {**asked, "store_key": self.store_key, "config": base}
        digest = hashlib.sha256(json.dumps(settled, sort_keys=True).encode()).hexdigest()[:16]
        return {"schema": STUDY_SCHEMA, "hash": digest, "n_trials": self.n_trials, "store": self.base.store, **settled}


def make_plan(study: Study, path: Path, overrides: Mapping[str, Any]) -> Plan:
    """The plan of a study read from `path`; every value it can take is checked here, before any trial."""
    where = f"study {path}"
    known = set(addresses())
    for address in study.addresses:
        if address not in known:
            raise UserError(f"{where}: unknown axis '{address}'; {suggest_address(address)}")
        if address == "store" or address.startswith(("data.", "qc.")):
            raise UserError(f"{where}: axis '{address}' is settled by the store; build one store per value instead")
        if address in overrides and (address in study.axes or all(address in each for each in study.points.values())):
            raise UserError(
                f"--set {address}={overrides[address]}: an axis of {path}; change the study, or leave the setting out"
            )
    preset = None if study.base is None else (path.parent / study.base).resolve()
    fixed = {**({} if preset is None else read_values(preset)), **study.fixed}
    base = settle(load_config(None, fixed | dict(overrides)), overrides)
    store = open_config_store(base)
    study = _completed(study, base, store)
    if base.split.n_val == 0 and base.split.file is None:
        raise UserError(f"{where}: split.n_val=0 leaves nothing to choose trials by; set it to 1 or more")
    address, steps = full_budget(base)
    if study.stopping is not None and study.stopping.grace >= steps:
        raise UserError(
            f"{where}: stopping.grace={study.stopping.grace} is not below {address}={steps}: no trial could be stopped"
        )
    points = _points(study)
    n_trials = len(points) if study.n_trials is None else study.n_trials
    if study.sampler == "grid" or not study.axes:
        if n_trials > len(points):
            raise UserError(
                f"{where}: n_trials={n_trials}, but there are {len(points)} points; ask for at most that many"
            )
        points = points[:n_trials]
    for point in points:
        _check_values(base, store, point.values, where)
    if study.sampler != "grid":
        _check_axes(base, store, study, where)
    plan = Plan(study, base, tuple(points), n_trials, store.key)
    configs = [plan.config(point.values) for point in points] or [base]
    check_prior_files([base, *configs], store)
    _check_splits(configs, store, where)
    return plan


def _check_splits(configs: Sequence[Config], store: Store, where: str) -> None:
    """Refuse a split that leaves nothing to choose by, and one with targets of which a trial would know nothing."""
    splits: dict[str, Split] = {}
    for config in configs:
        asked = config.split.model_dump_json()
        split = splits[asked] = splits.get(asked) or divide(store, config)
        if not split.val:
            raise UserError(
                f"{where}: split.file={config.split.file} has no validation conditions, so nothing to choose trials by; name some under 'val'"
            )
        if config.model.name == "scbig" or config.model.name in SEES_TARGETS:
            require_sources(config, split)


def _completed(study: Study, base: Config, store: Store) -> Study:
    """The study with every point naming every address but axes that it lacks: what one leaves out is the base's."""
    kept = {address: base.get(address) for address in study.addresses if address not in study.axes}
    points = {name: _counted(kept | point, base, store) for name, point in study.points.items()}
    return study.model_copy(update={"points": points})


def _counted(point: Mapping[str, Value], base: Config, store: Store) -> dict[str, Value]:
    """The point with a number where it says "genes"."""
    if point.get("grc.n_modules") != EVERY_GENE:
        return dict(point)
    n_hvg = point.get("panel.n_hvg", base.panel.n_hvg)
    return {**point, "grc.n_modules": store.n_genes(n_hvg)}  # type: ignore[arg-type]


def _points(study: Study) -> list[Point]:
    points = [Point(name, dict(values)) for name, values in study.points.items()]
    if study.axes and study.sampler == "grid":
        lists = {address: axis for address, axis in study.axes.items() if not isinstance(axis, Range)}
        assert len(lists) == len(study.axes)
        given = [point.values for point in points]
        points += [Point("", values) for values in combinations(lists, study.when) if values not in given]
    return points


def full_budget(config: Config) -> tuple[str, int]:
    """The address of what a training is given, and the micro-steps that it comes to."""
    if config.model.name == "scbig":
        return "flow.steps", config.flow.steps
    return "baseline.steps", config.baseline.steps * config.train.most_workers


def _ends(study: Study) -> dict[str, list[Any]]:
    """{address: both ends of its range, or its listed values}."""
    return {address: [axis.low, axis.high] if isinstance(axis, Range) else axis for address, axis in study.axes.items()}


def _check_axes(base: Config, store: Store, study: Study, where: str) -> None:
    """Refuse an end of a range, or a listed value, that no combination with the others makes valid."""
    ends = _ends(study)
    for address, values in ends.items():
        for value in values:
            others = {name: [value] if name == address else of for name, of in ends.items()}
            having = (each for each in combinations(others, study.when) if address in each)
            errors: list[UserError] = []
            for combination in itertools.islice(having, MOST_TRIED):
                try:
                    _check_values(base, store, combination, where)
                    break
                except UserError as error:
                    errors.append(error)
            else:
                raise errors[0]


def _check_values(base: Config, store: Store, values: Mapping[str, Any], where: str) -> None:
    try:
        config = with_values(base, _absolute(values))
    except UserError as error:
        raise UserError(f"{where}: {str(error).removeprefix('--set: ')}") from None
    n_genes = store.n_genes(config.panel.n_hvg)
    asked = values.get("panel.n_hvg")
    if asked is not None and asked > store.manifest.n_hvg:
        raise UserError(
            f"{where}: panel.n_hvg={asked}, but store {store.name} has {store.manifest.n_hvg} HVGs: trials would repeat each "
            "other; build a store with more, or lower it"
        )
    if config.grc.n_modules > n_genes:
        raise UserError(
            f"{where}: grc.n_modules={config.grc.n_modules} is above the panel's {n_genes} genes "
            f"(panel.n_hvg={config.panel.n_hvg}); lower one or raise the other"
        )


def _absolute(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values with file names made absolute: a worker starts elsewhere."""
    return {
        address: str(Path(value).resolve())
        if address in FILES and isinstance(value, str) and value not in STAND_INS
        else value
        for address, value in values.items()
    }
