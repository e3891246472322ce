"""The record of a split, and the check that nothing leaks through it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from scbig_dist.conditions import Condition
from scbig_dist.errors import UserError, listed

UNUSED = "unused"  # the part of whatever is neither trained on, nor chosen by, nor scored
COMBINATIONS = ("combo_seen0", "combo_seen1", "combo_seen2")


@dataclass(frozen=True)
class Split:
    """Perturbed conditions by their use, each tuple sorted; controls belong to none and are always at hand.

    `parts` names subsets of test (`test_single`, `combo_seen1`) and groups that are in
    none of the three (`one_unseen`, `unused`). `seed` is None for a hand-written split.
    """

    kind: str
    seed: int | None
    train: tuple[Condition, ...]
    val: tuple[Condition, ...]
    test: tuple[Condition, ...]
    parts: dict[str, tuple[Condition, ...]] = field(default_factory=dict)

    @property
    def sizes(self) -> dict[str, int]:
        """Conditions in training, validation, test and every named part."""
        groups = {"train": self.train, "val": self.val, "test": self.test, **self.parts}
        return {name: len(members) for name, members in groups.items()}


def check_split(split: Split, where: str = "split") -> None:
    """Raise UserError, naming the conditions, where something held out is also trained on or chosen by,
    where a part overlaps with another, or where the split is not of the kind that it names."""
    for part in ("train", "test"):
        if not getattr(split, part):
            raise UserError(f"{where}: '{part}' has no condition; name at least one")
    # In a transfer the same perturbation is trained on in one context and tested in another.
    by_context = split.kind == "transfer"

    def keys(members: Iterable[Condition]) -> dict[Any, Condition]:
        return {(c.context if by_context else None, frozenset(c.targets)): c for c in members}

    held_out = {"train": keys(split.train), "val": keys(split.val), "test": keys(split.test)}
    for first, second in (("test", "train"), ("test", "val"), ("val", "train")):
        _refuse(
            where,
            set(getattr(split, first)) & set(getattr(split, second)),
            f"in both '{first}' and '{second}'",
            "keep one",
        )
        shared = held_out[first].keys() & held_out[second].keys()
        apart = not by_context and any(held_out[first][k].context != held_out[second][k].context for k in shared)
        remedy = 'keep one, or write "kind": "transfer" if another context is the test' if apart else "keep one"
        why = f"in '{first}' and, in another context, in '{second}'" if apart else f"in both '{first}' and '{second}'"
        _refuse(where, (held_out[first][key] for key in shared), why, remedy)
    _check_parts(split, where, held_out["train"].keys() | held_out["val"].keys(), keys)
    seen = trained_targets(split.train)
    if split.kind == "holdout":
        found = [c for c in (*split.test, *split.val) if seen.intersection(c.targets)]
        _refuse(where, found, "held out as unseen, but a target occurs in training", "take those out of one")
    if split.kind == "additive":
        found = [c for c in (*split.test, *split.val) if len(c.targets) != 2 or not seen.issuperset(c.targets)]
        why = "held out as additive, but not two targets that each occur in training"
        _refuse(where, found, why, "leave 'kind' out for a split of your own")
    if split.kind == "simulation":
        for name in COMBINATIONS:
            found = [c for c in split.parts.get(name, ()) if combination_part(c.targets, seen) != name]
            why = f"in part '{name}', but the targets that occur in training make it another"
            _refuse(where, found, why, "leave 'kind' out for a split of your own")


def _check_parts(
    split: Split, where: str, used: set[Any], keys: Callable[[Iterable[Condition]], dict[Any, Condition]]
) -> None:
    """A part lies within test or outside all three, holds nothing that was learned from, and shares nothing."""
    learned, test = {*split.train, *split.val}, set(split.test)
    for name, members in split.parts.items():
        # What is scored must be new in every context; what is left unused only has to be elsewhere.
        found = [c for c in members if c in learned or (name != UNUSED and keys([c]).keys() & used)]
        _refuse(where, found, f"in part '{name}' and also trained on or validated on")
        within = test.intersection(members)
        if within and len(within) < len(members):
            outside = [c for c in members if c not in within]
            _refuse(where, outside, f"in part '{name}' but not in 'test', as others of it are", "make two parts of it")
    for (first, some), (second, others) in combinations(split.parts.items(), 2):
        _refuse(where, set(some) & set(others), f"in both parts '{first}' and '{second}'")


def trained_targets(train: Iterable[Condition]) -> set[str]:
    """Every target of a training condition."""
    return {target for condition in train for target in condition.targets}


def combination_part(targets: Collection[str], seen: Collection[str]) -> str:
    """The part of a combination by how many of its targets occur in training: none, some, all."""
    n_seen = sum(target in seen for target in targets)
    return COMBINATIONS[0 if n_seen == 0 else 2 if n_seen == len(targets) else 1]


def _refuse(where: str, found: Iterable[Condition], why: str, remedy: str = "keep one") -> None:
    names = sorted(condition.name for condition in found)
    if names:
        raise UserError(f"{where}: {listed(names)} {'is' if len(names) == 1 else 'are'} {why}; {remedy}")


def sorted_conditions(conditions: Iterable[Condition]) -> tuple[Condition, ...]:
    """Unique conditions by name parts; conditions without a dose come first."""
    return tuple(
        sorted(set(conditions), key=lambda c: (c.context, c.perturbation, -np.inf if c.dose is None else c.dose))
    )
