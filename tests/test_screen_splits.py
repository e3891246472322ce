"""Splits: no leak for any screen, and each rule's own promise."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import anndata as ad
import numpy as np
import pytest

from scbig_dist.conditions import Condition, parse_perturbation
from scbig_dist.config_data import SplitConfig
from scbig_dist.errors import UserError
from scbig_dist.screen.splits import Split, check_split, make_split, read_split, write_split


def screen(perturbations: Sequence[str], contexts: Sequence[str] = ("k562",), doses: Sequence[float | None] = (None,)):
    return [Condition(c, p, d) for c in contexts for p in ("control", *perturbations) for d in doses]


def test_another_seed_is_another_split():
    genes = [f"g{i}" for i in range(9)]
    conditions = screen([*genes, *(f"{a}+{b}" for a in genes for b in genes if a < b)])
    for kind in ("additive", "holdout", "simulation", "random"):
        tests = {make_split(conditions, SplitConfig(kind=kind, n_test=3, n_val=2, seed=s)).test for s in range(4)}
        assert len(tests) > 1


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
    # 15 of 20 genes: 15 singles and int(105 * 0.75) = 78 of their pairs stay. Then 13 of those 15, and so on.
    assert len(split.train) + len(split.val) == 15 + 78
    assert len({c.perturbation for c in split.val if len(c.targets) == 1}) == 2  # int(15 * 0.9) = 13 stay
    sizes = {name: len(part) for name, part in split.parts.items()}
    # 13 genes are in training: in test 5 of 20 as singles, and 210 - 20 - 78 + 5 = 112 + 5 in all.
    assert sizes["unseen_single"] == 5 and sum(sizes.values()) == len(split.test) == 5 + 190 - 78
    seen = {gene for c in split.train for gene in c.targets}
    assert len(seen) == 13
    for name, n_seen in (("combo_seen0", 0), ("combo_seen1", 1), ("combo_seen2", 2)):
        assert all(sum(gene in seen for gene in c.targets) == n_seen for c in split.parts[name])


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
        ('{"train": ["a"], "test": ["b"], "parts": {"odd": []}}', r"'parts.odd' has no condition; name at least one"),
        ('{"train": ["a"], "test": ["b"], "parts": {"test": ["b"]}}', r"'parts.test' has the name of a use"),
        (
            '{"train": ["a"], "test": ["b"], "parts": {"one": ["b"], "two": ["b"]}}',
            r"'x/b' is in both parts 'one' and 'two'",
        ),
        (
            '{"train": ["a"], "test": ["b"], "parts": {"odd": ["b", "a+b"]}}',
            r"'x/a\+b' is in part 'odd' but not in 'test', as others of it are; make two parts",
        ),
        ('{"train": ["a"], "test": ["a+b", "b+a"]}', r"'test' names 'x/a\+b' more than once"),
        ('{"train": ["b"], "test": ["a", "x/a"]}', r"'test' names 'x/a' more than once"),
        ('{"train": [], "test": ["a"]}', r"'train' has no condition"),
        ('{"test": ["a"], "valid": ["b"]}', r"unknown key 'valid'; did you mean 'val'"),
        ('{"test": ["a"], "test": ["b"]}', r"'test' comes twice; join the two lists"),
        ('{"kind": "additive", "train": ["a"], "test": ["a+b"]}', r"'x/a\+b' is held out as additive, but not two"),
        (
            '{"kind": "simulation", "train": ["a"], "test": ["a+b"], "parts": {"combo_seen2": ["a+b"]}}',
            r"'x/a\+b' is in part 'combo_seen2', but the targets that occur in training make it another",
        ),
        ('{"train": ["a"], "test": ["b"], "parts": 3}', r"'parts' is not a mapping"),
        ('{"train": [', r"not JSON \(line 1"),
        ("[]", r"expected \{"),
    ],
)
def test_split_file_rejects(tmp_path, text, message):
    path = tmp_path / "mine.json"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        read_split(path, screen(["a", "b", "a+b"], contexts=("x",)))
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_split_file_across_contexts(tmp_path):
    """A perturbation that is trained on in one context is new in another only where that is the question."""
    conditions, path = screen(["a", "b"], contexts=("x", "y")), tmp_path / "mine.json"
    path.write_text('{"train": ["x/a"], "test": ["y/a"]}')
    with pytest.raises(
        UserError, match=r"'y/a' is in 'test' and, in another context, in 'train'; keep one, or write \"kind\": "
    ):
        read_split(path, conditions)
    path.write_text('{"train": ["x/a"], "test": ["x/a"]}')
    with pytest.raises(UserError, match=r"'x/a' is in both 'test' and 'train'; keep one$"):
        read_split(path, conditions)
    path.write_text('{"kind": "transfer", "train": ["x/a"], "test": ["y/a"]}')
    assert read_split(path, conditions).sizes == {"train": 1, "val": 0, "test": 1, "unused": 2}
    path.write_text('{"train": ["x/a"], "test": ["b"], "parts": {"scored": ["y/a"]}}')
    with pytest.raises(UserError, match=r"'y/a' is in part 'scored' and also trained on"):
        read_split(path, conditions)
    path.write_text('{"train": ["x/a"], "test": ["b"]}')
    assert read_split(path, conditions).sizes == {"train": 1, "val": 0, "test": 2, "unused": 1}


def test_a_split_file_is_whole_or_not_there(tmp_path):
    split = make_split(screen(["a", "b"]), SplitConfig(kind="random", n_test=1, n_val=0))
    with pytest.raises(OSError, match="No such file"):
        write_split(split, tmp_path / "nowhere" / "split.json")
    write_split(split, tmp_path / "split.json")
    assert [path.name for path in tmp_path.iterdir()] == ["split.json"]


def test_split_file_that_is_missing_is_named(tmp_path):
    for name, hint in (("nothing.json", "'scbig split STORE -o FILE' writes one"), ("d/x.json", "no directory .*/d; ")):
        with pytest.raises(UserError, match=rf"{name}: no such file.*{hint}"):
            make_split(screen(["a"]), SplitConfig(file=str(tmp_path / name)))
    (tmp_path / "norman_split.json").write_text("{}")
    with pytest.raises(UserError, match=r"no such file; did you mean 'norman_split\.json' there\?"):
        make_split(screen(["a"]), SplitConfig(file=str(tmp_path / "norman-split.json")))


def test_condition_that_is_not_there_stands_beside_the_nearest(tmp_path):
    conditions = screen(["AAK1", "ABL1", "ACTB", "BCL2", "CBL", "KLF1", "KLF1+MYC", "MYC", "ZEB2"], contexts=("x",))
    path = tmp_path / "mine.json"
    for asked, nearest in (
        ("FOXA1+klf1", "the nearest of 9: 'KLF1', 'KLF1+MYC', "),
        ("x/FOXA1ABCD+KLF1", "the nearest of 9: 'x/KLF1', 'x/KLF1+MYC', "),
        ("zeb9999", "the nearest of 9: 'ZEB2', "),
    ):
        path.write_text(json.dumps({"test": [asked]}))
        with pytest.raises(UserError) as caught:
            read_split(path, conditions)
        assert nearest in str(caught.value)


def test_check_split_finds_a_reverse_spelling_in_another_context():
    split = Split("additive", 0, (Condition("x", "B+A"),), (), (Condition("y", "A+B"),))
    with pytest.raises(UserError, match=r"'y/A\+B' is in 'test' and, in another context, in 'train'"):
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
