"""How a run checks the lines of a batch after a run that could not, and reads many lines at once for its calls."""

from collections.abc import Iterator

import pytest

from src.core import limits
from src.core.files import FileKey
from src.core.states import Status
from src.processing.outcomes import Ended, Released
from tests.support.batch_bench import HOST, INPUT, BatchBench, line, lines


@pytest.fixture
def bench() -> Iterator[BatchBench]:
    """Give a bench whose input files have one part."""
    made = BatchBench(part_bytes=20_000)
    yield made
    made.close()


def unread(bench: BatchBench, seconds: float = limits.IDLE_SECONDS_FIRST) -> None:
    """Let a run release the batch for some seconds because the bucket does not answer, and let these pass."""
    assert bench.bucket is not None
    bench.bucket.fail(1)
    assert bench.run() == Released(seconds)
    bench.pass_seconds(seconds)


def test_a_batch_whose_bucket_does_not_answer_rests_longer_each_time(bench: BatchBench) -> None:
    """The first rest is as short as that of any task, and each further one twice as long."""
    bench.begin(lines(3))
    unread(bench)
    unread(bench, 2 * limits.IDLE_SECONDS_FIRST)
    unread(bench, 4 * limits.IDLE_SECONDS_FIRST)


def test_once_the_bucket_answers_the_lines_are_checked_without_a_pause(bench: BatchBench) -> None:
    """A run after an idle one may make few writes, but the read of what is already checked is none of them."""
    bench.begin(lines(60))
    unread(bench)
    began = bench.loop.time()
    bench.run()
    assert bench.batch().valid_at is not None
    assert bench.loop.time() == began


def test_a_check_ends_a_row_of_idle_runs(bench: BatchBench) -> None:
    """A run that has checked the lines was of use. If no time is left for a call, the batch rests as briefly as after
    its first idle run.
    """
    bench.begin(lines(3))
    unread(bench)
    assert bench.run(HOST._replace(seconds=0.0)) == Released(limits.IDLE_SECONDS_FIRST)
    assert bench.batch().valid_at is not None
    assert not bench.model.calls
    bench.pass_seconds(limits.IDLE_SECONDS_FIRST)
    assert bench.run() == Ended(Status.COMPLETED)


def test_a_read_has_as_many_lines_as_fit(bench: BatchBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each read of the bucket costs a request, so a run reads whole lines together, up to BATCH_SLICE_BYTES."""
    content = "".join(line(f"line-{number:02}") + "\n" for number in range(60)).encode()
    size = len(content) // 60
    bench.begin(content)
    assert isinstance(bench.run(), Released)  # the validation of a long batch ends the run, for lanes
    monkeypatch.setattr(limits, "BATCH_SLICE_BYTES", 30 * size - 1)  # without the last line's line feed
    assert bench.bucket is not None
    read, reads = bench.bucket.read, list[tuple[int, int]]()

    async def noted(file: FileKey, name: str, start: int, end: int) -> bytes:
        if file == INPUT:
            reads.append((start, end))
        return await read(file, name, start, end)

    monkeypatch.setattr(bench.bucket, "read", noted)
    assert bench.run() == Ended(Status.COMPLETED)
    assert reads == [(0, 30 * size - 1), (30 * size, 60 * size - 1)]
    bench.sweep_to_end()
    bench.check_end([f"line-{number:02}" for number in range(60)])
