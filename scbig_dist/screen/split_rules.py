"""The rules that divide perturbations into training, validation and test.

Every rule takes the units to divide in sorted order (perturbations such as `A+B`; for
`transfer` conditions), the split's settings and a generator, and returns a `Draft`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np

from scbig_dist.conditions import Condition
from scbig_dist.config_data import SplitConfig
from scbig_dist.errors import UserError, suggest
from scbig_dist.screen.split_record import COMBINATIONS, UNUSED, combination_part

T = TypeVar("T", str, Condition)

VALIDATION_FRACTION = 0.9  # GEARS: share of the training genes that stay in training


@dataclass
class Draft(Generic[T]):
    """A division before it is checked; `parts` names subsets of test, or what is left out of all three."""

    train: list[T]
    val: list[T]
    test: list[T]
    parts: dict[str, list[T]] = field(default_factory=dict)


def targets(perturbation: str) -> tuple[str, ...]:
    """The genes of a perturbation's name."""
    return tuple(perturbation.split("+"))


def additive(perturbations: Sequence[str], config: SplitConfig, rng: np.random.Generator) -> Draft[str]:
    """Test and validation doubles whose two targets each still occur in training.

    Doubles whose two singles were both measured are drawn before the others: there the
    Additive baseline is defined, and taking one never makes another double ineligible.
    """
    singles = {name for name in perturbations if len(targets(name)) == 1}
    doubles = shuffled([name for name in perturbations if len(targets(name)) == 2], rng)
    doubles.sort(key=lambda name: not singles.issuperset(targets(name)))  # stable: random within each kind
    occurrences = Counter(gene for name in perturbations for gene in targets(name))
    eligible = []
    for name in doubles:
        if all(occurrences[gene] > 1 for gene in targets(name)):
            occurrences.subtract(targets(name))
            eligible.append(name)
    require(config, len(eligible), f"of {len(doubles)} doubles can be held out with both targets left in training")
    test, val = eligible[: config.n_test], eligible[config.n_test : config.n_test + config.n_val]
    return Draft(without(perturbations, test, val), val, test)


def random(perturbations: Sequence[str], config: SplitConfig, rng: np.random.Generator) -> Draft[str]:
    """Held-out perturbations with one target (drug screens); everything else trains."""
    singles = shuffled([name for name in perturbations if len(targets(name)) == 1], rng)
    spare = len(perturbations) > len(singles)  # doubles train, so every single may be held out
    require(
        config, max(len(singles) - (not spare), 0), "single perturbations can be held out with something left to train"
    )
    test, val = singles[: config.n_test], singles[config.n_test : config.n_test + config.n_val]
    return Draft(without(perturbations, test, val), val, test)


def holdout(perturbations: Sequence[str], config: SplitConfig, rng: np.random.Generator) -> Draft[str]:
    """Genes never seen in training: `n_test` for test, `n_val` for validation.

    Only genes measured as a single are drawn, so each gives a condition to score. Parts:
    `test_single`; `test_double` (all targets are test genes); `one_unseen` (test genes
    beside seen ones: neither trained on nor in test); `unused` (whatever else holds a
    validation gene beside a gene of another kind).
    """
    genes = shuffled([name for name in perturbations if len(targets(name)) == 1], rng)
    require(config, max(len(genes) - 1, 0), "genes measured as singles can be held out with one left to train", "genes")
    test_genes = set(genes[: config.n_test])
    val_genes = set(genes[config.n_test : config.n_test + config.n_val])
    draft: Draft[str] = Draft([], [], [], {"test_single": [], "test_double": [], "one_unseen": [], UNUSED: []})
    for name in perturbations:
        hit = set(targets(name))
        if not hit & (test_genes | val_genes):
            draft.train.append(name)
        elif hit <= test_genes:
            draft.test.append(name)
            draft.parts["test_single" if len(hit) == 1 else "test_double"].append(name)
        elif hit <= val_genes:
            draft.val.append(name)
        else:
            draft.parts[UNUSED if hit & val_genes else "one_unseen"].append(name)
    return draft


