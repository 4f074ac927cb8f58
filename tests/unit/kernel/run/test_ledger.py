"""One claim's calls: their attempts, waits, pauses and bill, what a write records of failures, and the task's terms."""

from typing import Any

import pytest

from src.kernel.calls.protocol import ModelReply
from src.kernel.domain import limits
from src.kernel.domain.codes import TaskCode
from src.kernel.domain.errors import (
    ModelConnectionLost,
    ModelError,
    ModelRateLimited,
    ModelRefused,
    ModelTimeout,
    ModelUnavailable,
)
from src.kernel.domain.task import Failure, TaskOptions, Wait
from src.kernel.run.failed_calls import HeldFailures
from src.kernel.run.ledger import Ledger
from src.kernel.run.waits import Terms
from src.kernel.store.claims import AttemptEntry, CallKey, Claim, FailedCall, Tries
from src.kernel.text.chunks import Window

FIRST, SECOND, THIRD = (CallKey(0, position) for position in range(3))
REPLY = ModelReply("fine", 7, 3)


def claim(**changes) -> Claim:
    facts: dict[str, Any] = {
        "task_key": "t",
        "fence": 1,
        "attempts": 1,
        "stalls": 0,
        "rate_waits": 0,
        "options": TaskOptions(),
        "step": 0,
        "total": 3,
        "window": Window(0, 0, (1, 2, 3), 0, "abc"),
        "instructions": "do",
        "merge_chars": 2000,
        "calls_settled": 0,
        "calls_in_doubt": 0,
        "input_tokens": 0,
        "output_tokens": 0,
        "outputs": frozenset(),
        "tried": {},
        "failed_for_good": {},
        "announced": frozenset(),
        "doubted": frozenset(),
    }
    return Claim(**(facts | changes))


def started(ledger: Ledger, *keys: CallKey) -> None:
    ledger.add(keys)
    assert ledger.startable(0, len(keys)) == list(keys)
    ledger.start(keys, 0)


def test_outputs_that_are_there_are_not_asked_for_again():
    ledger = Ledger(claim(outputs=frozenset({FIRST, THIRD})), 3)
    ledger.add([FIRST, SECOND, THIRD])
    assert ledger.startable(0, 9) == [SECOND]
    assert ledger.progress([], 3).completed == 2


@pytest.mark.parametrize("unanswered", [ModelConnectionLost("gone"), ModelTimeout("no reply")])
def test_every_call_is_on_the_bill_once(unanswered: ModelError):
    ledger = Ledger(claim(calls_settled=10, calls_in_doubt=1), 3)
    started(ledger, FIRST, SECOND, THIRD)
    ledger.succeeded(FIRST, REPLY)
    ledger.failed(SECOND, ModelUnavailable("500"), 0, 0.5)
    ledger.failed(THIRD, unanswered, 0, 0.5)
    told = ledger.progress([], 3)
    assert (told.calls_settled, told.calls_in_doubt, told.in_flight) == (12, 2, ())
    assert (told.input_tokens, told.output_tokens, told.completed) == (7, 3, 1)


def test_a_transient_failure_waits_and_then_ends_the_task_when_its_attempts_are_used_up():
    ledger = Ledger(claim(), 3)
    ledger.add([FIRST])
    now, waits = 0.0, []
    for _ in range(3):
        ledger.start(ledger.startable(now, 1), now)
        ledger.failed(FIRST, ModelUnavailable("503 from the model"), now, 0)
        if ledger.failure is None:
            next_at = ledger.next_at(0)
            assert next_at is not None
            waits.append(next_at - now)
            assert ledger.startable(next_at - 0.001, 1) == []
            now = next_at
    assert waits == [0.5, 1.0]
    assert ledger.failure is not None
    assert (ledger.failure.code, ledger.failure.retryable) == ("model_unavailable", True)
    told = ledger.progress([], 3)
    assert told.failed == 1
    assert [(item.final, item.tried) for item in told.failures] == [(True, Tries(3, 3))]


def test_a_failure_for_good_of_an_earlier_claim_stands():
    refused = Failure(TaskCode.MODEL_REFUSED, "401", retryable=False)
    later = Failure(TaskCode.MODEL_TIMEOUT, "late", retryable=True)
    ledger = Ledger(claim(failed_for_good={SECOND: refused, THIRD: later, CallKey(1, 0): later}), 3)
    ledger.add([FIRST, SECOND, THIRD])
    assert ledger.startable(0, 9) == []
    assert ledger.next_at(0) is None
    assert ledger.failure == refused
    assert ledger.progress([], 3).failed == 2


