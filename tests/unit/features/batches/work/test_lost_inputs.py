"""A batch whose input is lost, or whose database is slow: how long it waits, and what it does meanwhile."""

from collections.abc import Callable, Iterator, Mapping

import pytest

from src.features.batches.status import BatchStatus
from src.kernel.domain import limits
from src.kernel.domain.task import Status
from src.kernel.run.context import Ended
from src.kernel.store.d1 import D1Statement
from tests.support.batch_bench import ERRORS, INPUT, KEY, BatchBench, lines

LINES = 60


@pytest.fixture
def cancelled() -> Iterator[BatchBench]:
    bench = BatchBench(part_bytes=20_000)
    bench.begin(lines(LINES))
    bench.run()
    assert bench.batch().valid_at is not None
    bench.do(bench.store().cancel(KEY, 1_000_000))
    yield bench
    bench.close()


def lose_part(bench: BatchBench) -> None:
    del bench.bound.parts[INPUT, "0"]


def lose_file(bench: BatchBench) -> None:
    bench.database.rows("DELETE FROM files WHERE id = ?", INPUT)


@pytest.mark.parametrize("lose", [lose_part, lose_file])
@pytest.mark.parametrize(("seconds", "ends"), [(-0.5, False), (0.0, True)])
def test_a_lost_input_is_given_up_a_quarter_of_an_hour_after_the_first_look(
    cancelled: BatchBench, lose: Callable[[BatchBench], None], seconds: float, ends: bool
) -> None:
    lose(cancelled)
    assert not cancelled.sweep()
    cancelled.pass_seconds(limits.LOST_PART_SECONDS + seconds)
    assert cancelled.sweep() is ends
    assert cancelled.batch().status is (BatchStatus.CANCELLED if ends else BatchStatus.CANCELLING)
    found = cancelled.content(ERRORS)
    assert [(one["custom_id"], one["error"]["code"]) for one in found] == [(None, "batch_failed")] * LINES * ends


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[BatchBench]:
    """Give a bench with a batch whose lines were found valid, and whose slices and segments are small."""
    monkeypatch.setattr(limits, "BATCH_PORTION_BYTES", 1_000)
    monkeypatch.setattr(limits, "SEGMENT_CHARS_OF_BATCH", 800)
    made = BatchBench(timeout_seconds=10.0, lease_seconds=20.0)
    made.begin(lines(60))
    made.run()
    yield made
    made.close()


def test_an_object_for_which_a_slow_write_left_no_time_is_made_later(
    slow: BatchBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After half of the lease the run writes first: an object in vain would count against the bucket."""
    batch, seconds = slow.database.batch, iter([11.0])

    async def slow_after_the_first_calls(statements: list[D1Statement]) -> list[Mapping[str, object]]:
        slow.database.seconds = next(seconds, 0.01) if slow.model.answered else 0.01
        return await batch(statements)

    monkeypatch.setattr(slow.database, "batch", slow_after_the_first_calls)
    assert slow.run() == Ended(Status.COMPLETED)
    events = [line["event"] for line in slow.log]
    assert events.count("call_not_started") == 6  # the calls that the slow write has announced
    assert events.count("batch_grown") > 1
    assert "batch_not_grown" not in events
