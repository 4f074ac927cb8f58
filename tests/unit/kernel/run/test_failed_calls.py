"""What a write records of failed calls, for the log of the task's calls and for the readers of the task."""

import pytest

from src.kernel.domain.codes import TaskCode
from src.kernel.domain.errors import ModelRefused, ModelUnavailable
from src.kernel.domain.task import Failure
from src.kernel.run.failed_calls import HeldFailures
from src.kernel.run.ledger import Ledger
from src.kernel.store.claims import AttemptEntry, CallKey, FailedCall, Tries
from tests.unit.kernel.run.test_ledger import FIRST, THIRD, claim, started


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
