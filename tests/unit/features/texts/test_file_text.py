"""A task whose text is in a file: how the text is cut and read, what ends the task, and what keeps the file."""

from collections.abc import Iterator

import pytest

from src.features.gaps.gap_retries import GapRetryStore
from src.features.texts.file_text import LOST
from src.kernel.domain import limits
from src.kernel.domain.codes import TaskCode
from src.kernel.domain.errors import ModelRefused
from src.kernel.domain.ids import FileKey, TaskKey
from src.kernel.domain.structure import Structure
from src.kernel.domain.task import Reduce, Route, Status
from src.kernel.run.context import Ended, Released
from src.kernel.store.admission import Accepted, Conditions
from src.kernel.text.chunks import chunks, cuts
from src.kernel.work.worker import Host
from tests.support.steps import noted
from tests.support.text_bench import TEXT_FILE, TEXT_TASK, TextBench, look_near

OTHER = TaskKey("local:01900000-0000-7000-8000-000000000003")
TEXT = "# Head\n\n" + "Two words. 天地玄黄。👍🏽 é\r\n" * 60
DIRECT = Host(Route.DIRECT, 20.0)
RETENTION_MS = 10**12


@pytest.fixture(name="bench")
def text_bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[TextBench]:
    look_near(monkeypatch)
    monkeypatch.setattr(limits, "TEXT_PORTION_BYTES", 400)
    monkeypatch.setattr(limits, "WINDOW_CHARS_MOST", 120)
    made = TextBench()
    yield made
    made.close()


def sent(bench: TextBench) -> list[str]:
    return bench.model.calls


def pieces(text: str, max_chars: int, overlap: int = 0) -> list[str]:
    """Return the chunks of a text as `input` would have them."""
    return [text[one.start : one.end] for one in chunks(cuts(text, max_chars, overlap), overlap)]


def test_the_first_line_names_the_task_while_it_runs(bench: TextBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TEXT_PORTIONS_A_RUN", {"free": 1, "paid": 1})
    bench.begin_text(TEXT.encode())
    assert bench.work() == Released(0)
    task = bench.task()
    assert (task.first_line, task.total, task.status) == ("# Head", 0, Status.PENDING)
    assert not sent(bench)
    (row,) = bench.database.rows("SELECT * FROM file_texts")
    assert 0 < row["cut_bytes"] < len(TEXT.encode())
    assert row["char_ends"].count(",") + 1 == row["byte_ends"].count(",")
    assert bench.work_to_end().status is Status.COMPLETED
    (row,) = bench.database.rows("SELECT * FROM file_texts")
    assert row["char_ends"] == ""


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        (b"\xef\xbb\xbf", TaskCode.INVALID_INPUT, "the file has no text"),
        (b"\xef\xbb\xbf" + " \u200b\u2060\r\n".encode() * 400, TaskCode.INVALID_INPUT, "the file has no text"),
        (TEXT.encode() + b"\xff.", TaskCode.INVALID_INPUT, f"the file is not UTF-8: byte {len(TEXT.encode())} is 0xff"),
        (TEXT.encode() + b"\xe5\xa4", TaskCode.INVALID_INPUT, f"not UTF-8: byte {len(TEXT.encode())} is 0xe5"),
        (b"a\xed\xa0\x80b", TaskCode.INVALID_INPUT, "the file is not UTF-8: byte 1 is 0xed"),
        (TEXT.encode() + b"\0", TaskCode.INVALID_INPUT, "the file has a NUL character"),
    ],
)
def test_a_file_that_is_no_text_fails_the_task(bench: TextBench, content: bytes, code: TaskCode, message: str) -> None:
    bench.begin_text(content)
    task = bench.work_to_end()
    assert (bench.failure.code, bench.failure.retryable, task.total) == (code, False, 0)
    assert message in bench.failure.message
    assert not sent(bench)
    assert bench.do(bench.files().delete(TEXT_FILE)) is True


