"""What every split promises, on generated screens, each promise written down anew here."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations
from pathlib import Path

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from scbig_dist.conditions import Condition, parse_perturbation
from scbig_dist.config_data import SplitConfig
from scbig_dist.errors import UserError
from scbig_dist.screen.splits import Split, make_split, read_split, write_split

Screen = list[Condition]


@st.composite
def screens(draw: st.DrawFn) -> Screen:
    """Singles, doubles and a triple of 4 to 9 genes, spelled in any order, in 1 to 3 contexts, with or without
    doses; some are not measured everywhere."""
    genes = [f"g{i}" for i in range(draw(st.integers(4, 9)))]
    singles = draw(st.sets(st.sampled_from(genes)))
    pairs = draw(st.sets(st.tuples(st.sampled_from(genes), st.sampled_from(genes)), max_size=20))
    triple = draw(st.sets(st.just("+".join(genes[2::-1])), max_size=1))
    labels = {*singles, *triple, *("+".join(pair) for pair in pairs if pair[0] != pair[1])}  # a+b beside b+a
    names = sorted({parse_perturbation(label) for label in labels})
    contexts = draw(st.sampled_from([("a",), ("a", "b"), ("a", "b", "c/d")]))
    doses = draw(st.sampled_from([(None,), (1.0, 10.0)]))
    everything = [Condition(c, p, d) for c in contexts for p in ("control", *names) for d in doses]
    return [c for c in everything if c.is_control or draw(st.integers(0, 5))]


@st.composite
def configs(draw: st.DrawFn, kinds: Iterable[str]) -> SplitConfig:
    return SplitConfig(
        kind=draw(st.sampled_from(sorted(kinds))),
        seed=draw(st.integers(0, 5)),
        n_test=draw(st.integers(1, 3)),
        n_val=draw(st.integers(0, 2)),
        train_fraction=draw(st.sampled_from([0.5, 0.6, 0.75])),
        train_context="a",
        test_context="b",
    )


def division(conditions: Screen, config: SplitConfig) -> Split:
    """The split; a screen that is too small for it is no example, but its error must be one line."""
    try:
        return make_split(conditions, config)
    except UserError as error:
        # "split: …" would be the check for leaks: no screen may bring a rule to that.
        assert str(error).startswith("split.") and "\n" not in str(error)
        assume(False)
        raise


def targets_of(conditions: Iterable[Condition]) -> set[str]:
    return {target for condition in conditions for target in condition.targets}


def spellings(conditions: Iterable[Condition]) -> set[str]:
    """Every perturbation's name, forwards and backwards."""
    names = {condition.perturbation for condition in conditions}
    return names | {"+".join(reversed(name.split("+"))) for name in names}


KINDS = ("additive", "holdout", "simulation", "random", "transfer")


@settings(max_examples=120, deadline=None)
@given(screens(), configs(KINDS))
def test_every_condition_has_one_place_and_none_leaks(conditions, config):
    split = division(conditions, config)
    uses = [set(split.train), set(split.val), set(split.test)]
    outside = [set(members) for members in split.parts.values() if not set(members) <= set(split.test)]
    assert set().union(*uses, *outside) == {c for c in conditions if not c.is_control}
    assert all(not a & b for a, b in combinations([*uses, *outside], 2)), "nothing is in two places"
    assert all(not set(a) & set(b) for a, b in combinations(split.parts.values(), 2)), "parts are disjoint"
    assert all(split.parts.values()) and split.train and split.test
    if config.kind == "transfer":
        assert not spellings(split.train) & spellings(split.val)
    else:
        groups = [spellings(use) for use in uses]
        assert all(not a & b for a, b in combinations(groups, 2)), "not even in another context, dose or spelling"


@settings(max_examples=50, deadline=None)
@given(screens(), configs(KINDS), st.randoms(use_true_random=False))
def test_the_seed_alone_decides_whatever_the_order(conditions, config, shuffle):
    split = division(conditions, config)
    shuffle.shuffle(conditions)
    assert make_split(conditions, config) == split
    assert (split.kind, split.seed) == (config.kind, config.seed)
    assert split.sizes == {
        "train": len(split.train), "val": len(split.val), "test": len(split.test),
        **{name: len(members) for name, members in split.parts.items()},
    }  # fmt: skip


@settings(max_examples=50, deadline=None)
@given(screens(), configs(["additive"]))
def test_additive_holds_out_doubles_of_trained_targets(conditions, config):
    split = division(conditions, config)
    held_out = (*split.test, *split.val)
    assert all(len(c.targets) == 2 for c in held_out)
    assert targets_of(held_out) <= targets_of(split.train)
    assert len({c.perturbation for c in split.test}) == config.n_test
    assert len({c.perturbation for c in split.val}) == config.n_val


