"""How much of a task's file a run reads at once for its calls."""

from collections.abc import Iterator

import pytest

from src.kernel.domain import limits
from src.kernel.domain.ids import FileKey
from src.kernel.domain.task import Status
from src.kernel.text.chunks import cuts
from tests.support.text_bench import TextBench, look_near

CHUNK_CHARS, CHUNKS = 50, 24


@pytest.fixture(name="bench")
def text_bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[TextBench]:
    look_near(monkeypatch)
    made = TextBench(concurrency=1)
    yield made
    made.close()


@pytest.mark.parametrize(("lacking", "reads"), [(0, 6), (1, 8)])
def test_a_read_takes_as_many_chunks_as_fit_the_memory_for_texts(
    bench: TextBench, monkeypatch: pytest.MonkeyPatch, lacking: int, reads: int
) -> None:
    monkeypatch.setattr(limits, "WINDOW_CHARS_MOST", 4 * CHUNK_CHARS - lacking)
    text = "x" * CHUNK_CHARS * CHUNKS
    assert len(cuts(text, CHUNK_CHARS)) == CHUNKS
    bench.begin_text(text.encode())
    assert bench.bucket is not None
    read = bench.bucket.read
    made: list[int] = []

    async def counted(file: FileKey, name: str, start: int, end: int) -> bytes:
        (task,) = bench.database.rows("SELECT total FROM tasks")
        if task["total"]:  # the whole text is cut, so it is read for calls
            made.append(end - start)
        return await read(file, name, start, end)

    monkeypatch.setattr(bench.bucket, "read", counted)
    assert bench.work_to_end().status is Status.COMPLETED
    assert len(bench.model.calls) == CHUNKS
    assert made == [CHUNK_CHARS * CHUNKS // reads] * reads
