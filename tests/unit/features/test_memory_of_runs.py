"""A run leaves nothing that only the garbage collector, which comes seldom, could free."""

import asyncio
import gc
import logging
from collections.abc import Iterator
from typing import Any
from weakref import ref

import pytest

from src.features.batches.work.growth import Growth
from src.features.batches.work.line_inputs import LineIndex, LineInputs
from src.features.batches.work.validation import Validation
from src.features.texts.file_text import FileText
from src.kernel.domain import limits
from src.kernel.domain.errors import ModelError, ModelRefused, ModelUnavailable
from src.kernel.domain.task import Reduce, Status
from src.kernel.run.call_groups import CallGroups
from src.kernel.run.context import Ended, Released
from src.kernel.run.ledger import Ledger
from src.kernel.run.run import Run
from src.kernel.run.text_inputs import CallInputs
from tests.support.batch_bench import HOST, INPUT, KEY, BatchBench, lines
from tests.support.text_bench import TextBench, look_near
from tests.support.worker_bench import WorkerBench

SHORT = HOST._replace(seconds=3.0)
PARTS = (Run, Ledger, CallGroups, CallInputs, LineInputs, LineIndex, Growth, Validation, FileText)


class Parts:
    """Weak references to the parts of the runs that were made, by the names of their classes."""

    def __init__(self) -> None:
        self._made: list[tuple[str, ref[Any]]] = []

    def note(self, monkeypatch: pytest.MonkeyPatch, cls: type) -> None:
        construct: Any = cls.__init__  # type: ignore[misc]

        def noted(part: Any, *values: Any, **named: Any) -> None:
            construct(part, *values, **named)
            self._made.append((cls.__name__, ref(part)))

        monkeypatch.setattr(cls, "__init__", noted)

    def check_gone(self, *kinds: type) -> None:
        """Check that such parts were made since the last check, and that no part is alive."""
        assert {name for name, _ in self._made} >= {kind.__name__ for kind in kinds}
        assert [name for name, part in self._made if part() is not None] == []
        self._made.clear()


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Parts]:
    found = Parts()
    for cls in PARTS:
        found.note(monkeypatch, cls)
    gc.disable()
    yield found
    gc.enable()


@pytest.fixture
def batch(monkeypatch: pytest.MonkeyPatch) -> Iterator[BatchBench]:
    monkeypatch.setattr(limits, "BATCH_PORTION_BYTES", 1_000)
    monkeypatch.setattr(limits, "SEGMENT_CHARS_OF_BATCH", 800)
    bench = BatchBench()
    yield bench
    bench.close()


@pytest.fixture
def tasks() -> Iterator[WorkerBench]:
    bench = WorkerBench()
    yield bench
    bench.close()


@pytest.mark.parametrize("plan", ["free", "paid"])
def test_each_run_of_a_batch_is_gone_when_it_ends(batch: BatchBench, parts: Parts, plan: str) -> None:
    batch.settings = type(batch.settings)(plan=plan, model="m", models=("m",))
    batch.begin(lines(100))
    while batch.batch().valid_at is None:
        assert isinstance(batch.run(SHORT), Released)
        parts.check_gone(Run, Ledger, Validation)
    for _ in range(3):
        assert isinstance(batch.run(SHORT), Released)
        parts.check_gone(Run, Ledger, CallGroups, LineInputs, LineIndex, Growth)
    batch.run_to_end()
    parts.check_gone(Run, LineIndex)
    batch.check_end([f"line-{number}" for number in range(100)])


def test_a_run_with_failures_is_gone_too(batch: BatchBench, parts: Parts) -> None:
    """Failed calls, refused lines and a bucket that is away leave nothing: no error keeps a run's frames."""
    answer = (400, {"error": {"message": "no"}})

    def act(text: str, number: int) -> ModelError | None:
        if number == 3:
            return ModelUnavailable("503")
        return ModelRefused("400", of_call=True, answer=answer) if number == 5 else None

    batch.model.act = act
    batch.begin(lines(60))
    batch.run()
    batch.bound.fail(2)
    batch.run(SHORT)
    assert any(entry["event"] == "lines_unread" for entry in batch.log)
    parts.check_gone(Run, Validation, LineIndex)
    batch.run_to_end()
    parts.check_gone(Run, LineIndex)
    assert any(entry["event"] == "call_failed" for entry in batch.log)


def test_a_run_that_loses_lines_is_gone_too(batch: BatchBench, parts: Parts, caplog: pytest.LogCaptureFixture) -> None:
    # The writer of the error file may miss the part, and pytest would keep its error with all frames.
    caplog.set_level(logging.CRITICAL, "onceover")
    batch.begin(lines(60))
    batch.run()
    parts.check_gone(Run, Validation)
    del batch.bound.parts[INPUT, "2"]
    batch.run(SHORT)
    parts.check_gone(Run, LineInputs, LineIndex)
    batch.pass_seconds(limits.LOST_PART_SECONDS)
    batch.run_to_end()
    assert {entry["event"] for entry in batch.log} >= {"lines_unread", "lines_lost"}
    parts.check_gone(Run, LineInputs, LineIndex)


@pytest.mark.parametrize("lost", [False, True])
def test_a_run_of_a_text_in_a_file_is_gone_when_it_ends(
    parts: Parts, monkeypatch: pytest.MonkeyPatch, lost: bool
) -> None:
    look_near(monkeypatch)
    monkeypatch.setattr(limits, "TEXT_PORTION_BYTES", 400)
    monkeypatch.setattr(limits, "WINDOW_CHARS_MOST", 120)
    monkeypatch.setattr(limits, "TEXT_PORTIONS_A_RUN", {"free": 3, "paid": 3})
    bench = TextBench()
    bench.begin_text(b"# Head\n\n" + b"Two words. " * 300, reduce=Reduce.MERGE)
    assert bench.work() == Released(0)
    parts.check_gone(Run, FileText)
    while not bench.task().total:
        bench.work(SHORT)
        parts.check_gone(Run, FileText)
    bench.bound.fail(2)
    bench.work(SHORT)
    parts.check_gone(Run, FileText, CallInputs)
    if lost:
        bench.bound.parts.clear()
    task = bench.work_to_end()
    assert task.status is (Status.FAILED if lost else Status.COMPLETED)
    assert {entry["event"] for entry in bench.log} >= {"text_cut", "text_unread"}
    parts.check_gone(Run, FileText, CallInputs)
    bench.close()


def test_a_cancelled_batch_leaves_no_run(batch: BatchBench, parts: Parts) -> None:
    """A run whose claim is lost while calls are in flight is gone when it ends."""
    batch.begin(lines(60))
    batch.run()

    async def cancelled() -> object:
        run = batch.loop.create_task(batch.worker().run(KEY, HOST))
        await asyncio.sleep(2.5)  # two waves of calls have ended, and the third one is in flight
        assert len(batch.model.answered) == 12
        await batch.store().cancel(KEY, 1_000_000)
        return await run

    assert batch.do(cancelled()) == Ended(Status.CANCELLED)
    parts.check_gone(Run, LineIndex)


@pytest.mark.parametrize("lanes", [False, True])
def test_a_run_of_another_task_is_gone_when_it_ends(tasks: WorkerBench, parts: Parts, lanes: bool) -> None:
    """Neither chunks nor merges leave anything, whether the worker or lanes make the calls."""
    tasks.insert(60, Reduce.MERGE)
    host = tasks.laned_host() if lanes else HOST
    assert tasks.run(host) == Ended(Status.COMPLETED)
    parts.check_gone(Run, Ledger, CallGroups, CallInputs)
