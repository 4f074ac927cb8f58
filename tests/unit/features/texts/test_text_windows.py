"""The writes for a task whose text is in a file, and how much of the file a run reads at once."""

from collections.abc import Iterator
from typing import Any

import pytest

from src.features.texts.file_cuts import CutAt, CutPortion
from src.features.texts.store import Cuts, all_cut, cut_on
from src.kernel.domain import limits
from src.kernel.domain.ids import FileKey
from src.kernel.domain.task import Route, Status
from src.kernel.store.admission import Accepted
from src.kernel.store.claims import Also, Claim, Continue
from src.kernel.text.chunks import cuts
from tests.conformance.cases.steps import progress
from tests.support.store_bench import RETENTION_MS, START_MS
from tests.support.text_bench import TEXT_TASK, TextBench, look_near

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


LEASE_MS = 60_000
# Two slices of a text of 30 bytes, with three chunks of 10 characters.
FIRST = CutPortion(CutAt(10, 10, 1), ends=(10,), byte_ends=(10,), start=0, text="x" * 10)
LAST = CutPortion(CutAt(30, 30, 3), ends=(20, 30), byte_ends=(20, 30), start=None, text="x" * 20)


@pytest.fixture
def store() -> Iterator[TextBench]:
    made = TextBench()
    made.begin_text(b"x" * 30, chunk_chars=10)
    yield made
    made.close()


def claimed(store: TextBench, holder: str) -> Claim:
    claim = store.do(store.store().claim(TEXT_TASK, holder=holder, host="", route=Route.QUEUE, lease_ms=LEASE_MS))
    assert isinstance(claim, Claim)
    return claim


def cut(store: TextBench, claim: Claim, step: int, found: CutPortion) -> bool:
    def writes(under: Any) -> Any:
        return cut_on(under, 10, LAST) + all_cut(under) if found is LAST else cut_on(under, 0, FIRST)

    made = progress(claim, step=claim.step + step)
    return bool(store.do(store.store().step(claim, made, Continue(LEASE_MS), also=Also(writes))))


def test_a_worker_whose_claim_is_over_takes_no_cut_from_the_next(store: TextBench) -> None:
    first = claimed(store, "first")
    assert cut(store, first, 1, FIRST)
    store.pass_seconds(LEASE_MS / 1000 + 600)
    second = claimed(store, "second")
    assert not cut(store, first, 2, LAST)
    assert store.do(store.texts.cut_at(TEXT_TASK))[0] == FIRST.at
    assert cut(store, second, 1, LAST)
    assert store.do(store.texts.cuts(TEXT_TASK)) == Cuts((10, 20, 30), (0, 10, 20, 30), 0)
    assert store.task().total == 3


def test_a_task_is_retried_until_its_file_expires(store: TextBench) -> None:
    store.database.rows("UPDATE files SET expires_at = ?1, due_at = ?1 RETURNING id", START_MS + 60_000)
    store.pass_seconds(59.999)
    store.do(store.store().cancel(TEXT_TASK, RETENTION_MS))
    assert store.do(store.store().retry(TEXT_TASK, 1)) == Accepted()
    store.do(store.store().cancel(TEXT_TASK, RETENTION_MS))
    store.pass_seconds(0.001)
    assert store.do(store.store().retry(TEXT_TASK, 1)) is None
