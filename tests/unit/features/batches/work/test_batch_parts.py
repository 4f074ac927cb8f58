"""What a run of a batch does beside its calls, while the database is slow."""

from collections.abc import Iterator, Mapping

import pytest

from src.kernel.domain import limits
from src.kernel.domain.task import Status
from src.kernel.run.context import Ended
from src.kernel.store.d1 import D1Statement
from tests.support.batch_bench import BatchBench, lines


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[BatchBench]:
    """Give a bench with a batch whose lines were found valid, and whose slices and segments are small."""
    monkeypatch.setattr(limits, "BATCH_PORTION_BYTES", 1_000)
    monkeypatch.setattr(limits, "SEGMENT_CHARS_OF_BATCH", 800)
    made = BatchBench(timeout_seconds=10.0, lease_seconds=20.0)
    made.begin(lines(60))
    made.run()
    yield made
    made.close()


def test_an_object_for_which_a_slow_write_left_no_time_is_made_later(
    bench: BatchBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After half of the lease the run writes first: an object in vain would count against the bucket."""
    batch, seconds = bench.database.batch, iter([11.0])

    async def slow_after_the_first_calls(statements: list[D1Statement]) -> list[Mapping[str, object]]:
        bench.database.seconds = next(seconds, 0.01) if bench.model.answered else 0.01
        return await batch(statements)

    monkeypatch.setattr(bench.database, "batch", slow_after_the_first_calls)
    assert bench.run() == Ended(Status.COMPLETED)
    events = [line["event"] for line in bench.log]
    assert events.count("call_not_started") == 6  # the calls that the slow write has announced
    assert events.count("batch_grown") > 1
    assert "batch_not_grown" not in events
