"""The condition that a user names on the command line."""

from __future__ import annotations

from scbig_dist.conditions import Condition, parse_perturbation
from scbig_dist.errors import UserError, suggest
from scbig_dist.store.reader import Store


def find_request(store: Store, label: str, context: str | None, dose: float | None = None) -> Condition:
    """The condition of `--condition A+B [--context C] [--dose D]`, in any order of the targets.

    Whether its targets are known is for the model to say: a prior may reach beyond the screen.
    """
    perturbation = parse_perturbation(label)
    if perturbation == "control":
        raise UserError(f"--condition {label}: that is control, nothing to predict; name targets, e.g. --condition A+B")
    contexts = sorted({condition.context for condition in store.conditions if condition.is_control})
    if context is None and len(contexts) > 1:
        raise UserError(f"--condition {label}: the screen has several contexts; add --context {'|'.join(contexts)}")
    if context is not None and context not in contexts:
        raise UserError(f"--context {context}: unknown; {suggest(context, contexts)}")
    with_dose = any(condition.dose is not None for condition in store.conditions)
    if dose is not None and not with_dose:
        raise UserError(f"--dose {dose:g}: the screen has no doses; leave the option out")
    if dose is None and with_dose:
        doses = sorted({condition.dose for condition in store.conditions if condition.dose is not None})
        raise UserError(f"--condition {label}: the screen has doses; add --dose, e.g. --dose {doses[0]:g}")
    return Condition(context or contexts[0], perturbation, dose)
