"""How a run checks the lines of a batch, after a run that could not or without the file, and reads them for calls."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from src.features.batches.work.line_inputs import LineInputs
from src.kernel.domain import limits
from src.kernel.domain.codes import TaskCode
from src.kernel.domain.errors import BlobMissing
from src.kernel.domain.ids import FileKey
from src.kernel.domain.task import Route, Status
from src.kernel.run.context import Ended, Released
from src.kernel.run.memory import MemoryAllowance
from src.kernel.store.claims import CallKey, Claim
from tests.support.batch_bench import HOST, INPUT, KEY, BatchBench, line, lines
from tests.support.steps import noted


@pytest.fixture
def bench() -> Iterator[BatchBench]:
    made = BatchBench(part_bytes=20_000)
    yield made
    made.close()


def unread(bench: BatchBench, seconds: float = limits.IDLE_SECONDS_FIRST) -> None:
    """Let a run release the batch for some seconds because the bucket does not answer, and let these pass."""
    bench.bound.fail(1)
    assert bench.run() == Released(seconds)
    bench.pass_seconds(seconds)


def test_a_batch_whose_bucket_does_not_answer_rests_longer_each_time(bench: BatchBench) -> None:
    bench.begin(lines(3))
    unread(bench)
    unread(bench, 2 * limits.IDLE_SECONDS_FIRST)
    unread(bench, 4 * limits.IDLE_SECONDS_FIRST)


def test_a_batch_rests_longer_each_time_its_lines_cannot_be_read_for_a_call(bench: BatchBench) -> None:
    """Each run of a short slice costs a claim and a release, so pauses within one run do not suffice."""
    bench.begin(lines(60))
    assert bench.run() == Released(0)  # the validation of a long batch ends the run, for lanes
    bench.bound.fail(1_000)
    for number in range(4):
        seconds = limits.IDLE_SECONDS_FIRST * 2**number
        assert bench.run(HOST._replace(seconds=5.0)) == Released(seconds)
        bench.pass_seconds(seconds)
    bench.bound.fail(0)
    assert bench.run() == Ended(Status.COMPLETED)


def test_a_part_that_was_missed_for_long_and_is_there_at_the_last_look_is_waited_for(
    bench: BatchBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a part is not lost, and a run that read again at once might do so without end."""
    bench.begin(lines(60))
    assert bench.run() == Released(0)
    read, short, missed = bench.bound.read, HOST._replace(seconds=5.0), list[str]()

    async def only_last_byte(file: FileKey, name: str, start: int, end: int) -> bytes:
        if end - start > 1:
            missed.append(name)
            raise BlobMissing(name)
        return await read(file, name, start, end)

    with monkeypatch.context() as patched:
        patched.setattr(bench.bound, "read", only_last_byte)
        assert bench.run(short) == Released(limits.IDLE_SECONDS_FIRST)
        bench.pass_seconds(limits.LOST_PART_SECONDS)
        assert bench.run(short) == Released(2 * limits.IDLE_SECONDS_FIRST)
        assert missed == ["0", "0"]  # once in each run
    bench.pass_seconds(2 * limits.IDLE_SECONDS_FIRST)
    assert bench.run() == Ended(Status.COMPLETED)
    assert bench.batch().counts.failed == 0


def test_once_the_bucket_answers_the_lines_are_checked_without_a_pause(bench: BatchBench) -> None:
    bench.begin(lines(60))
    unread(bench)
    began = bench.loop.time()
    bench.run()
    assert bench.batch().valid_at is not None
    assert bench.loop.time() == began


def test_each_read_of_a_check_takes_the_memory_of_one_portion(
    bench: BatchBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "BATCH_PORTION_BYTES", portion := 2_000)
    bench.begin(lines(60))
    lent = noted(monkeypatch, MemoryAllowance, "share")
    bench.run()
    assert bench.batch().valid_at is not None
    sizes = [size for *_, size, _ in lent]
    assert len(sizes) > 2
    assert set(sizes[:-1]) == {limits.MEMORY_A_BYTE * portion}


def test_a_check_ends_a_row_of_idle_runs(bench: BatchBench) -> None:
    """If no time is left for a call, the batch rests as briefly as after its first idle run."""
    bench.begin(lines(3))
    unread(bench)
    assert bench.run(HOST._replace(seconds=0.0)) == Released(limits.IDLE_SECONDS_FIRST)
    assert bench.batch().valid_at is not None
    assert not bench.model.calls
    bench.pass_seconds(limits.IDLE_SECONDS_FIRST)
    assert bench.run() == Ended(Status.COMPLETED)