def test_a_refusal_ends_the_task_at_once_and_starts_nothing_more():
    ledger = Ledger(claim(), 3)
    started(ledger, FIRST, SECOND)
    ledger.add([THIRD])
    ledger.failed(FIRST, ModelRefused("401: the key was refused"), 0, 0)
    ledger.failed(SECOND, ModelRefused("another"), 0, 0)
    assert ledger.startable(9e9, 9) == []
    assert ledger.next_at(0) is None
    assert ledger.failure is not None
    assert (ledger.failure.message, ledger.failure.retryable) == ("401: the key was refused", False)


def test_a_rate_limit_pauses_all_starts_and_costs_no_attempt():
    ledger = Ledger(claim(), 1)
    started(ledger, FIRST, SECOND)
    ledger.add([THIRD])
    for key in (FIRST, SECOND):
        ledger.failed(key, ModelRateLimited("slow down", 2), 10, 0)
    assert ledger.failure is None
    assert ledger.startable(11.99, 9) == []
    assert sorted(ledger.startable(12, 9)) == [FIRST, SECOND, THIRD]
    told = ledger.progress([], 3)
    assert (told.rate_waits, told.calls_settled) == (1, 2)
    assert [item.tried for item in told.failures] == [Tries(0, 1), Tries(0, 1)]


@pytest.mark.parametrize(("now", "waits"), [(11.999, True), (12.0, False), (12.001, False)])
def test_a_pause_is_told_of_for_as_long_as_it_keeps_calls_from_starting(now: float, waits: bool):
    ledger = Ledger(claim(), 1)
    started(ledger, FIRST)
    ledger.failed(FIRST, ModelRateLimited("slow down", 2), 10, 0)
    wait = ledger.progress([], 3, now).wait
    assert wait == (Wait("rate_limited", 12_000) if waits else None)
    assert bool(ledger.startable(now, 1)) is not waits


def test_a_call_that_was_refused_waits_no_longer_than_the_pause():
    ledger = Ledger(claim(), 3)
    started(ledger, FIRST)
    ledger.failed(FIRST, ModelRateLimited("slow down", 0), 10, 0)
    assert ledger.next_at(0) == 10 + limits.RATE_LIMIT_SECONDS_LEAST


def test_a_rate_limit_of_no_time_is_waited_out_for_hours():
    ledger = Ledger(claim(), 3)
    ledger.add([FIRST])
    now, calls = 0.0, 0
    while (next_at := ledger.next_at(0)) is not None:
        now = max(now, next_at)
        ledger.start(ledger.startable(now, 1), now)
        calls += 1
        ledger.failed(FIRST, ModelRateLimited("slow down", 0), now, 0)
    assert calls == limits.RATE_LIMIT_WAITS_MOST + 1
    assert now > 3_600


def test_an_output_ends_a_row_of_stalls_and_waits():
    ledger = Ledger(claim(stalls=2, rate_waits=9), 3)
    started(ledger, FIRST)
    assert (ledger.progress([], 3).stalls, ledger.progress([], 3).rate_waits) == (2, 9)
    ledger.succeeded(FIRST, REPLY)
    assert (ledger.progress([], 3).stalls, ledger.progress([], 3).rate_waits) == (0, 0)


def test_doubted_calls_count_as_calls_of_their_chunk_but_not_as_attempts():
    ledger = Ledger(claim(doubted=frozenset({FIRST})), 1)
    started(ledger, FIRST)
    ledger.succeeded(FIRST, REPLY)
    assert ledger.progress([], 3).outputs[0].calls == 2


def test_what_was_saved_is_not_told_again():
    ledger = Ledger(claim(), 3)
    started(ledger, FIRST, SECOND)
    ledger.succeeded(FIRST, REPLY)
    assert ledger.unsaved
    ledger.saved()
    assert not ledger.unsaved
    told = ledger.progress([THIRD], 3)
    assert (told.outputs, told.in_flight) == ((), (SECOND, THIRD))


