"""Splits: which conditions train, which choose, which are scored once at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from scbig_dist.conditions import Condition
from scbig_dist.config_data import SplitConfig
from scbig_dist.screen import split_rules
from scbig_dist.screen.split_file import read_split, write_split
from scbig_dist.screen.split_record import Split, check_split, sorted_conditions
from scbig_dist.screen.split_rules import Draft, T

__all__ = ["Split", "check_split", "make_split", "read_split", "write_split"]

RULES = {
    "additive": split_rules.additive,
    "holdout": split_rules.holdout,
    "simulation": split_rules.simulation,
    "random": split_rules.random,
}


def make_split(conditions: Sequence[Condition], config: SplitConfig) -> Split:
    """The split of `config` over the perturbed ones among `conditions`, checked for leaks.

    A perturbation goes one way with all its contexts and doses; only `transfer` divides
    by context. Raises UserError where there are too few eligible conditions.
    """
    if config.file is not None:
        return read_split(Path(config.file), conditions)
    rng = np.random.default_rng(config.seed)
    perturbed = sorted_conditions(condition for condition in conditions if not condition.is_control)
    if config.kind == "transfer":
        split = finish(split_rules.transfer(perturbed, config, rng), config, sorted_conditions)
    else:
        members: dict[str, list[Condition]] = {}
        for condition in perturbed:
            members.setdefault(condition.perturbation, []).append(condition)

        def expand(names: Iterable[str]) -> tuple[Condition, ...]:
            return sorted_conditions(condition for name in names for condition in members[name])

        split = finish(RULES[config.kind](sorted(members), config, rng), config, expand)
    check_split(split)
    return split


def finish(draft: Draft[T], config: SplitConfig, expand: Callable[[Iterable[T]], tuple[Condition, ...]]) -> Split:
    """The record of a draft, its units expanded to conditions; empty parts are left out."""
    parts = {name: expand(units) for name, units in draft.parts.items() if units}
    return Split(config.kind, config.seed, expand(draft.train), expand(draft.val), expand(draft.test), parts)
