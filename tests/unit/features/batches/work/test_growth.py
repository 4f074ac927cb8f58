"""How often a run reads how many lines wait for the output file of a batch, and tries to move them there."""

from collections.abc import Mapping
from itertools import pairwise

import pytest

from src.features.batches.store import batch_files
from src.features.batches.store.batch_files import BatchFileStore
from src.features.batches.store.batches import SegmentSize
from src.features.batches.work.growth import object_of
from src.features.files.blobs import Buffer
from src.kernel.domain import limits
from src.kernel.domain.errors import BlobUnavailable
from src.kernel.domain.ids import FileKey, TaskKey
from src.kernel.run.context import Released
from src.kernel.store.d1 import D1Statement
from tests.support.batch_bench import HOST, KEY, BatchBench, lines


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BATCH_PORTION_BYTES", 4_000)
    monkeypatch.setattr(limits, "SEGMENT_CHARS_OF_BATCH", 800)


def test_a_run_reads_once_how_many_lines_wait(bench: BatchBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """This costs a row for each segment, so a run reads it with its first outputs, and then counts."""
    bench.bound.part_bytes = 10**6
    bench.begin(lines(60))
    bench.run()
    read: list[list[str]] = []
    batch = bench.database.batch

    async def noted(statements: list[D1Statement]) -> list[Mapping[str, object]]:
        read.append([statement.sql for statement in statements])  # type: ignore[attr-defined]
        return await batch(statements)

    monkeypatch.setattr(bench.database, "batch", noted)
    assert isinstance(bench.run(HOST._replace(seconds=5.0)), Released)
    assert 12 < len(bench.model.calls) < 60
    assert len([one for one in read if batch_files.SEGMENTS.sql in one]) == 1


def test_a_bucket_that_does_not_answer_is_tried_again_only_with_more_lines(
    bench: BatchBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.begin(lines(60))
    bench.run()
    put = bench.bound.put
    waiting: list[int] = []  # The characters of the lines that waited, at each failure.

    async def away(file: FileKey, name: str, body: bytes | Buffer) -> None:
        (task,) = bench.database.rows("SELECT status FROM tasks")
        if task["status"] == "processing":
            waiting.append(sum(segment.chars for segment in await bench.lines.waiting(KEY)))
            raise BlobUnavailable("503")
        await put(file, name, body)

    monkeypatch.setattr(bench.bound, "put", away)
    bench.run_to_end()
    bench.check_end([f"line-{number}" for number in range(60)])
    assert len(waiting) >= 3
    assert all(later - before >= limits.BATCH_PORTION_BYTES for before, later in pairwise(waiting))


def test_a_run_leaves_the_segment_that_still_takes_lines(bench: BatchBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that is recorded while an object is stored would be named as a part of the object, and not be in it."""
    bench.begin(lines(60))
    bench.run()
    left: list[int] = []  # How many segments are behind those that become an object, each time.
    read = BatchFileStore.bodies

    async def noted(store: BatchFileStore, task_key: TaskKey, parts: range) -> list[list[str]]:
        (task,) = bench.database.rows("SELECT status FROM tasks")
        if task["status"] == "processing":
            left.append((await store.waiting(task_key))[-1].part + 1 - parts.stop)
        return await read(store, task_key, parts)

    monkeypatch.setattr(BatchFileStore, "bodies", noted)
    bench.run_to_end()
    bench.check_end([f"line-{number}" for number in range(60)])
    assert left
    assert min(left) >= 1


@pytest.mark.parametrize(("chars", "count"), [((900,), 1), ((9, 1), 1), ((4, 4, 1), 2), ((4, 4), 2), ((4, 5), 1)])
def test_an_object_has_as_many_segments_as_fit(chars: tuple[int, ...], count: int) -> None:
    waiting = [SegmentSize(part, size) for part, size in enumerate(chars)]
    assert object_of(waiting, 8) == waiting[:count]


def test_after_each_object_a_run_waits_for_lines_of_another_part(
    bench: BatchBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With fewer, each object would cost a read of a row for each segment. With more, ever more lines wait in D1."""
    bench.bound.part_bytes = part_bytes = 10_000
    bench.begin(lines(60))
    bench.run()
    waited: list[int] = []  # The characters of the lines that waited, each time when the run looked for lines to move.
    look = BatchFileStore.waiting

    async def noted(store: BatchFileStore, task_key: TaskKey) -> list[SegmentSize]:
        found = await look(store, task_key)
        (task,) = bench.database.rows("SELECT status FROM tasks")
        if task["status"] == "processing":
            waited.append(sum(segment.chars for segment in found))
        return found

    monkeypatch.setattr(BatchFileStore, "waiting", noted)
    bench.run_to_end()
    bench.check_end([f"line-{number}" for number in range(60)])
    assert len(waited) >= 2
    assert all(part_bytes <= chars < part_bytes + limits.BATCH_PORTION_BYTES for chars in waited), waited
