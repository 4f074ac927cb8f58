"""What tasks learn of a model: which failures count, the pauses, and how many calls and writes there may be."""

from typing import NamedTuple

import pytest

from src.kernel.calls.model_health import (
    LatestCall,
    LatestCalls,
    ModelHealth,
    Patience,
    Verdict,
    counts,
    judge,
    others,
    pause_seconds,
)
from src.kernel.calls.pace import Latency, WriteBucket, idle_seconds, start_pause_seconds, start_seconds
from src.kernel.domain import limits

HOUR = 3_600.0
USUAL = 6


def task_of(health: ModelHealth) -> Patience:
    return Patience(health, HOUR, now=0.0)


@pytest.mark.parametrize("has_failed", [False, True], ids=["newcomer", "waiting"])
def test_a_pause_that_the_provider_asks_for_holds_for_all_tasks_of_the_tenant(*, has_failed: bool):
    health = ModelHealth()
    one, other = task_of(health), task_of(health)
    if has_failed:
        other.failed(8, -1.0, -0.5, None, 0.0)
    one.failed(7, -1.0, 0.0, 121.0, 0.0)
    assert other.opens_at(1.0, None) == 121


def failing() -> ModelHealth:
    """Return what is known after ten chunks failed at time 0, and the model answers others since."""
    health = ModelHealth()
    for chunk in range(limits.OTHERS_MOST):
        health.failed(chunk, -1.0, 0.0, 0.0, 0.0)
    return health


def test_the_width_grows_back_by_time_alone():
    health = failing()
    assert [health.width(USUAL, at) for at in (0.0, 5.0, limits.WIDEN_SECONDS)] == [1, 3, USUAL]


@pytest.mark.parametrize("out", range(1, USUAL))
def test_a_run_wakes_when_the_width_has_grown(out: int):
    health = failing()
    at = health.widens_at(out, USUAL, 0.0)
    assert health.width(USUAL, at) == out + 1
    assert health.width(USUAL, at - 0.1) == out


CHUNK = 99
NOW = 1_000.0
STARTED = 990.0


class Case(NamedTuple):
    """One row: results of other chunks' latest calls (`+` success, `-` failure, the latest first), and the verdict."""

    says: str
    calls: str
    own: bool
    success_at: float = 995.0
    apart: float = 1.0  # the seconds between two consecutive calls in `calls`


TABLE = [
    Case("the model answers all others", "++++++++++", True),
    Case("eight of ten are four in five", "--++++++++", True),
    Case("seven of ten are not", "---+++++++", False),
    Case("three others are enough", "+++", True),
    Case("two others are not", "++", False),
    Case("of three none may have failed", "++-", False),
    Case("of four none may have failed", "+++-", False),
    Case("of five one may have failed", "-++++", True),
    Case("who was called before the last ten says nothing", "++++++++++-----", True),
    Case("no other model call was made", "", False),
    Case("all fail: the model is away", "----------", False, success_at=100.0),
    Case("no other call has succeeded since this one started", "++++++++++", False, success_at=989.9),
    Case("a success at the moment when this one started is too old", "++++++++++", False, success_at=STARTED),
    Case("another tenant's success is one", "++++++++++", True, success_at=999.0, apart=60.0),
    Case("what is older than 15 minutes says nothing", "+++++", False, apart=301.0),
    Case("what is just younger does", "+++", True, apart=300.0),
]


@pytest.mark.parametrize("case", TABLE, ids=[case.says for case in TABLE])
def test_what_counts(case: Case):
    calls = [LatestCall(at, NOW - case.apart * (at + 1), mark == "+") for at, mark in enumerate(case.calls)]
    own = [LatestCall(CHUNK, NOW - 0.5, succeeded=False)]
    assert counts(CHUNK, STARTED, case.success_at, [*reversed(calls), *own], NOW) is case.own


SERVICE = {
    "of_service": True,
    "patient": True,
    "own": True,
    "attempts": 0,
    "calls": 5,
    "attempts_most": 3,
    "chance": 1.0,
}


@pytest.mark.parametrize(
    ("says", "facts", "verdict"),
    [
        ("the first that counts", {"counted": 0}, Verdict(0, 1, False, 4.0)),
        ("the fifth", {"counted": 4}, Verdict(0, 5, False, 64.0)),
        ("the ninth", {"counted": 8}, Verdict(0, 9, False, 160.0)),
        ("the tenth ends the chunk", {"counted": 9}, Verdict(0, 10, True, 0.0)),
        ("MAX_ATTEMPTS says nothing of it", {"counted": 4, "attempts": 2}, Verdict(2, 5, False, 64.0)),
        ("one that does not count", {"counted": 9, "own": False}, Verdict(0, 9, False, 8.0)),
        ("its first one waits a second", {"counted": 0, "own": False, "calls": 1}, Verdict(0, 0, False, 1.0)),
        ("a malformed reply", {"counted": 9, "of_service": False, "own": False}, Verdict(1, 9, False, 1.0)),
        ("the last", {"counted": 0, "of_service": False, "own": False, "attempts": 2}, Verdict(3, 0, True, 4.0)),
        ("without patience", {"counted": 0, "patient": False, "own": False}, Verdict(1, 0, False, 1.0)),
        ("the last", {"counted": 0, "patient": False, "own": True, "attempts": 2}, Verdict(3, 0, True, 4.0)),
    ],
)
def test_what_follows(says: str, facts: dict[str, int], verdict: Verdict):
    assert judge(**(SERVICE | facts)) == verdict, says  # type: ignore[arg-type]


def test_the_pauses_between_counted_failures():
    """The pauses after a chunk's counted failures are the contract's, with a sixth of jitter: under 15 min in all."""
    longest = [pause_seconds(counted, 1.0) for counted in range(1, limits.FAILURES_COUNTED_MOST)]
    shortest = [pause_seconds(counted, 0.0) for counted in range(1, limits.FAILURES_COUNTED_MOST)]
    assert longest == [4, 8, 16, 32, 64, 128, 160, 160, 160]
    assert shortest == pytest.approx([pause * 5 / 6 for pause in longest])
    assert sum(longest) < 900


def test_each_chunk_is_known_by_its_latest_call():
    calls = LatestCalls()
    assert calls.note(LatestCall(1, 10, succeeded=False))
    assert calls.note(LatestCall(1, 12, succeeded=True))
    assert not calls.note(LatestCall(1, 11, succeeded=False))
    assert not calls.note(LatestCall(1, 12, succeeded=True))
    assert list(calls) == [LatestCall(1, 12, succeeded=True)]


def test_so_many_chunks_are_kept_as_the_rule_reads():
    calls = LatestCalls()
    for chunk in range(15):
        calls.note(LatestCall(chunk, chunk, succeeded=True))
    assert not calls.note(LatestCall(0, 0, succeeded=True))
    assert [call.chunk for call in calls] == list(range(14, 3, -1))
    assert [call.chunk for call in others(14, calls, 15)] == list(range(13, 3, -1))
    assert [call.chunk for call in others(3, calls, 15)] == list(range(14, 4, -1))


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