def test_a_write_that_is_tried_again_says_what_each_try_told():
    ledger = Ledger(claim(), 3)
    started(ledger, FIRST, SECOND, THIRD)
    ledger.succeeded(THIRD, REPLY)
    assert ledger.progress([], 3).tries == ()
    ledger.succeeded(FIRST, REPLY)
    again = ledger.progress([], 3)
    assert ([output.key for output in again.outputs], again.tries) == ([THIRD, FIRST], (1,))
    assert ledger.progress([], 3).tries == (1, 2)
    assert again.step == 1
    ledger.saved()
    ledger.succeeded(SECOND, REPLY)
    later = ledger.progress([], 3)
    assert ([output.key for output in later.outputs], later.tries, later.step) == ([SECOND], (), 2)


def test_a_write_that_was_given_up_keeps_its_number():
    ledger = Ledger(claim(), 3)
    started(ledger, FIRST, SECOND)
    ledger.succeeded(FIRST, REPLY)
    given_up = ledger.progress([], 3)
    ledger.given_up()
    ledger.succeeded(SECOND, REPLY)
    told = ledger.progress([], 3)
    assert (given_up.step, told.step, told.first_step, told.tries) == (1, 2, 1, (1,))
    ledger.saved()
    after = ledger.progress([], 3)
    assert (after.step, after.first_step) == (3, 3)


def test_calls_that_nobody_waits_for_are_in_doubt():
    for end, expected in ((Ledger.abandon, (0, 2, 0)), (Ledger.stalled, (0, 2, 1))):
        ledger = Ledger(claim(), 3)
        started(ledger, FIRST, SECOND)
        end(ledger)
        told = ledger.progress([], 3)
        assert (told.calls_settled, told.calls_in_doubt, told.stalls) == expected
        assert told.in_flight == ()


def fruitless(ledger: Ledger, now: float, *keys: CallKey) -> None:
    assert ledger.startable(now, len(keys)) == list(keys)
    ledger.start(keys, 0)
    for key in reversed(keys):
        ledger.not_started(key, now)


def test_calls_that_did_not_start_pause_all_starts_longer_and_longer():
    ledger = Ledger(claim(), 1)
    ledger.add([FIRST, SECOND, THIRD])
    now = 100.0
    for pause in (1, 2, 4, 8, 16, 30, 30):
        fruitless(ledger, now, FIRST, SECOND)
        assert ledger.next_at(0) == now + pause
        assert ledger.startable(now + pause - 0.01, 9) == []
        now += pause
    assert ledger.startable(now, 9) == [FIRST, SECOND, THIRD]
    assert (ledger.sent, ledger.ended, ledger.unsaved, ledger.failure) == (0, 0, False, None)


def test_a_call_that_was_made_ends_the_row():
    """An answer or a failure shows that calls do start, so the next pause of all starts is 1 s again."""
    for fails in (False, True):
        ledger = Ledger(claim(idle_runs=4), 3)
        ledger.add([FIRST, SECOND])
        fruitless(ledger, 0, FIRST, SECOND)
        fruitless(ledger, 1, FIRST, SECOND)
        assert (ledger.fruitless, ledger.progress([], 3).idle_runs) == (2, 4)
        ledger.start(ledger.startable(3, 1), 3)
        if fails:
            ledger.failed(FIRST, ModelUnavailable("503"), 3, 0)
        else:
            ledger.succeeded(FIRST, REPLY)
        assert (ledger.fruitless, ledger.ended, ledger.progress([], 3).idle_runs) == (0, 1, 0)
        fruitless(ledger, 3, SECOND)
        assert ledger.next_at(0) == 4


def test_what_a_busy_lane_did_not_start_goes_out_again_at_once():
    """If a lane made one of its two calls, the other is sent again without a pause, since the database is not slow."""
    ledger = Ledger(claim(), 3)
    started(ledger, FIRST, SECOND)
    ledger.succeeded(FIRST, REPLY)
    ledger.not_started(SECOND, 10)
    assert ledger.startable(10, 9) == [SECOND]


