"""Batches made ahead are those that would have been made then; a thread that leaves nothing behind."""

from __future__ import annotations

import threading
import time

import pytest

from scbig_dist.train.feed import AHEAD, Feeder
from scbig_dist.train.pace import Pace


def batches(step: int) -> list[tuple[int, int]]:
    return [(step, part) for part in range(step % 3)]


def test_feeder_gives_each_step_its_batches_in_order():
    with Feeder(batches, range(2, 40)) as feed:
        for step in range(2, 40):
            assert list(feed.step()) == batches(step)


def test_feeder_works_ahead_but_not_far():
    made: list[int] = []

    def make(step: int) -> list[int]:
        made.append(step)
        return [step]

    with Feeder(make, range(100)) as feed:
        for step in range(3):
            assert list(feed.step()) == [step]
        deadline = time.monotonic() + 10
        while len(made) < 3 + AHEAD and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.02)
        # A step is begun where there is room for its first batch: one more may stand before the door.
        assert 3 + AHEAD <= len(made) <= 3 + AHEAD + 1
    assert not [thread for thread in threading.enumerate() if thread.name == "feeder"]


def test_error_of_the_thread_surfaces_in_its_step():
    def make(step: int) -> list[int]:
        if step == 3:
            raise OSError("the disk is gone")
        return [step]

    with pytest.raises(OSError, match="the disk is gone"), Feeder(make, range(10)) as feed:
        for step in range(10):
            assert list(feed.step()) == [step]
    assert step == 3
    assert not [thread for thread in threading.enumerate() if thread.name == "feeder"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_thread_ends_with_the_loop(error):
    with pytest.raises(error), Feeder(batches, range(10**9)) as feed:
        list(feed.step())
        raise error
    assert not [thread for thread in threading.enumerate() if thread.name == "feeder"]


def test_waiting_is_measured():
    def slow(step: int) -> list[int]:
        time.sleep(0.02)
        return [step]

    with Feeder(slow, range(5)) as feed:
        for _ in range(5):
            list(feed.step())
    assert 0.08 < feed.waited < 5
    with Feeder(batches, range(5)) as feed:
        for _ in range(5):
            time.sleep(0.02)
            list(feed.step())
    assert feed.waited < 0.02


def test_pace_is_a_median_and_a_share():
    pace = Pace()
    assert pace.step_s is None and pace.data_wait is None and pace.data_wait_overall is None
    for seconds, waited in ((1.0, 0.5), (3.0, 0.0), (2.0, 0.25)):
        pace.add(seconds, waited)
    assert pace.step_s == 2.0
    assert pace.data_wait == pace.data_wait_overall == pytest.approx(0.125)
    for _ in range(100):
        pace.add(1.0, 0.0)
    assert pace.data_wait == 0 and pace.data_wait_overall == pytest.approx(0.75 / 106)