@settings(max_examples=50, deadline=None)
@given(screens(), configs(["holdout"]))
def test_holdout_genes_are_in_no_training_condition(conditions, config):
    split = division(conditions, config)
    test_genes, val_genes = targets_of(split.test), targets_of(split.val)
    assert (len(test_genes), len(val_genes)) == (config.n_test, config.n_val)
    assert not targets_of(split.train) & (test_genes | val_genes) and not test_genes & val_genes
    parts = {name: set(members) for name, members in split.parts.items()}
    everyone = [c for c in conditions if not c.is_control]
    only_test = {c for c in everyone if set(c.targets) <= test_genes}
    mixed = {c for c in everyone if set(c.targets) & test_genes} - only_test
    assert parts.get("test_single", set()) == {c for c in only_test if len(c.targets) == 1}
    assert parts.get("test_double", set()) == {c for c in only_test if len(c.targets) > 1}
    assert parts.get("one_unseen", set()) == {c for c in mixed if not set(c.targets) & val_genes}
    assert set(split.test) == only_test and set(split.train) == {
        c for c in everyone if not set(c.targets) & (test_genes | val_genes)
    }


@settings(max_examples=50, deadline=None)
@given(screens(), configs(["simulation"]))
def test_simulation_parts_count_the_targets_that_training_has(conditions, config):
    split = division(conditions, config)
    seen = targets_of(split.train)
    expected: dict[str, set[Condition]] = {}
    for c in split.test:
        n_seen = len(seen.intersection(c.targets))
        if len(c.targets) == 1:
            assert n_seen == 0
            name = "unseen_single"
        else:
            name = "combo_seen2" if n_seen == len(c.targets) else "combo_seen1" if n_seen else "combo_seen0"
        expected.setdefault(name, set()).add(c)
    assert {name: set(members) for name, members in split.parts.items()} == expected
    genes = targets_of(conditions)
    assert len(targets_of((*split.train, *split.val))) <= int(len(genes) * config.train_fraction)
    singles_in_val = {c.perturbation for c in split.val if len(c.targets) == 1}
    assert not singles_in_val & seen


@settings(max_examples=40, deadline=None)
@given(screens(), configs(["random"]))
def test_random_holds_out_single_perturbations(conditions, config):
    split = division(conditions, config)
    for members, n in ((split.test, config.n_test), (split.val, config.n_val)):
        assert all(len(c.targets) == 1 for c in members) and len({c.perturbation for c in members}) == n


@settings(max_examples=40, deadline=None)
@given(screens(), configs(["transfer"]))
def test_transfer_trains_on_one_context_and_tests_all_of_another(conditions, config):
    split = division(conditions, config)
    perturbed = [c for c in conditions if not c.is_control]
    assert set(split.test) == {c for c in perturbed if c.context == "b"}
    assert {*split.train, *split.val} == {c for c in perturbed if c.context == "a"}
    assert set(split.parts.get("unused", ())) == {c for c in perturbed if c.context not in "ab"}
    assert len({c.perturbation for c in split.val}) == config.n_val


@settings(max_examples=40, deadline=None)
@given(screens(), configs(KINDS), st.randoms(use_true_random=False))
def test_a_file_holds_the_whole_split_in_any_spelling(tmp_path_factory, conditions, config, shuffle):
    split = division(conditions, config)
    path: Path = tmp_path_factory.getbasetemp() / "property.json"
    write_split(split, path)
    assert read_split(path, conditions) == split
    text = path.read_text()
    for c in conditions:  # the same file with every combination spelled backwards, as a person might
        if len(c.targets) > 1:
            backwards = c.name.replace(c.perturbation, "+".join(reversed(c.targets)))
            text = text.replace(f'"{c.name}"', f'"{backwards}"')
    path.write_text(text)
    assert make_split(conditions, SplitConfig(file=str(path))) == split


@settings(max_examples=40, deadline=None)
@given(screens(), configs(["additive", "holdout", "random", "simulation"]), st.data())
def test_a_held_out_condition_put_into_training_is_found(tmp_path_factory, conditions, config, data):
    split = division(conditions, config)
    leaked = data.draw(st.sampled_from([*split.test, *split.val]))
    path: Path = tmp_path_factory.getbasetemp() / "leak.json"
    write_split(Split(split.kind, 0, (*split.train, leaked), split.val, split.test), path)
    try:
        read_split(path, conditions)
    except UserError as error:
        assert f"'{leaked.name}'" in str(error) or leaked.perturbation in str(error)
        assert "\n" not in str(error)
    else:
        raise AssertionError("the leak was not found")
