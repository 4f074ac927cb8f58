"""The sweep's duty to complete the files of batches."""

from collections.abc import Iterator

import pytest

from src.core.batches.status import BatchStatus
from src.core.ids import TaskKey, split_task_key
from src.processing.batches.writer import BatchWriter
from src.processing.sweep.sweep import Sweep
from tests.support.batch_bench import KEY, BatchBench, lines

RETENTION_MS = 1_000_000


@pytest.fixture
def bench() -> Iterator[BatchBench]:
    """Make a bench with a cancelled batch whose files are not complete."""
    made = BatchBench()
    made.begin(lines(3))
    made.do(made.store().cancel(KEY, RETENTION_MS))
    yield made
    made.close()


def test_the_sweep_completes_a_batch(bench: BatchBench) -> None:
    """A batch that no worker has ended is completed by the next sweep."""
    bench.do(Sweep(bench.worker(), ()).run())
    assert bench.batch().status is BatchStatus.CANCELLED


def test_a_batch_that_cannot_be_completed_keeps_the_sweep_from_no_other_duty(
    bench: BatchBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unexpected error is logged, and the sweep goes on to the files."""

    async def breaks(self: BatchWriter, task_key: TaskKey) -> bool:
        raise RuntimeError(task_key)

    monkeypatch.setattr(BatchWriter, "run", breaks)
    bench.do(Sweep(bench.worker(), ()).run())
    assert bench.batch().status is BatchStatus.CANCELLING
    assert [entry["task"] for entry in bench.log if entry["event"] == "batch_write_failed"] == [split_task_key(KEY)[1]]
    assert bench.database.rows("SELECT 1 FROM file_walks")
