"""A run whose next chunk cannot be read, because the bucket with the task's text does not answer."""

import asyncio
from collections.abc import Iterator

import pytest

from src.kernel.calls.protocol import ModelCall, ModelReply
from src.kernel.domain import limits
from src.kernel.domain.task import Status
from src.kernel.run.context import Ended
from tests.support.text_bench import TextBench, look_near


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[TextBench]:
    """Give a bench whose windows are small, so that a run reads a short text in several parts."""
    look_near(monkeypatch)
    monkeypatch.setattr(limits, "WINDOW_CHARS_MOST", 120)
    made = TextBench(timeout_seconds=600.0, lease_seconds=700.0)
    made.begin_text(b"Two words. " * 60)
    yield made
    made.close()


def fail_after_first_call(bench: TextBench, failures: int) -> None:
    def act(_text: str, number: int) -> None:
        if number == 1:
            assert bench.bucket is not None
            bench.bucket.fail(failures)

    bench.model.act = act


def pauses(bench: TextBench) -> list[float]:
    return [line["retry_seconds"] for line in bench.log if line["event"] == "text_unread"]


def test_a_run_soon_reads_again_what_it_could_not_read(bench: TextBench) -> None:
    fail_after_first_call(bench, 3)
    assert bench.work() == Ended(Status.COMPLETED)
    assert pauses(bench) == [1.0, 2.0, 4.0]
    assert bench.loop.time() < 20


def test_a_run_with_a_call_in_flight_reads_again_after_a_minute_at_most(
    bench: TextBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    infer, made = bench.model.infer, list[float]()

    async def last_of_first_calls_is_long(call: ModelCall) -> ModelReply:
        made.append(bench.loop.time())
        if len(made) == bench.settings.concurrency:
            await asyncio.sleep(500)
        return await infer(call)

    monkeypatch.setattr(bench.model, "infer", last_of_first_calls_is_long)
    fail_after_first_call(bench, 9)
    assert bench.work() == Ended(Status.COMPLETED)
    assert pauses(bench) == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]
    assert len(made) == bench.task().total
