"""The one exception that a user's mistake raises."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path

MOST_CHOICES = 40


class UserError(ValueError):
    """A mistake the user can mend; its text is one line: what, where, what to do.

    The command line prints it without a traceback and exits with code 2.
    """


def amount(n: int, what: str) -> str:
    """`1 trial`, `3 trials`."""
    return f"{n:,} {what}" + ("" if n == 1 else "s")


def suggest(value: str, choices: Iterable[str]) -> str:
    """A clause that names the nearest choice, or the choices where none is near: the first ones where they are many."""
    choices = list(choices)
    near = difflib.get_close_matches(value, choices, n=1, cutoff=0.6)
    if near:
        return f"did you mean '{near[0]}'?"
    more = f" and {len(choices) - MOST_CHOICES} more" if len(choices) > MOST_CHOICES else ""
    return "choices: " + ", ".join(choices[:MOST_CHOICES]) + more


def no_file(path: Path, remedy: str) -> str:
    """A clause on a file that is not there: the nearest name beside it, or the remedy."""
    try:
        beside = [each.name for each in path.parent.iterdir() if each.is_file()]
    except OSError:
        return f"no such file, no directory {path.parent}; {remedy}"
    near = difflib.get_close_matches(path.name, beside, n=1, cutoff=0.6)
    return f"no such file; did you mean '{near[0]}' there?" if near else f"no such file; {remedy}"


def listed(names: Sequence[str], most: int = 5) -> str:
    """The names in quotes, all where they are few."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f"'{name}'" for name in names[:most]) + more
