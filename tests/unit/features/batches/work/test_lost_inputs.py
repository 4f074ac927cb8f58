"""A batch whose input is lost before its error file is complete: how long the writer waits, and what it then writes."""

from collections.abc import Callable, Iterator

import pytest

from src.features.batches.status import BatchStatus
from src.kernel.domain import limits
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
    assert bench.bucket is not None
    del bench.bucket.parts[INPUT, "0"]


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
