"""A worker's pace: the window in which calls may start, the pauses, and the bucket that limits writes."""

import pytest

from src.kernel.calls.pace import Latency, WriteBucket, idle_seconds, start_pause_seconds, start_seconds
from src.kernel.domain import limits


@pytest.mark.parametrize(
    ("latency", "window"), [(0, 2), (0.01, 2), (0.5, 2), (0.51, 2.02), (2.2, 5.4), (9.5, 20), (9.6, 20), (300, 20)]
)
def test_the_start_window_follows_the_latency(latency: float, window: float):
    assert start_seconds(latency) == pytest.approx(window)


def test_latency_rises_at_once_and_falls_by_halves():
    latency = Latency()
    assert latency.seconds(0) == 0
    latency.note(8, 10)
    assert latency.seconds(10) == 8
    latency.note(1, 11)
    assert latency.seconds(11) == 4
    latency.note(3, 12)
    assert latency.seconds(12) == 3


def test_latency_is_forgotten():
    latency = Latency()
    latency.note(8, 10)
    assert latency.seconds(10 + limits.LATENCY_SECONDS_KEPT) == 8
    assert latency.seconds(10 + limits.LATENCY_SECONDS_KEPT + 0.1) == 0


def test_a_quick_no_does_not_make_the_database_fast():
    latency = Latency()
    latency.note(8, 10)
    latency.note_failure(0.01, 11)
    assert latency.seconds(11) == 8
    latency.note_failure(30, 41)
    assert latency.seconds(41) == 30


def test_pauses_double_up_to_their_most():
    assert [start_pause_seconds(row) for row in (1, 2, 3, 5, 6, 99)] == [1, 2, 4, 16, 30, 30]
    assert [idle_seconds(runs) for runs in (0, 1, 2, 6, 7, 99)] == [5, 10, 20, 320, 600, 600]


def test_a_bucket_gives_two_writes_a_minute():
    bucket = WriteBucket(limits.WRITES_AT_FIRST, 0)
    for _ in range(limits.WRITES_AT_FIRST):
        assert bucket.ready_at(0) == 0
        bucket.spend(0)
    assert [bucket.ready_at(now) for now in (0, 10, 29.9, 30, 31)] == pytest.approx([30, 30, 30, 30, 31])


def test_a_bucket_that_rests_holds_no_more_than_at_first():
    bucket = WriteBucket(0, 0)
    for _ in range(limits.WRITES_AT_FIRST):
        assert bucket.ready_at(3_600) == 3_600
        bucket.spend(3_600)
    assert bucket.ready_at(3_600) == pytest.approx(3_630)


def test_a_call_that_has_ended_earns_two_writes():
    bucket = WriteBucket(0, 0)
    bucket.earn(6)
    for _ in range(12):
        assert bucket.ready_at(0) == 0
        bucket.spend(0)
    assert bucket.ready_at(0) == pytest.approx(30)


def test_a_write_that_could_not_wait_is_paid_for_later():
    bucket = WriteBucket(0, 0)
    bucket.spend(0)
    assert bucket.ready_at(0) == pytest.approx(60)