def test_a_tasks_pace_is_the_mean_time_from_one_output_to_the_next():
    ledger, keys = Ledger(claim(total=5), 3), [CallKey(0, position) for position in range(5)]
    ledger.add(keys)
    ledger.start(ledger.startable(0, 3), 0)
    for key in keys[:3]:
        ledger.succeeded(key, REPLY, now=6)
    assert ledger.progress([], 5).pace_ms == 2_000
    ledger.start(ledger.startable(6, 2), 6)
    ledger.failed(keys[3], ModelUnavailable("500"), 7, 0.0)
    ledger.start(ledger.startable(100, 1), 100)
    ledger.succeeded(keys[3], REPLY, now=101)
    assert ledger.progress([], 5).pace_ms == 1_000


def test_of_two_failures_of_a_call_the_log_gets_the_later_one() -> None:
    ledger = Ledger(claim(), 3)
    started(ledger, FIRST)
    ledger.failed(FIRST, ModelUnavailable("503"), 1, 0, AttemptEntry(0, 1_000, True, "m", "queue"))
    ledger.start(ledger.startable(10, 1), 10)
    ledger.failed(FIRST, ModelRefused("400", of_call=True), 11, 0, AttemptEntry(10_000, 11_000, True, "m", "queue"))
    (failed,) = ledger.progress([], 3).failures
    assert failed.entry is not None
    assert (failed.entry.started_ms, failed.entry.ended_ms, failed.entry.number) == (10_000, 11_000, 2)
    assert failed.entry.failure == failed.failure
    assert failed.failure.code == "model_refused"


def test_a_call_that_is_not_written_yet_stays_in_the_log_when_its_failure_changes() -> None:
    ledger, entry = Ledger(claim(), 3), AttemptEntry(0, 1_000, True, "m", "queue")
    started(ledger, FIRST)
    ledger.failed(FIRST, ModelUnavailable("503"), 1, 0, entry)
    ledger.start(ledger.startable(10, 1), 10)
    ledger.failed(FIRST, ModelUnavailable("503"), 11, 0)
    (failed,) = ledger.progress([], 3).failures
    assert failed.entry is not None
    assert failed.entry.started_ms == 0


def test_a_failure_is_not_judged_while_its_call_is_in_flight_again() -> None:
    held = HeldFailures()
    failed = FailedCall(FIRST, Tries(0, 1), False, Failure(TaskCode.MODEL_UNAVAILABLE, "503", True))
    held.hold(failed, 1.0, 2.0, 0.5)
    assert held.take(9.0, {FIRST}) == []
    assert [one.failed for one in held.take(9.0, ())] == [failed]


@pytest.mark.parametrize(("key", "chunk"), [(FIRST, 0), (THIRD, 2), (CallKey(1, 0), None), (CallKey(2, 1), None)])
def test_the_last_error_names_the_chunk_of_a_failed_call_and_no_chunk_of_a_failed_merge(
    key: CallKey, chunk: int | None
) -> None:
    ledger = Ledger(claim(), 3)
    started(ledger, key)
    ledger.failed(key, ModelUnavailable("503"), 1, 0)
    error = ledger.progress([], 3).last_error
    assert error is not None
    assert (error.code, error.chunk) == ("model_unavailable", chunk)


@pytest.mark.parametrize(("now", "left"), [(10.0, 5.0), (14.5, 0.5), (15.0, 0.0), (15.5, 0.0)])
def test_a_task_rests_after_an_unexpected_error_only_while_its_rest_lasts(now: float, left: float) -> None:
    """The claim is granted at 10 s and asks for a rest of 5 s, so an error from 15 s on causes no rest."""
    terms = Terms(claim(rest_ms=5_000), 9.0, 10.0)
    assert terms.rest_ms(now) == (1000 * (left + limits.EARLY_SECONDS_ALLOWED) if left else 0)


def test_a_task_without_stalls_goes_on_at_once_after_an_unexpected_error() -> None:
    assert Terms(claim(), 10.0, 10.0).rest_ms(10.0) == 0


def test_no_call_starts_when_the_deadline_may_have_passed() -> None:
    """The database wrote the claim between 9 and 10 s, with 5 s left, so the deadline is between 14 and 15 s."""
    terms = Terms(claim(deadline_left_ms=5_000), 9.0, 10.0)
    assert [terms.forbids_start(now) for now in (13.9, 14.0, 14.9)] == [False, True, True]
    assert [terms.starts_by(at, 2.0) for at in (11.0, 13.0)] == [13.0, 14.0]
    assert terms.deadline_latest == 15.0
