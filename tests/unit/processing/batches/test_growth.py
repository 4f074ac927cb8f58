"""How often a run reads how many lines wait for the output file of a batch, and tries to move them there."""

from collections.abc import Iterator, Mapping
from itertools import pairwise

import pytest

from src.core import limits
from src.core.errors import BlobUnavailable
from src.core.files import FileKey
from src.processing.outcomes import Released
from src.store.blobs import Buffer
from src.store.d1.database import D1Statement
from src.store.sql import batch_files as sql
from tests.support.batch_bench import HOST, KEY, BatchBench, lines


@pytest.fixture
def bench() -> Iterator[BatchBench]:
    """Give a bench whose files have parts of 2,000 bytes."""
    made = BatchBench()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make slices and segments small, so that a short output file has several segments."""
    monkeypatch.setattr(limits, "BATCH_SLICE_BYTES", 4_000)
    monkeypatch.setattr(limits, "SEGMENT_CHARS_OF_BATCH", 800)


def test_a_run_reads_once_how_many_lines_wait(bench: BatchBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """This costs a row for each segment, so a run reads it with its first outputs, and then counts.

    In this test the lines never suffice for a part of the output file.
    """
    assert bench.bucket is not None
    bench.bucket.part_bytes = 10**6
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
    assert len([one for one in read if sql.SEGMENTS.sql in one]) == 1


def test_a_bucket_that_does_not_answer_is_tried_again_only_with_more_lines(
    bench: BatchBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each failure a run waits for another slice of lines before it reads and sends them again."""
    bench.begin(lines(60))
    bench.run()
    assert bench.bucket is not None
    put = bench.bucket.put
    waiting: list[int] = []  # The characters of the lines that waited, at each failure.

    async def away(file: FileKey, name: str, body: bytes | Buffer) -> None:
        (task,) = bench.database.rows("SELECT status FROM tasks")
        if task["status"] == "processing":
            waiting.append(sum(segment.chars for segment in await bench.lines.waiting(KEY)))
            raise BlobUnavailable("503")
        await put(file, name, body)

    monkeypatch.setattr(bench.bucket, "put", away)
    bench.run_to_end()
    bench.check_end([f"line-{number}" for number in range(60)])
    assert len(waiting) >= 3
    assert all(later - before >= limits.BATCH_SLICE_BYTES for before, later in pairwise(waiting))
