"""The record of a split, and the check that nothing leaks through it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scbig_dist.conditions import Condition
from scbig_dist.errors import UserError


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
    """Raise UserError, naming the conditions, where something held out is also trained on or chosen by."""
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
            (held_out[first][key] for key in held_out[first].keys() & held_out[second].keys()),
            f"in both '{first}' and '{second}'",
        )
    used = set(split.train) | set(split.val)
    for name, members in split.parts.items():
        _refuse(where, used & set(members), f"in part '{name}' and also trained on or validated on")
    if split.kind == "holdout":
        seen = {gene for condition in split.train for gene in condition.targets}
        unseen = (c for c in (*split.test, *split.val) if seen.intersection(c.targets))
        _refuse(where, unseen, "held out as unseen, but a target occurs in training")


def _refuse(where: str, found: Iterable[Condition], why: str) -> None:
    names = sorted(condition.name for condition in found)
    if names:
        raise UserError(f"{where}: {listed(names)} {'is' if len(names) == 1 else 'are'} {why}; keep one")


def sorted_conditions(conditions: Iterable[Condition]) -> tuple[Condition, ...]:
    """Unique conditions by name parts; conditions without a dose come first."""
    return tuple(
        sorted(set(conditions), key=lambda c: (c.context, c.perturbation, -np.inf if c.dose is None else c.dose))
    )


def listed(names: Sequence[str], most: int = 5) -> str:
    """The names in quotes, all where they are few."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f"'{name}'" for name in names[:most]) + more
