"""A task whose text is in a file: its writes, how much a run reads at once, and a bucket that does not answer."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from src.features.context.preparing import Along
from src.features.texts.file_cuts import CutAt, CutPortion
from src.features.texts.store import Cuts, FileTextStore, all_cut, cut_on
from src.kernel.calls.protocol import ModelCall, ModelReply
from src.kernel.domain import limits
from src.kernel.domain.ids import FileKey, TaskKey
from src.kernel.domain.task import Route, Status
from src.kernel.run.context import Ended
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
    read = bench.bound.read
    made: list[int] = []

    async def counted(file: FileKey, name: str, start: int, end: int) -> bytes:
        (task,) = bench.database.rows("SELECT total FROM tasks")
        if task["total"]:  # the whole text is cut, so it is read for calls
            made.append(end - start)
        return await read(file, name, start, end)

    monkeypatch.setattr(bench.bound, "read", counted)
    assert bench.work_to_end().status is Status.COMPLETED
    assert len(bench.model.calls) == CHUNKS
    assert made == [CHUNK_CHARS * CHUNKS // reads] * reads


LEASE_MS = 60_000
# Two slices of a text of 30 bytes, with three chunks of 10 characters.
FIRST = CutPortion(CutAt(10, 10, 1), ends=(10,), byte_ends=(10,), start=0, text="x" * 10)
LAST = CutPortion(CutAt(30, 30, 3), ends=(20, 30), byte_ends=(20, 30), start=None, text="x" * 20)


@pytest.fixture
def begun() -> Iterator[TextBench]:
    made = TextBench()
    made.begin_text(b"x" * 30, chunk_chars=10)
    yield made
    made.close()


def claimed(begun: TextBench, holder: str) -> Claim:
    claim = begun.do(begun.store().claim(TEXT_TASK, holder=holder, host="", route=Route.QUEUE, lease_ms=LEASE_MS))
    assert isinstance(claim, Claim)
    return claim


def cut(begun: TextBench, claim: Claim, step: int, found: CutPortion) -> bool:
    def writes(under: Any) -> Any:
        return cut_on(under, 10, LAST) + all_cut(under) if found is LAST else cut_on(under, 0, FIRST)

    made = progress(claim, step=claim.step + step)
    return bool(begun.do(begun.store().step(claim, made, Continue(LEASE_MS), also=Also(writes))))


def test_a_worker_whose_claim_is_over_takes_no_cut_from_the_next(begun: TextBench) -> None:
    first = claimed(begun, "first")
    assert cut(begun, first, 1, FIRST)
    begun.pass_seconds(LEASE_MS / 1000 + 600)
    second = claimed(begun, "second")
    assert not cut(begun, first, 2, LAST)
    assert begun.do(begun.texts.cut_at(TEXT_TASK))[0] == FIRST.at
    assert cut(begun, second, 1, LAST)
    assert begun.do(begun.texts.cuts(TEXT_TASK)) == Cuts((10, 20, 30), (0, 10, 20, 30), 0)
    assert begun.task().total == 3


def test_headings_that_are_written_twice_are_there_once(begun: TextBench) -> None:
    """Another task whose text is cut no farther changes nothing."""
    begun.database.rows("PRAGMA foreign_keys = OFF")
    begun.database.rows("INSERT INTO file_texts (task_id) VALUES ('local:other')")
    claim = claimed(begun, "first")
    writes = Also(lambda under: cut_on(under, 0, FIRST, Along(marks="", headings="# One")))
    for step in (1, 2):
        begun.do(begun.store().step(claim, progress(claim, step=claim.step + step), Continue(LEASE_MS), also=writes))
    assert begun.database.rows("SELECT headings FROM texts") == [{"headings": "# One"}]


def test_a_task_is_retried_until_its_file_expires(begun: TextBench) -> None:
    begun.database.rows("UPDATE files SET expires_at = ?1, due_at = ?1 RETURNING id", START_MS + 60_000)
    begun.pass_seconds(59.999)
    begun.do(begun.store().cancel(TEXT_TASK, RETENTION_MS))
    assert begun.do(begun.store().retry(TEXT_TASK, 1)) == Accepted()
    begun.do(begun.store().cancel(TEXT_TASK, RETENTION_MS))
    begun.pass_seconds(0.001)
    assert begun.do(begun.store().retry(TEXT_TASK, 1)) is None


@pytest.fixture
def unreadable(monkeypatch: pytest.MonkeyPatch) -> Iterator[TextBench]:
    """Give a bench whose windows are small, so that a run reads a short text in several parts."""
    look_near(monkeypatch)
    monkeypatch.setattr(limits, "WINDOW_CHARS_MOST", 120)
    made = TextBench(timeout_seconds=600.0, lease_seconds=700.0)
    made.begin_text(b"Two words. " * 60)
    yield made
    made.close()


def fail_after_first_call(unreadable: TextBench, failures: int, *later: int) -> None:
    def act(_text: str, number: int) -> None:
        if number in {1, *later}:
            unreadable.bound.fail(failures)

    unreadable.model.act = act


def test_a_run_whose_text_was_erased_lets_go(bench: TextBench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.begin_text(b"x" * CHUNK_CHARS * CHUNKS)

    async def erased(_store: FileTextStore, _task_key: TaskKey) -> None:
        return None

    monkeypatch.setattr(FileTextStore, "cuts", erased)
    assert not isinstance(bench.work(), Ended)
    assert not bench.model.calls


def pauses(unreadable: TextBench) -> list[float]:
    return [line["retry_seconds"] for line in unreadable.log if line["event"] == "text_unread"]


def test_a_run_soon_reads_again_what_it_could_not_read(unreadable: TextBench) -> None:
    fail_after_first_call(unreadable, 3)
    assert unreadable.work() == Ended(Status.COMPLETED)
    assert pauses(unreadable) == [1.0, 2.0, 4.0]
    assert unreadable.loop.time() < 20


def test_a_read_that_succeeds_ends_a_row_of_failures(unreadable: TextBench) -> None:
    fail_after_first_call(unreadable, 2, 8)
    assert unreadable.work() == Ended(Status.COMPLETED)
    assert pauses(unreadable) == [1.0, 2.0, 1.0, 2.0]


def test_a_run_with_a_call_in_flight_reads_again_after_a_minute_at_most(
    unreadable: TextBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    infer, made = unreadable.model.infer, list[float]()

    async def last_of_first_calls_is_long(call: ModelCall) -> ModelReply:
        made.append(unreadable.loop.time())
        if len(made) == unreadable.settings.concurrency:
            await asyncio.sleep(500)
        return await infer(call)

    monkeypatch.setattr(unreadable.model, "infer", last_of_first_calls_is_long)
    fail_after_first_call(unreadable, 9)
    assert unreadable.work() == Ended(Status.COMPLETED)
    assert pauses(unreadable) == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]
    assert len(made) == unreadable.task().total
