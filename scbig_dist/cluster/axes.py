"""The axes of a study: a range or a list of values, and in which trials each of them exists."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

Value = bool | int | float | str | None
Conditions = Mapping[str, Mapping[str, Sequence[Any]]]
"""{axis: {other axis: values}}: the axis exists where every other one named has one of its values."""


FROZEN = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Range(BaseModel):
    """An axis that is searched between two values, both included."""

    model_config = FROZEN

    low: int | float
    high: int | float
    log: bool = False
    """True: equal factors are equally likely."""


def parents_first(addresses: Sequence[str], when: Conditions) -> list[str] | None:
    """The addresses in an order in which an axis comes after those that it hangs on; None where they go in a circle."""
    order: list[str] = []
    left = list(addresses)
    while left:
        ready = [each for each in left if not set(when.get(each, {})) & set(left)]
        if not ready:
            return None
        order += ready
        left = [each for each in left if each not in ready]
    return order


def exists(address: str, values: Mapping[str, Any], when: Conditions) -> bool:
    """Whether an axis exists in a trial with these values of the axes before it."""
    return all(other in values and values[other] in allowed for other, allowed in when.get(address, {}).items())


def existing(values: Mapping[str, Any], when: Conditions) -> dict[str, Any]:
    """The values without those of axes that do not exist beside the others; in the order that they came in."""
    kept: dict[str, Any] = {}
    for address in parents_first(list(values), when) or ():
        if exists(address, kept, when):
            kept[address] = values[address]
    return {address: value for address, value in values.items() if address in kept}


def combinations(axes: Mapping[str, Sequence[Any]], when: Conditions) -> Iterator[dict[str, Any]]:
    """Every combination of values, each once, without the axes that do not exist in it; the first axis varies slowest."""
    seen: set[tuple[tuple[str, Any], ...]] = set()
    for combination in itertools.product(*axes.values()):
        values = existing(dict(zip(axes, combination, strict=True)), when)
        if (key := tuple(values.items())) not in seen:
            seen.add(key)
            yield values