def test_a_batch_whose_input_file_is_gone_fails_for_good(bench: BatchBench) -> None:
    bench.begin(lines(3))
    bench.database.rows("DELETE FROM files RETURNING id")
    assert bench.run() == Ended(Status.FAILED)
    failure = bench.batch().task.failure
    assert failure is not None
    assert (failure.code, failure.message) == (TaskCode.INVALID_BATCH, "the input file of the batch is gone")
    assert not failure.retryable
    assert not bench.model.calls


# The bound is 30 lines, whose last line feed is not read; then a byte less than 31 such lines.
@pytest.mark.parametrize(("lines_most", "lacking"), [(30, 1), (31, 2)])
def test_a_read_has_as_many_lines_as_fit(
    bench: BatchBench, monkeypatch: pytest.MonkeyPatch, lines_most: int, lacking: int
) -> None:
    """Each read of the bucket costs a request, so a run reads whole lines together, up to BATCH_PORTION_BYTES."""
    content = "".join(line(f"line-{number:02}") + "\n" for number in range(60)).encode()
    size = len(content) // 60
    bench.begin(content)
    assert isinstance(bench.run(), Released)  # the validation of a long batch ends the run, for lanes
    monkeypatch.setattr(limits, "BATCH_PORTION_BYTES", lines_most * size - lacking)
    reads = noted(monkeypatch, bench.bound, "read")
    assert bench.run() == Ended(Status.COMPLETED)
    assert [(start, end) for file, _, start, end in reads if file == INPUT] == [
        (0, 30 * size - 1),
        (30 * size, 60 * size - 1),
    ]
    bench.sweep_to_end()
    bench.check_end([f"line-{number:02}" for number in range(60)])


def inputs_of(bench: BatchBench, monkeypatch: pytest.MonkeyPatch) -> LineInputs:
    """Claim a batch of 60 valid lines, and return its lines, for which there is hardly any memory."""
    content = lines(60)
    bench.begin(content)
    assert isinstance(bench.run(), Released)  # the validation of a long batch ends the run, for lanes
    claim = bench.do(bench.store().claim(KEY, holder="one", host="", route=Route.QUEUE, lease_ms=60_000))
    assert isinstance(claim, Claim)
    monkeypatch.setattr(limits, "BATCH_LINES_KEPT_BYTES", 0)
    monkeypatch.setattr(limits, "BATCH_PORTION_BYTES", len(content) // 6)

    def fail(_: object) -> None:
        raise AssertionError("the lines are there")

    reading: Any = SimpleNamespace(
        work=lambda: bench.rows.work(KEY), unread=fail, lose=fail, seconds=lambda: limits.BLOB_SECONDS
    )
    return LineInputs(claim, bench.settings, "m", bench.files(), reading, MemoryAllowance())


async def _ended(inputs: LineInputs, call: CallKey) -> None:
    inputs.ended(call)


def test_a_line_that_fills_the_memory_is_sent_alone(bench: BatchBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line starts although it has no room, because it never would, but not beside a call that is in flight."""
    inputs = inputs_of(bench, monkeypatch)
    first, second = CallKey(0, 0), CallKey(0, 1)
    bench.do(inputs.read(first, 60, lambda _: True))
    assert inputs.within([first, second]) == [first]
    inputs.message(first)
    assert inputs.within([second]) == []
    bench.do(_ended(inputs, first))
    assert inputs.within([second]) == [second]


def test_a_read_leaves_the_other_lines_that_are_to_be_sent_in_memory(
    bench: BatchBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise two lines far apart could push each other out, and neither would be sent."""
    inputs = inputs_of(bench, monkeypatch)
    far_apart = [CallKey(0, 50), CallKey(0, 0)]
    for key in far_apart:
        assert inputs.lacks(far_apart) == key
        bench.do(inputs.read(key, 60, lambda _: True))
    assert inputs.lacks(far_apart) is None
    # Lines that no call waits for are dropped, because they take too much memory.
    assert inputs.lacks([CallKey(0, 51)]) == CallKey(0, 51)