def simulation(perturbations: Sequence[str], config: SplitConfig, rng: np.random.Generator) -> Draft[str]:
    """GEARS' division: `train_fraction` of the genes are seen; of combinations of seen genes
    the same share trains. Validation is cut from training by the same rule at 0.9.

    Test parts: `unseen_single`, and by how many targets occur in training `combo_seen0`
    (none), `combo_seen1` (some), `combo_seen2` (all). GEARS names the parts before it cuts
    validation, so that a "seen" gene of its may be nowhere in training; ours counts at the end.
    """
    rest, test = divide_by_genes(perturbations, config.train_fraction, rng)
    train, val = divide_by_genes(rest, VALIDATION_FRACTION, rng)
    if not train:  # test and validation are never empty: each rule leaves out a gene
        n_genes = len({gene for name in perturbations for gene in targets(name)})
        raise UserError(
            f"split.kind=simulation: no training condition among {len(perturbations)} perturbations of {n_genes} genes "
            f"at split.train_fraction={config.train_fraction:g}; raise split.train_fraction or use split.kind=random"
        )
    seen = {gene for name in train for gene in targets(name)}
    parts: dict[str, list[str]] = {"unseen_single": [], **{name: [] for name in COMBINATIONS}}
    for name in test:
        hit = targets(name)
        parts["unseen_single" if len(hit) == 1 else combination_part(hit, seen)].append(name)
    return Draft(train, val, test, parts)


def divide_by_genes(
    perturbations: Sequence[str], fraction: float, rng: np.random.Generator
) -> tuple[list[str], list[str]]:
    """GEARS' rule once: (what stays, what is held out), both sorted."""
    genes = shuffled(sorted({gene for name in perturbations for gene in targets(name)}), rng)
    seen = set(genes[: int(len(genes) * fraction)])
    singles = [name for name in perturbations if len(targets(name)) == 1 and name in seen]
    known = [name for name in perturbations if len(targets(name)) > 1 and seen.issuperset(targets(name))]
    kept = sorted(singles + shuffled(known, rng)[: int(len(known) * fraction)])
    return kept, sorted(without(perturbations, kept))


def transfer(conditions: Sequence[Condition], config: SplitConfig, rng: np.random.Generator) -> Draft[Condition]:
    """Train on one context, test on all conditions of another.

    Validation: `n_val` perturbations of the training context, held out. Conditions of
    further contexts are the part `unused`.
    """
    contexts = sorted({condition.context for condition in conditions})
    for field_name in ("train_context", "test_context"):
        value = getattr(config, field_name)
        if value is None:
            raise UserError(f"split.kind=transfer needs split.{field_name}; contexts: {', '.join(contexts)}")
        if value not in contexts:
            raise UserError(
                f"split.{field_name}={value}: no perturbed cells in such a context; {suggest(value, contexts)}"
            )
    if config.train_context == config.test_context:
        raise UserError(
            f"split.train_context and split.test_context are both '{config.train_context}'; contexts: {', '.join(contexts)}"
        )
    here = [condition for condition in conditions if condition.context == config.train_context]
    names = shuffled(sorted({condition.perturbation for condition in here}), rng)
    if config.n_val >= len(names):
        raise UserError(
            f"split.kind=transfer: context '{config.train_context}' has {len(names)} perturbations, of which "
            f"{len(names) - 1} can be held out with one left to train; lower split.n_val={config.n_val}"
        )
    held_out = set(names[: config.n_val])
    elsewhere = [c for c in conditions if c.context not in (config.train_context, config.test_context)]
    return Draft(
        train=[condition for condition in here if condition.perturbation not in held_out],
        val=[condition for condition in here if condition.perturbation in held_out],
        test=[condition for condition in conditions if condition.context == config.test_context],
        parts={UNUSED: elsewhere},
    )


def require(config: SplitConfig, eligible: int, what: str, unit: str = "conditions") -> None:
    """Raise where test and validation together ask for more than there is."""
    asked = config.n_test + config.n_val
    if eligible < asked:
        raise UserError(
            f"split.kind={config.kind}: {eligible} {what}, but split.n_test={config.n_test} + "
            f"split.n_val={config.n_val} ask for {asked} {unit}; lower split.n_test or split.n_val"
        )


def shuffled(names: Sequence[str], rng: np.random.Generator) -> list[str]:
    return [names[i] for i in rng.permutation(len(names))]


def without(names: Sequence[str], *held_out: Sequence[str]) -> list[str]:
    gone = set().union(*held_out)
    return [name for name in names if name not in gone]
