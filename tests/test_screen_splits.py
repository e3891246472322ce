"""Splits: no leak for any screen, and each rule's own promise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import anndata as ad
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scbig_dist.conditions import Condition, parse_perturbation
from scbig_dist.config import SplitConfig
from scbig_dist.errors import UserError
from scbig_dist.screen.splits import Split, check_split, make_split, read_split, write_split

KINDS = ("additive", "holdout", "simulation", "random", "transfer")


def screen(perturbations: Sequence[str], contexts: Sequence[str] = ("k562",), doses: Sequence[float | None] = (None,)):
    return [Condition(c, p, d) for c in contexts for p in ("control", *perturbations) for d in doses]


@st.composite
def screens(draw: st.DrawFn) -> list[Condition]:
    genes = [f"g{i}" for i in range(draw(st.integers(3, 12)))]
    singles = draw(st.sets(st.sampled_from(genes)))
    pairs = draw(st.sets(st.tuples(st.sampled_from(genes), st.sampled_from(genes)), max_size=30))
    triple = draw(st.sets(st.just("+".join(genes[:3])), max_size=1))
    names = singles | {"+".join(sorted(pair)) for pair in pairs if pair[0] != pair[1]} | triple
    contexts = draw(st.sampled_from([("a",), ("a", "b"), ("a", "b", "c/d")]))
    everything = screen(sorted(names), contexts, draw(st.sampled_from([(None,), (1.0, 10.0)])))
    return [c for c in everything if c.is_control or draw(st.integers(0, 5))]  # some are not measured everywhere


def key(condition: Condition) -> frozenset[str]:
    return frozenset(condition.targets)


@settings(max_examples=300, deadline=None)
@given(screens(), st.sampled_from(KINDS), st.integers(0, 5), st.integers(1, 4), st.integers(0, 3))
def test_no_split_leaks(conditions, kind, seed, n_test, n_val):
    config = SplitConfig(
        kind=kind, seed=seed, n_test=n_test, n_val=n_val, train_context="a", test_context="b", train_fraction=0.6
    )
    try:
        split = make_split(conditions, config)
    except UserError as error:
        assert "\n" not in str(error)
        return
    used = (split.train, split.val, split.test)
    everyone = set().union(*used, *split.parts.values())
    assert everyone == {c for c in conditions if not c.is_control}, "every condition has a place"
    assert split.train and split.test and not any(c.is_control for c in everyone)
    if kind == "transfer":
        assert {c.context for c in split.train + split.val} == {"a"} and {c.context for c in split.test} == {"b"}
        assert not {key(c) for c in split.train} & {key(c) for c in split.val}
        assert set(split.test) == {c for c in conditions if c.context == "b" and not c.is_control}
        return
    names = [{key(c) for c in part} for part in used]
    assert not names[0] & names[1] and not names[0] & names[2] and not names[1] & names[2]
    for part in split.parts.values():
        assert not set(part) & (set(split.train) | set(split.val))
    seen = {gene for c in split.train for gene in c.targets}
    if kind == "additive":
        assert len(names[2]) == n_test and len(names[1]) == n_val
        assert all(len(c.targets) == 2 and set(c.targets) <= seen for c in split.test + split.val)
    if kind == "random":
        assert len(names[2]) == n_test and len(names[1]) == n_val
        assert all(len(c.targets) == 1 for c in split.test + split.val)
    if kind == "holdout":
        assert len({gene for c in split.test for gene in c.targets}) == n_test
        assert len({gene for c in split.val for gene in c.targets}) == n_val
        assert not seen & {gene for c in split.test + split.val for gene in c.targets}
        assert set(split.test) == {*split.parts.get("test_single", ()), *split.parts.get("test_double", ())}
        test_genes = {gene for c in split.test for gene in c.targets}
        for c in split.parts.get("one_unseen", ()):
            assert set(c.targets) & test_genes and not set(c.targets) <= test_genes
    if kind == "simulation":
        assert set(split.test) == set().union(*split.parts.values())


def test_a_seed_decides_the_split_and_the_order_of_conditions_does_not():
    genes = [f"g{i}" for i in range(9)]
    conditions = screen([*genes, *(f"{a}+{b}" for a in genes for b in genes if a < b)])
    for kind in ("additive", "holdout", "simulation", "random"):
        config = SplitConfig(kind=kind, n_test=3, n_val=2)
        assert make_split(conditions, config) == make_split(conditions[::-1], config)
        others = [
            make_split(conditions, SplitConfig(kind=kind, n_test=3, n_val=2, seed=seed)).test for seed in (1, 2, 3)
        ]
        assert any(other != make_split(conditions, config).test for other in others)


def test_additive_prefers_doubles_with_both_singles_but_takes_others_where_targets_stay_in_training():
    conditions = screen(["a", "b", "a+b", "a+x", "x+y", "y+a"])
    first = make_split(conditions, SplitConfig(n_test=1, n_val=0))
    assert [c.perturbation for c in first.test] == ["a+b"]
    both = make_split(conditions, SplitConfig(n_test=2, n_val=0))
    assert "a+b" in [c.perturbation for c in both.test] and len(both.test) == 2


def test_additive_says_how_many_are_eligible_and_what_to_lower():
    conditions = screen(["a", "b", "a+b", "c+d"])
    with pytest.raises(
        UserError, match=r"1 of 2 doubles can be held out .* split.n_test=32 .* lower split.n_test or split.n_val"
    ):
        make_split(conditions, SplitConfig())


@pytest.mark.parametrize("kind", ["holdout", "random"])
def test_other_kinds_say_how_many_are_eligible(kind):
    with pytest.raises(UserError, match=r"1 (genes|single).* lower split.n_test or split.n_val"):
        make_split(screen(["a", "b"]), SplitConfig(kind=kind, n_test=1, n_val=1))


def test_holdout_parts_of_a_screen_by_hand():
    genes = [f"g{i}" for i in range(6)]
    conditions = screen([*genes, *(f"{a}+{b}" for a in genes for b in genes if a < b)])
    split = make_split(conditions, SplitConfig(kind="holdout", n_test=2, n_val=1))
    # 6 genes: 2 test, 1 validation, 3 seen.
    assert split.sizes == {
        "train": 3 + 3, "val": 1, "test": 2 + 1, "test_single": 2, "test_double": 1,
        "one_unseen": 2 * 3, "unused": 2 + 3,
    }  # fmt: skip


def test_simulation_counts_follow_gears_fractions():
    genes = [f"g{i:02d}" for i in range(20)]
    conditions = screen([*genes, *(f"{a}+{b}" for a in genes for b in genes if a < b)])
    split = make_split(conditions, SplitConfig(kind="simulation", train_fraction=0.75))
    # 15 seen genes: 105 pairs among them, of which int(78.75) train; 75 pairs with one, 10 with none.
    assert {name: len(part) for name, part in split.parts.items()} == {
        "unseen_single": 5, "combo_seen0": 10, "combo_seen1": 75, "combo_seen2": 105 - 78,
    }  # fmt: skip
    assert len(split.train) + len(split.val) == 15 + 78
    unseen_in_val = {c.perturbation for c in split.val if len(c.targets) == 1}
    assert len(unseen_in_val) == 2  # int(15 * 0.9) = 13 stay


def test_simulation_refuses_a_screen_that_is_too_small():
    with pytest.raises(
        UserError, match=r"no training condition among 2 perturbations of 2 genes .*raise split.train_fraction"
    ):
        make_split(screen(["a", "b"]), SplitConfig(kind="simulation", train_fraction=0.4))


def test_transfer_names_the_contexts():
    conditions = screen(["a", "b", "c"], contexts=("a172", "k562"))
    with pytest.raises(UserError, match=r"needs split.train_context; contexts: a172, k562"):
        make_split(conditions, SplitConfig(kind="transfer"))
    with pytest.raises(UserError, match=r"split.test_context=K562: .*did you mean 'k562'"):
        make_split(conditions, SplitConfig(kind="transfer", train_context="a172", test_context="K562", n_val=1))
    with pytest.raises(UserError, match=r"are both 'k562'"):
        make_split(conditions, SplitConfig(kind="transfer", train_context="k562", test_context="k562", n_val=1))
    with pytest.raises(UserError, match=r"'a172' has 3 perturbations, .* lower split.n_val=32"):
        make_split(conditions, SplitConfig(kind="transfer", train_context="a172", test_context="k562"))
    split = make_split(conditions, SplitConfig(kind="transfer", train_context="a172", test_context="k562", n_val=1))
    assert split.sizes == {"train": 2, "val": 1, "test": 3}


def test_contexts_and_doses_of_a_perturbation_stay_together():
    conditions = screen(["a", "b", "c"], contexts=("x", "y"), doses=(1.0, 10.0))
    split = make_split(conditions, SplitConfig(kind="random", n_test=1, n_val=1))
    assert split.sizes == {"train": 4, "val": 4, "test": 4}


def test_split_files_round_trip(tmp_path):
    conditions = screen(["a", "b", "c", "a+b", "b+c"], contexts=("x", "y/z"), doses=(None, 0.5))
    for kind in ("additive", "holdout", "random", "transfer"):
        config = SplitConfig(kind=kind, n_test=1, n_val=1, train_context="x", test_context="y/z")
        split = make_split(conditions, config)
        write_split(split, tmp_path / "split.json")
        assert read_split(tmp_path / "split.json", conditions) == split
        assert make_split(conditions, SplitConfig(file=str(tmp_path / "split.json"))) == split


def test_hand_written_file_may_leave_out_contexts_order_and_training(tmp_path):
    conditions = screen(["a", "b", "c", "a+b", "b+c"], contexts=("x", "y"))
    path = tmp_path / "mine.json"
    path.write_text('{"test": ["b+a"], "val": ["c + b"]}')
    split = read_split(path, conditions)
    assert split.kind == "hand-written" and split.seed is None
    assert {c.name for c in split.test} == {"x/a+b", "y/a+b"} and len(split.train) == 6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"train": ["a"], "test": ["a+z"]}', r"'test' names 'a\+z', not in the data; did you mean"),
        ('{"train": ["a", "b+a"], "test": ["a+b"]}', r"'x/a\+b' is in both 'test' and 'train'"),
        ('{"train": ["a"], "val": ["b"], "test": ["x/b"]}', r"'x/b' is in both 'test' and 'val'"),
        ('{"train": ["a"], "test": ["control"]}', r"names the control 'x/control'; .*leave them out"),
        ('{"train": ["a"], "test": []}', r"'test' has no condition"),
        ('{"train": ["a"]}', r"'test' is missing"),
        ('{"train": ["a"], "test": "b"}', r"'test' is not a list"),
        ('{"kind": "aditive", "train": ["a"], "test": ["b"]}', r"unknown kind 'aditive'; did you mean 'additive'"),
        ('{"seed": "x", "train": ["a"], "test": ["b"]}', r"seed 'x' is not a whole number"),
        (
            '{"kind": "holdout", "train": ["a"], "test": ["a+b"]}',
            r"'x/a\+b' is held out as unseen, but a target occurs",
        ),
        ('{"train": ["a"], "test": ["b"], "parts": {"odd": ["a"]}}', r"'x/a' is in part 'odd' and also trained on"),
        ('{"train": ["a"], "test": ["b"], "parts": 3}', r"'parts' is not a mapping"),
        ('{"train": [', r"not JSON \(line 1"),
        ("[]", r"expected \{"),
    ],
)
def test_hand_written_file_rejects(tmp_path, text, message):
    path = tmp_path / "mine.json"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        read_split(path, screen(["a", "b", "a+b"], contexts=("x",)))
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_split_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nothing.json: no such file"):
        make_split(screen(["a"]), SplitConfig(file=str(tmp_path / "nothing.json")))


def test_check_split_finds_a_reverse_spelling_in_another_context():
    split = Split("additive", 0, (Condition("x", "B+A"),), (), (Condition("y", "A+B"),))
    with pytest.raises(UserError, match=r"'y/A\+B' is in both 'test' and 'train'"):
        check_split(split)
    check_split(replace(split, kind="transfer"))


def real_conditions(shared_data, contexts: set[str] | None) -> list[Condition]:
    obs = ad.read_h5ad(shared_data / "norman19_mcfaline23_5961x500.h5ad", backed="r").obs
    pairs = obs[["cell_type", "condition"]].astype(str).drop_duplicates().itertuples(index=False)
    return sorted(Condition(c, parse_perturbation(p)) for c, p in pairs if contexts is None or c in contexts)


@pytest.mark.parametrize("contexts", [{"k562"}, None])
def test_real_sample_gives_an_additive_split_where_additive_is_defined(shared_data, contexts):
    conditions = real_conditions(shared_data, contexts)
    for seed in range(5):
        split = make_split(conditions, SplitConfig(n_test=3, n_val=1, seed=seed))
        singles = {c.perturbation for c in split.train}
        assert len(split.test) == 3 and len(split.val) == 1
        assert all(set(c.targets) <= singles for c in split.test + split.val)


def test_real_sample_splits_by_every_other_kind(shared_data):
    conditions = real_conditions(shared_data, None)
    for kind in ("holdout", "simulation", "random", "transfer"):
        config = SplitConfig(kind=kind, n_test=3, n_val=2, train_context="k562", test_context="A172")
        assert np.all([make_split(conditions, config).sizes[part] > 0 for part in ("train", "val", "test")])


def test_an_exact_name_means_one_dose_and_a_name_without_dose_all(tmp_path):
    conditions = screen(["a", "b"], doses=(1.0, 10.0))
    path = tmp_path / "mine.json"
    path.write_text('{"train": ["b"], "test": ["k562/a@10"], "parts": {"unused": ["a@1"]}}')
    with pytest.raises(UserError, match="'a@1', not in the data"):
        read_split(path, conditions)
    path.write_text('{"train": ["b"], "test": ["k562/a@10"]}')
    split = read_split(path, conditions)
    assert split.sizes == {"train": 2, "val": 0, "test": 1, "unused": 1}