@pytest.mark.parametrize("text", [" " * 5_000, "x" + " " * 5_000, " " * 2_500 + "文" + " " * 2_500])
def test_a_text_is_blank_only_if_no_run_found_a_visible_character(
    bench: TextBench, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(limits, "TEXT_PORTIONS_A_RUN", {"free": 1, "paid": 1})
    bench.begin_text(text.encode())
    task = bench.work_to_end()
    if text.isspace():
        assert (bench.failure.message, task.total, sent(bench)) == ("the file has no text", 0, [])
    else:
        assert task.status is Status.COMPLETED


def test_too_many_chunks_and_repeats_fail_the_task(bench: TextBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits of a text as `input` hold, and the failure names the field that needs another value."""
    monkeypatch.setattr(limits, "CHUNKS_MOST", 5)
    bench.begin_text(TEXT.encode())
    bench.work_to_end()
    assert bench.failure.code == TaskCode.INVALID_INPUT
    assert bench.failure.message == "chunk.maxChars is too small: the file would need more than 5 chunks"
    monkeypatch.setattr(limits, "CHUNKS_MOST", 5_000)
    monkeypatch.setattr(limits, "SENT_CHARS_MOST", 100)
    assert bench.do(bench.store().erase(TEXT_TASK)) is not None
    bench.submit_text(instructions="x" * 50, key=OTHER)
    bench.do(bench.worker().run(OTHER, DIRECT))
    task = bench.do(bench.store().task(OTHER))
    assert task is not None
    assert task.failure is not None
    assert (task.failure.code, task.total) == (TaskCode.INVALID_INPUT, 0)
    assert "mostly instructions" in task.failure.message
    assert not sent(bench)


def test_a_budget_below_the_minimum_ends_the_task_before_a_call(bench: TextBench) -> None:
    needed = len(pieces(TEXT, 50))
    bench.begin_text(TEXT.encode(), max_calls=needed - 1)
    task = bench.work_to_end()
    assert (bench.failure.code, task.total, task.usage.model_calls) == (TaskCode.BUDGET_EXHAUSTED, needed, 0)
    assert str(needed) in bench.failure.message
    assert bench.do(bench.store().retry(TEXT_TASK, 1, max_calls=needed - 1)) is None
    assert bench.do(bench.store().retry(TEXT_TASK, 1, max_calls=needed)) == Accepted()
    assert bench.work_to_end().status is Status.COMPLETED


def test_a_lost_part_fails_the_task(bench: TextBench) -> None:
    """Without its bytes a task waits a quarter of an hour, before and after the cut, and then says what is missing."""
    bench.begin_text(TEXT.encode())
    parts = dict(bench.bound.parts)
    bench.bound.parts.clear()
    failure = bench.work_to_end().failure
    assert failure == LOST
    assert limits.LOST_PART_SECONDS <= bench.loop.time() <= 2 * limits.LOST_PART_SECONDS
    bench.bound.parts = parts
    bench.model.act = lambda text, number: bench.bound.parts.clear()
    assert bench.do(bench.store().retry(TEXT_TASK, 1)) == Accepted()
    task = bench.work_to_end()
    assert bench.failure.code == TaskCode.INPUT_MISSING
    assert 0 < task.completed < task.total
    assert task.usage.model_calls == task.completed == len(sent(bench))


@pytest.mark.parametrize("during", ["the cut", "the calls"])
def test_a_bucket_that_says_not_there_for_seconds_fails_no_task(bench: TextBench, during: str) -> None:
    bench.begin_text(TEXT.encode())

    def hide_for_seconds() -> None:
        parts = dict(bench.bound.parts)
        bench.bound.parts.clear()
        bench.loop.call_later(5.0, lambda: bench.bound.parts.update(parts))

    if during == "the cut":
        hide_for_seconds()
    bench.model.act = lambda text, number: hide_for_seconds() if number == 3 and during == "the calls" else None
    task = bench.work_to_end()
    assert (task.status, task.usage.model_calls) == (Status.COMPLETED, task.total)
    assert sorted(sent(bench)) == sorted(pieces(TEXT, 50))
    assert "text_unread" in {line["event"] for line in bench.log}
    assert bench.loop.time() < limits.LOST_PART_SECONDS


def test_a_bucket_that_is_away_is_waited_for(bench: TextBench) -> None:
    bench.begin_text(TEXT.encode())
    bench.bound.fail(1)
    outcome = bench.work()
    assert isinstance(outcome, Released)
    assert outcome.delay_seconds > 0
    bench.pass_seconds(outcome.delay_seconds)

    def fail_once(text: str, number: int) -> None:
        if number == 1:
            bench.bound.fail(3)

    bench.model.act = fail_once
    assert bench.work_to_end().status is Status.COMPLETED
    assert [line["event"] for line in bench.log].count("text_unread") == 4
    assert len(sent(bench)) == len(pieces(TEXT, 50))


@pytest.mark.parametrize("during", ["the cut", "the calls"])
@pytest.mark.parametrize("route", [Route.QUEUE, Route.DIRECT])
def test_a_bucket_that_is_not_bound_any_more_fails_the_task_after_a_day(
    bench: TextBench, during: str, route: Route
) -> None:
    bucket, host = bench.bucket, Host(route, 600.0)
    bench.begin_text(TEXT.encode())
    if during == "the calls":
        outcome = bench.work(host._replace(seconds=4.0))
        assert isinstance(outcome, Released)
        bench.pass_seconds(outcome.delay_seconds)
        assert 0 < len(sent(bench)) < len(pieces(TEXT, 50))
    bench.bucket = None
    began = bench.loop.time()
    task = bench.work_to_end(most=400, host=host)
    waited = bench.loop.time() - began
    assert (bench.failure.code, bench.failure.retryable) == (TaskCode.INPUT_MISSING, True)
    assert limits.BUCKET_PATIENCE_SECONDS <= waited <= limits.BUCKET_PATIENCE_SECONDS + 3_600
    assert task.usage.model_calls == task.completed == len(sent(bench))
    unread = [line for line in bench.log if line["event"] == "text_unread"]
    assert {line["error"] for line in unread} == {"bucket_unbound"}
    assert len(unread) < 200
    bench.bucket = bucket
    assert bench.do(bench.store().retry(TEXT_TASK, 1)) == Accepted()
    assert bench.work_to_end().status is Status.COMPLETED
    assert sorted(sent(bench)) == sorted(pieces(TEXT, 50))


def test_gaps_are_retried_from_the_file(bench: TextBench) -> None:
    bench.begin_text(TEXT.encode(), reduce=Reduce.CONCAT, structure=Structure(gaps=True))
    bench.model.act = lambda text, number: ModelRefused("400", of_call=True) if number in {3, 9} else None
    task = bench.work_to_end()
    assert (task.status, task.failed) == (Status.COMPLETED, 2)
    assert task.coverage is not None
    assert 0.8 < task.coverage < 1
    bench.model.calls.clear()
    bench.model.act = lambda text, number: None
    plan = bench.do(bench.store().beside(GapRetryStore).plan_gap_retry(TEXT_TASK))
    assert plan is not None
    on = Conditions(idempotency_key=" gaps", digest="d")
    write = (
        bench.store()
        .beside(GapRetryStore)
        .retry_gaps(plan, OTHER, route=Route.QUEUE, created_at=5, unclaimed_ms=1, on=on)
    )
    assert bench.do(write) == Accepted()
    assert bench.do(bench.files().delete(TEXT_FILE)) is False
    assert bench.do(bench.worker().run(OTHER, Host(Route.QUEUE, 600.0))) == Ended(Status.COMPLETED)
    assert len(sent(bench)) == 2
    assert set(sent(bench)) <= set(pieces(TEXT, 50))
    again = bench.do(bench.store().task(OTHER))
    assert again is not None
    assert again.result == "\n\n".join(f"<{piece}>" for piece in pieces(TEXT, 50))


def test_an_erased_task_leaves_only_its_file(bench: TextBench) -> None:
    bench.begin_text(TEXT.encode())
    assert bench.work_to_end().status is Status.COMPLETED
    bench.do(bench.store().erase(TEXT_TASK))
    assert not bench.database.rows(
        "SELECT task_id FROM texts UNION SELECT task_id FROM file_texts UNION SELECT task_id FROM segments"
    )
    assert not bench.database.rows("SELECT id FROM tasks")
    assert bench.do(bench.files().file(FileKey(TEXT_FILE))) is not None


def test_a_cancelled_task_is_not_cut_on(bench: TextBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TEXT_PORTIONS_A_RUN", {"free": 1, "paid": 1})
    bench.begin_text(TEXT.encode())
    bench.work()
    (before,) = bench.database.rows("SELECT cut_bytes FROM file_texts")
    bench.do(bench.store().cancel(TEXT_TASK, RETENTION_MS))
    bench.work()
    assert bench.database.rows("SELECT cut_bytes FROM file_texts") == [before]
    assert bench.task().status is Status.CANCELLED


def test_what_a_text_of_25_mb_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = TextBench(part_bytes=limits.FILE_PART_BYTES, concurrency=6)
    try:
        text = ("Subject first, one fact a sentence, a verb that does something. " * 40 + "\n\n") * 9_700
        content = text.encode()[: limits.FILE_TEXT_BYTES_MOST]
        bench.begin_text(content, chunk_chars=6_000)
        asked = noted(monkeypatch, bench.bound, "read")
        bench.model.act = lambda text, number: "ok"
        task = bench.work_to_end(host=Host(Route.QUEUE, 10**6))
        assert task.status is Status.COMPLETED
        assert task.total == len(cuts(content.decode(), 6_000))
        reads = [end - start for _, _, start, end in asked]
        cut_reads = [size for size in reads if size > 600_000]
        assert len(cut_reads) <= 27
        assert len(reads) <= 27 + 230
        assert max(reads) <= limits.TEXT_PORTION_BYTES + 50_000
        (row,) = bench.database.rows("SELECT length(byte_ends) AS size FROM file_texts")
        assert row["size"] < 45_000
    finally:
        bench.close()


@pytest.mark.parametrize(("spare", "status"), [(0, Status.COMPLETED), (-1, Status.FAILED)])
def test_a_budget_for_each_chunk_and_one_merge_suffices_for_a_text_in_a_file(spare: int, status: Status) -> None:
    """Such a text is cut after its submission, and the task fails before its first call if its budget is too small."""
    made = TextBench()
    made.begin_text(b"One two three. " * 10, reduce=Reduce.MERGE, max_calls=5 + spare)
    task = made.work_to_end()
    assert (task.total, task.status, len(made.model.calls)) == (4, status, 5 if status is Status.COMPLETED else 0)
    made.close()
