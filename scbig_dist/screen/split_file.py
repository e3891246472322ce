"""Splits on disk: JSON that a run writes and a person may write by hand."""

from __future__ import annotations

import json
import os
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from itertools import chain
from pathlib import Path
from typing import Any, get_args

from scbig_dist.conditions import Condition
from scbig_dist.config_data import SplitConfig
from scbig_dist.errors import UserError, listed, no_file, suggest
from scbig_dist.screen.split_record import UNUSED, Split, check_split, sorted_conditions

MOST_NEAR = 3  # conditions that are named where one is not there
HAND_WRITTEN = "hand-written"
USES = ("train", "val", "test")
KEYS = ("kind", "seed", "sizes", *USES, "parts")
KINDS = (*get_args(SplitConfig.model_fields["kind"].annotation), HAND_WRITTEN)


def write_split(split: Split, path: Path) -> None:
    """The split as JSON that `read_split` reads back equal; the file is whole or not there."""

    def names(members: Iterable[Condition]) -> list[str]:
        return [condition.name for condition in members]

    tree = {
        "kind": split.kind,
        "seed": split.seed,
        "sizes": split.sizes,
        "train": names(split.train),
        "val": names(split.val),
        "test": names(split.test),
        "parts": {name: names(members) for name, members in split.parts.items()},
    }
    beside = path.with_name(f".{path.name}-{uuid.uuid4().hex[:8]}")
    try:
        beside.write_text(json.dumps(tree, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def read_split(path: Path, conditions: Sequence[Condition]) -> Split:
    """A split from JSON: `{"train": [...], "val": [...], "test": [...]}`, and `kind`, `seed`, `parts` where known.

    A condition is named `context/A+B`, or `A+B` for all its contexts and doses; the order
    of targets does not matter. Without `train`, everything not named elsewhere trains.
    `sizes` is counted anew. Raises UserError on unknown keys and conditions, conditions
    that come twice, empty parts, and leaks.
    """
    where = f"split {path}"
    tree = _read_json(path, where)
    known = Vocabulary(conditions)
    groups = {part: known.look_up(tree.get(part, []), part, where) for part in USES}
    parts_tree = tree.get("parts", {})
    if not isinstance(parts_tree, dict):
        raise UserError(f"{where}: 'parts' is not a mapping of names to lists of conditions")
    parts = {name: known.look_up(members, f"parts.{name}", where) for name, members in parts_tree.items()}
    if empty := [name for name, members in parts.items() if not members]:
        raise UserError(f"{where}: 'parts.{empty[0]}' has no condition; name at least one or leave it out")
    if clash := sorted({*parts} & {*USES}):
        raise UserError(f"{where}: 'parts.{clash[0]}' has the name of a use; give the part another")
    kind, seed = tree.get("kind", HAND_WRITTEN), tree.get("seed")
    if kind not in KINDS:
        raise UserError(f"{where}: unknown kind {kind!r}; {suggest(str(kind), KINDS)}")
    if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool)):
        raise UserError(f"{where}: seed {seed!r} is not a whole number")
    named = {condition for members in (*groups.values(), *parts.values()) for condition in members}
    left = sorted_conditions(c for c in conditions if not c.is_control and c not in named)
    if "train" not in tree:
        groups["train"] = left
    elif left:
        parts[UNUSED] = sorted_conditions((*parts.get(UNUSED, ()), *left))
    split = Split(kind, seed, **groups, parts=parts)
    check_split(split, where)
    return split


class Vocabulary:
    """The conditions at hand, found by any spelling of their name."""

    def __init__(self, conditions: Sequence[Condition]) -> None:
        self.exact = {canonical(condition.name): [condition] for condition in conditions}
        self.loose: dict[str, list[Condition]] = {}
        for condition in dict.fromkeys(conditions):
            for name in (f"{condition.context}/{condition.perturbation}", condition.perturbation):
                self.loose.setdefault(canonical(name), []).append(condition)
        self.perturbed = sorted_conditions(condition for condition in conditions if not condition.is_control)

    def look_up(self, names: Any, part: str, where: str) -> tuple[Condition, ...]:
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise UserError(f"{where}: '{part}' is not a list of condition names such as \"context/A+B\"")
        meant = {name: self.exact.get(canonical(name)) or self.loose.get(canonical(name), []) for name in names}
        unknown = sorted(name for name in names if not meant[name])
        if unknown:
            raise UserError(f"{where}: '{part}' names {listed(unknown)}, not in the data; {self.nearest(unknown[0])}")
        count = Counter(chain.from_iterable(meant[name] for name in names))
        if twice := sorted(condition.name for condition, n in count.items() if n > 1):
            raise UserError(
                f"{where}: '{part}' names {listed(twice)} more than once (order of targets aside); keep one"
            )
        found = set(count)
        controls = sorted(condition.name for condition in found if condition.is_control)
        if controls:
            raise UserError(
                f"{where}: '{part}' names the control {listed(controls)}; controls are always at hand, leave them out"
            )
        return sorted_conditions(found)

    def nearest(self, name: str) -> str:
        """A hint at the condition that was meant, spelled with or without a context as `name` is."""
        choices = list(dict.fromkeys(c.name if "/" in name else c.perturbation for c in self.perturbed))
        hint = suggest(name, choices)
        if hint.startswith("did"):
            return hint
        if len(choices) <= MOST_NEAR:
            return f"choices: {listed(choices)}"
        asked, matcher = _targets(name), SequenceMatcher(b=name.casefold())

        def likeness(choice: str) -> tuple[int, float]:
            matcher.set_seq1(choice.casefold())
            return len(asked & _targets(choice)), matcher.ratio()

        near = sorted(choices, key=likeness, reverse=True)[:MOST_NEAR]
        return f"the nearest of {len(choices):,}: {listed(near, MOST_NEAR)}"


def _targets(name: str) -> set[str]:
    return {target.strip() for target in name.rpartition("/")[2].partition("@")[0].casefold().split("+")}


def canonical(name: str) -> str:
    """`context/B+A@1` as `context/A+B@1`."""
    context, slash, rest = name.strip().rpartition("/")
    perturbation, at, dose = rest.partition("@")
    targets = sorted(target.strip() for target in perturbation.split("+"))
    return f"{context}{slash}{'+'.join(targets)}{at}{dose}"


def _read_json(path: Path, where: str) -> dict[str, Any]:
    if not path.is_file():
        remedy = "'scbig split STORE -o FILE' writes one"
        raise UserError(f"{where}: {no_file(path, remedy)}")
    try:
        tree = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=lambda pairs: _unique(pairs, where))
    except json.JSONDecodeError as error:
        raise UserError(f"{where}: not JSON (line {error.lineno}: {error.msg})") from None
    except UnicodeDecodeError:
        raise UserError(f"{where}: not JSON (not UTF-8 text)") from None
    if not isinstance(tree, dict) or "test" not in tree:
        raise UserError(f'{where}: expected {{"train": [...], "val": [...], "test": [...]}}; \'test\' is missing')
    if unknown := sorted(set(tree) - set(KEYS)):
        raise UserError(f"{where}: unknown key '{unknown[0]}'; {suggest(unknown[0], KEYS)}")
    return tree


def _unique(pairs: list[tuple[str, Any]], where: str) -> dict[str, Any]:
    """A JSON object; a key that comes twice would silently lose the first list."""
    twice = sorted(key for key, n in Counter(key for key, _ in pairs).items() if n > 1)
    if twice:
        raise UserError(f"{where}: '{twice[0]}' comes twice; join the two lists")
    return dict(pairs)
