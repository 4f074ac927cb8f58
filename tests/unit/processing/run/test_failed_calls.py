"""What a write records of calls that failed since the last write, for the log of the task's calls."""

from src.core.errors import ModelRefused, ModelUnavailable
from src.processing.run.ledger import Ledger
from src.store.records.claims import CallMade
from tests.unit.processing.run.test_ledger import FIRST, claim, started


def test_of_two_failures_of_a_call_the_log_gets_the_later_one() -> None:
    """If a call fails twice before a write, the write records when the second call was made, and why it failed."""
    ledger = Ledger(claim(), 3)
    started(ledger, FIRST)
    ledger.failed(FIRST, ModelUnavailable("503"), 1, 0, CallMade(0, 1_000, True, "m", "queue"))
    ledger.start(ledger.startable(10, 1), 10)
    ledger.failed(FIRST, ModelRefused("400", of_call=True), 11, 0, CallMade(10_000, 11_000, True, "m", "queue"))
    (failed,) = ledger.progress([], 3).failures
    assert failed.made is not None
    assert (failed.made.started_ms, failed.made.ended_ms, failed.made.number) == (10_000, 11_000, 2)
    assert failed.made.failure == failed.failure
    assert failed.failure.code == "model_refused"
