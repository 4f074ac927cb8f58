"""A run that waits for slow calls checks whether its claim is still valid."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from src.kernel.domain import limits
from src.kernel.domain.errors import ModelRateLimited
from src.kernel.domain.ids import TaskKey
from src.kernel.domain.settings import Settings
from src.kernel.domain.task import Route, Status
from src.kernel.run.claim_checks import CheckSchedule
from src.kernel.run.context import Ended, Hint, Lost, RunOutcome
from src.kernel.store import work_statements
from src.kernel.store.tasks import TaskStore
from src.kernel.work.worker import Host
from tests.support.sqlite_d1 import NETWORK_LOST
from tests.support.worker_bench import HOST, OneLaneEach, WorkerBench

TASK = TaskKey("task")
FOREVER = 100.0  # The seconds that a slow call takes, which are less than its timeout.
FREED_SECONDS_MOST = 15.0  # The most seconds from a task's cancellation until its host is free.


@pytest.fixture
def bench() -> Iterator[WorkerBench]:
    made = WorkerBench(concurrency=2)
    made.model.seconds = lambda number: FOREVER
    made.insert(2)
    yield made
    made.close()


def cancel(bench: WorkerBench) -> Awaitable[Any]:
    return bench.store.cancel(TASK, 1_000_000)


def looks(bench: WorkerBench) -> list[float]:
    """Record the times at which the run checks its claim in the database."""
    at: list[float] = []
    batch = bench.database.batch

    async def noted(statements: Any) -> Any:
        if [statement.sql for statement in statements] == [work_statements.MAY_START.sql]:
            at.append(bench.loop.time())
        return await batch(statements)

    bench.database.batch = noted  # type: ignore[method-assign]
    return at


def freed(
    bench: WorkerBench, ended: Callable[[], Awaitable[Any]], after: float, host: Host = HOST
) -> tuple[float, RunOutcome]:
    """Run the task, end it, and return how long the run kept its host, and what that got."""

    async def play() -> RunOutcome:
        run = asyncio.ensure_future(bench.worker().run(TASK, host))
        await asyncio.sleep(after)
        await ended()
        return await run

    outcome = bench.do(play())
    return bench.loop.time() - after, outcome


def bill(bench: WorkerBench) -> tuple[int, int]:
    usage = bench.task().usage
    return usage.model_calls, usage.in_doubt


def times(schedule: CheckSchedule, count: int, *, answered: bool = True, latency: float = 0.0) -> list[float]:
    found = []
    for _ in range(count):
        found.append(schedule.next_at(0.0, latency))
        schedule.checked(found[-1], answered=answered)
    return found


def test_looks_start_late_and_never_come_too_late_and_a_write_begins_them_anew():
    schedule = CheckSchedule(100)
    assert times(schedule, 4) == [5.0, 15.0, 25.0, 35.0]
    assert schedule.next_at(37.0, 0.0) == 42.0


def test_a_database_that_does_not_answer_is_asked_less_and_less():
    schedule = CheckSchedule(100)
    assert times(schedule, 5, answered=False) == [5.0, 15.0, 35.0, 75.0, 155.0]
    schedule.checked(200.0, answered=True)
    assert schedule.next_at(0.0, 0.0) == 200.0 + limits.LOOK_SECONDS_MOST


def test_a_slow_database_is_asked_in_proportion():
    assert times(CheckSchedule(100), 2, latency=3.0) == [30.0, 60.0]


@pytest.mark.parametrize("after", [0.5, 4.9, 16.0, 40.0, 90.0])
def test_a_cancelled_task_lets_go_of_its_host(bench: WorkerBench, after: float):
    seconds, outcome = freed(bench, lambda: cancel(bench), after)
    assert seconds < FREED_SECONDS_MOST
    assert outcome == Ended(Status.CANCELLED)
    assert bill(bench) == (2, 2)
    assert len(bench.events("let_go")) == 1


def test_a_run_without_a_turn_to_write_lets_go_of_its_host(bench: WorkerBench):
    """After an idle run, the claim and the announcement take all writes that the run may make at first."""
    bench.database.rows("UPDATE tasks SET idle_runs = 1, started_at = created_at")  # the claim announces nothing
    seconds, outcome = freed(bench, lambda: cancel(bench), 2.0)
    assert seconds < FREED_SECONDS_MOST
    assert outcome == Ended(Status.CANCELLED)
    assert bill(bench) == (2, 2)


def test_a_worker_that_was_overtaken_lets_go_of_its_host(bench: WorkerBench):
    """If a task was put back and claimed by another worker, the old worker ends its calls and writes nothing."""

    async def put_back_and_claim() -> None:
        await cancel(bench)
        assert await bench.store.retry(TASK, bench.settings.lease_ms) is not None

    seconds, outcome = freed(bench, put_back_and_claim, 2.0)
    assert seconds < FREED_SECONDS_MOST
    assert outcome == Lost()
    assert bench.task().status is Status.PENDING
    bench.model.seconds = lambda number: 1.0
    assert bench.run() == Ended(Status.COMPLETED)
    assert bill(bench) == (4, 2)


def test_what_had_come_is_kept(bench: WorkerBench):
    """In this test one of two outputs is recorded before the cancellation."""
    bench.model.seconds = lambda number: FOREVER if number == 2 else 2.0
    assert freed(bench, lambda: cancel(bench), 7.5)[0] < FREED_SECONDS_MOST
    assert (bench.task().completed, bill(bench)) == (1, (2, 1))
    assert bench.do(bench.store.retry(TASK, bench.settings.lease_ms)) is not None
    bench.model.seconds = lambda number: 1.0
    assert bench.run() == Ended(Status.COMPLETED)
    assert (len(bench.model.calls), bill(bench)) == (3, (3, 1))


def test_quick_calls_are_not_looked_at(bench: WorkerBench):
    bench.model.seconds = lambda number: 4.0
    at = looks(bench)
    assert bench.run() == Ended(Status.COMPLETED)
    assert at == []


def test_a_run_on_the_free_plan_looks_ten_times(bench: WorkerBench):
    bench.settings = Settings(plan="free", concurrency=2, timeout_seconds=300, lease_seconds=400)
    bench.model.seconds = lambda number: 250.0
    at = looks(bench)
    assert bench.run() == Ended(Status.COMPLETED)
    assert len(at) == 10


def test_looks_take_nothing_that_records_need(bench: WorkerBench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(limits.SUBREQUESTS, "paid", 8)
    at = looks(bench)
    outcome = bench.run()
    assert at == []
    assert outcome == Ended(Status.COMPLETED)
    assert [line["groups"] for line in bench.events("looks_spent")] == [2]


def test_a_look_that_fails_ends_nothing(bench: WorkerBench):
    async def away() -> None:
        bench.database.fail(NETWORK_LOST, times=1_000)
        await asyncio.sleep(30)
        bench.database.heal()

    _, outcome = freed(bench, away, 1.0)
    assert outcome == Ended(Status.COMPLETED)
    assert [line["error"] for line in bench.events("look_failed")] == ["StoreUnavailable"] * 2
    assert bench.events("looks_spent") == []
    assert len(bench.model.calls) == 2


def test_a_look_that_is_not_answered_holds_up_no_output(bench: WorkerBench):
    batch = bench.database.batch

    async def silent(statements: Any) -> Any:
        if [statement.sql for statement in statements] == [work_statements.MAY_START.sql]:
            await asyncio.Event().wait()
        return await batch(statements)

    bench.database.batch = silent  # type: ignore[method-assign]
    bench.model.seconds = lambda number: 6.0
    assert bench.run() == Ended(Status.COMPLETED)
    assert bench.loop.time() <= 5.0 + limits.START_SECONDS + 1


def host(hint: Hint) -> Host:
    return Host(Route.DURABLE_OBJECT, 600.0, "object/task", hint=hint)


def test_a_run_that_is_told_lets_go_at_once(bench: WorkerBench):
    hint, at = Hint(), looks(bench)

    async def cancel_and_tell() -> None:
        await cancel(bench)
        hint.give(1)
        hint.give(1)

    assert freed(bench, cancel_and_tell, 20.0, host(hint)) == (0.0, Ended(Status.CANCELLED))
    assert [line["told"] for line in bench.events("let_go")] == [True]
    assert at == [5.0, 15.0]


def test_a_run_that_is_told_while_it_writes_looks_afterwards(bench: WorkerBench):
    hint = Hint()
    hint.give()
    at = looks(bench)
    bench.model.seconds = lambda number: 1.0
    assert bench.do(bench.worker().run(TASK, host(hint))) == Ended(Status.COMPLETED)
    assert at == [0.0]


def test_a_run_that_is_told_of_another_claims_end_goes_on(bench: WorkerBench):
    hint = Hint()

    async def tell() -> None:
        hint.give(0)

    assert freed(bench, tell, 20.0, host(hint)) == (FOREVER - 20.0, Ended(Status.COMPLETED))


def test_a_run_that_is_told_while_it_sits_out_a_wait_lets_go(bench: WorkerBench):
    hint = Hint()

    async def cancel_and_tell() -> None:
        await cancel(bench)
        hint.give(1)

    bench.model.seconds = lambda number: 1.0
    bench.model.act = lambda call, number: ModelRateLimited("429", 25.0)
    assert freed(bench, cancel_and_tell, 10.0, host(hint)) == (0.0, Ended(Status.CANCELLED))


@pytest.fixture
def laned() -> Iterator[WorkerBench]:
    """Make a task of 18 chunks with two lanes of six calls. All calls of the first lane take very long, except two."""
    made = WorkerBench()
    made.model.seconds = lambda number: 1.0 if number in {1, 2} else FOREVER
    made.insert(18)
    yield made
    made.close()


def test_lanes_of_a_task_that_has_moved_on_are_aborted(laned: WorkerBench):
    """If a task was put back and claimed again, the lanes of its old worker are aborted."""
    out = 0
    infer = laned.model.infer

    async def counted(call: Any) -> Any:
        nonlocal out
        out += 1
        try:
            return await infer(call)
        finally:
            out -= 1

    laned.model.infer = counted  # type: ignore[method-assign]
    seconds, outcome = freed(laned, lambda: laned.store.erase(TASK), 8.0, laned.laned_host())
    assert seconds < FREED_SECONDS_MOST
    assert outcome == Lost()
    laned.do(asyncio.sleep(1))
    assert out == 0


@pytest.mark.parametrize("end", ["cancel", "erase"])
def test_lanes_are_aborted_before_the_bill_is_written(laned: WorkerBench, monkeypatch: pytest.MonkeyPatch, end: str):
    """A worker aborts its lanes before it writes the bill, since a slow database must not keep unwanted calls going."""
    did: list[str] = []

    def noted(kind: type[Any], name: str) -> None:
        usual = getattr(kind, name)

        async def act(*arguments: Any) -> Any:
            did.append(name)
            return await usual(*arguments)

        monkeypatch.setattr(kind, name, act)

    noted(TaskStore, "settle")
    noted(OneLaneEach, "abort")
    freed(laned, lambda: cancel(laned) if end == "cancel" else laned.store.erase(TASK), 8.0, laned.laned_host())
    assert did[:2] == ["abort", "settle"]
