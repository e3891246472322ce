"""`train.workers: 1-2`: a training goes on with the workers that are left, and with more once there is room for them."""

from __future__ import annotations

import pytest

from scbig_dist.cluster.resources import check_placeable, needs_of
from scbig_dist.errors import UserError
from scbig_dist.settings import build_config, parse_set


def test_a_range_of_workers_holds_those_numbers_that_share_an_update_evenly():
    needs = needs_of(
        build_config(
            {**parse_set(["train.workers=1-6"]), "flow.accumulate": 6, "flow.steps": 600, "flow.validate_every": 600}
        )
    )
    assert (needs.least, needs.counts, needs.workers) == (1, (1, 2, 3, 6), 6) and str(needs).startswith(
        "1-6 workers × ("
    )
    assert (
        needs_of(
            build_config({"train.workers": "3", "flow.accumulate": 3, "flow.steps": 600, "flow.validate_every": 600})
        ).counts
        == ()
    )
    check_placeable([needs], [{"CPU": 2.0}], "the run")  # the least has room


@pytest.mark.parametrize("value", ["0", "2-1", "1-", "-2", "1-2-3", "some", "1.5", "true"])
def test_what_is_no_number_of_workers_is_named(value):
    with pytest.raises(UserError, match=r"train\.workers=.*: Value error, should be a number from 1, or a range"):
        build_config(parse_set([f"train.workers={value}"]))


def test_a_range_whose_end_cannot_share_an_update_is_refused():
    with pytest.raises(UserError, match=r"flow\.accumulate=4 is not a multiple of train\.workers=3"):
        build_config({"train.workers": "1-3", "flow.accumulate": 4, "flow.steps": 400, "flow.validate_every": 400})
    with pytest.raises(UserError, match="baselines count their updates by workers"):
        build_config({"train.workers": "1-2", "model.name": "cpa", "flow.accumulate": 2})
