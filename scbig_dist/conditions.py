"""Conditions and their names: what was done to a cell, in which context."""

from __future__ import annotations

from dataclasses import dataclass

from scbig_dist.errors import UserError

CONTROL = "control"
# Labels that mean "nothing was done" as a partner in a combined label, in any of
# the public formats (GEARS `A+ctrl`, scPerturb `control`, Replogle `non-targeting`).
CONTROL_PARTNERS = frozenset({"ctrl", "control", "non-targeting", "non_targeting", "nt"})


@dataclass(frozen=True, order=True)
class Condition:
    """A perturbation in a context, at a dose where the screen has one.

    `perturbation` is canonical: its targets sorted and joined by `+`, or `control`.
    """

    context: str
    perturbation: str
    dose: float | None = None

    @property
    def is_control(self) -> bool:
        return self.perturbation == CONTROL

    @property
    def targets(self) -> tuple[str, ...]:
        """The genes (or compounds) that are hit; empty for control."""
        return () if self.is_control else tuple(self.perturbation.split("+"))

    @property
    def name(self) -> str:
        """`context/A+B`, with `@dose` behind it where a dose is known; unique in a store."""
        dose = "" if self.dose is None else f"@{self.dose:g}"
        return f"{self.context}/{self.perturbation}{dose}"


def parse_perturbation(label: str, separator: str = "+", control: str = CONTROL) -> str:
    """The canonical spelling of a condition label.

    `B+A` is `A+B`; control partners are dropped (`KLF1+ctrl` is `KLF1`), and a label
    that is the control label, or has nothing but control partners, is `control`.
    The whole label is compared first: a control label may hold the separator itself.
    """
    label = label.strip()
    if label == control:
        return CONTROL
    parts = [part.strip() for part in label.split(separator)]
    if separator != "+" and any("+" in part for part in parts):
        raise UserError(f"condition '{label}': '+' joins targets here and cannot be in a name; rename it in the file")
    targets = {part for part in parts if part and part != control and part.lower() not in CONTROL_PARTNERS}
    return "+".join(sorted(targets)) if targets else CONTROL
