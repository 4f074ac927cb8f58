"""A poll that runs a neglected task: which calls it starts, which it cuts off, and what else may run the task."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import pytest

from src.kernel.calls.protocol import ModelCall
from src.kernel.domain import limits
from src.kernel.domain.errors import ModelConnectionLost, ModelTimeout
from src.kernel.domain.ids import TaskKey
from src.kernel.domain.meter import Meter
from src.kernel.domain.task import Route, Status, Task
from src.kernel.run.log import Log
from src.kernel.work.dispatch import Dispatcher
from src.kernel.work.rescue import BriefCaller, Rescue, hold
from src.kernel.work.sweep.sweep import Sweep
from tests.support.invocations import Road, new_sweep
from tests.support.worker_bench import WorkerBench

KEY = TaskKey("task")
LATE_SECONDS = limits.LATE_TASK_SECONDS


class Polls:
    """A client's polls of one task; `behind` is the work that continues after their answers."""

    def __init__(self, chunks: int, **settings: Any) -> None:
        self.bench = WorkerBench(**settings)
        self.bench.insert(chunks)
        self.queue, self.objects = Road(), Road(Route.DURABLE_OBJECT)
        self.behind: list[asyncio.Future[None]] = []
        dispatcher = Dispatcher([self.queue, self.objects], Meter(), Log(lambda line: None))
        self.rescue = Rescue(self.bench.worker(), dispatcher, dispatcher, self._wait_until)

    def _wait_until(self, work: Awaitable[None]) -> None:
        self.behind.append(asyncio.ensure_future(work))

    async def poll(self, seconds: float) -> Task:
        store = self.bench.store
        task = await store.task(KEY)
        assert task is not None
        if task.late or task.unanswered:
            await self.rescue.help(task, seconds)
        task = await store.task(KEY)
        assert task is not None
        return task

    async def until_unanswered(self) -> None:
        """Send the task off in vain until polls may run it, the first time when the sweep would."""
        await asyncio.sleep(self.bench.settings.lease_seconds + LATE_SECONDS)
        for _ in range(limits.SENDS_IN_VAIN):
            await self.poll(5.0)
            await asyncio.sleep(LATE_SECONDS)


@pytest.fixture
def made():
    polls = Polls(4, concurrency=1)
    yield polls
    polls.bench.close()


def test_polls_end_a_task_that_nobody_comes_for(made: Polls):
    async def story() -> list[int]:
        await made.until_unanswered()
        completed = []
        while (task := await made.poll(2.0)).status is not Status.COMPLETED:
            completed.append(task.completed)
            assert len(completed) < 10
            await asyncio.wait(made.behind)
        return completed

    completed = made.bench.do(story())
    task = made.bench.task()
    assert completed == sorted(completed)
    assert (task.usage.model_calls, task.usage.in_doubt, task.route) == (4, 0, Route.DIRECT)
    # `queue` records sends only after the submission, and all these sends go to an object.
    assert (len(made.queue.sent_at), len(made.objects.sent_at)) == (0, limits.SENDS_IN_VAIN)


def test_no_call_starts_when_the_answer_is_out(made: Polls):
    async def story() -> float:
        await made.until_unanswered()
        made.bench.model.seconds = lambda number: 3.0
        began = asyncio.get_running_loop().time()
        await made.poll(2.0)
        assert asyncio.get_running_loop().time() - began == pytest.approx(2.0)
        await asyncio.wait(made.behind)
        return began

    began = made.bench.do(story())
    assert [at - began for at, _ in made.bench.model.calls] == [pytest.approx(0.0, abs=0.1)]
    task = made.bench.task()
    assert (task.status, task.completed, task.unanswered) == (Status.PENDING, 1, True)


def test_a_call_that_outlasts_the_poll_is_cut_and_in_doubt(made: Polls):
    async def story() -> None:
        await made.until_unanswered()
        made.bench.model.seconds = lambda number: 100.0
        for _ in range(20):
            if (await made.poll(2.0)).status is Status.FAILED:
                return
            await asyncio.wait(made.behind)
            await asyncio.sleep(60.0)

    made.bench.do(story())
    task = made.bench.task()
    attempts = made.bench.settings.max_attempts
    assert task.status is Status.FAILED
    assert (made.bench.failure.code, made.bench.failure.retryable) == ("model_connection_lost", True)
    assert (task.usage.model_calls, task.usage.in_doubt) == (attempts, attempts)


async def swept_while_polled(made: Polls, sweep_seconds: float, sweep: Callable[[], Sweep]) -> float:
    """Poll a task every 30 s between sweeps, and return after how many seconds it completed."""
    began = asyncio.get_running_loop().time()
    swept_at = began
    while (task := await made.poll(0.0)).status is not Status.COMPLETED:
        now = asyncio.get_running_loop().time()
        assert now - began < 3_600, task
        if now - swept_at >= sweep_seconds:
            swept_at = now
            await sweep().run()
        await asyncio.sleep(30.0)
    return asyncio.get_running_loop().time() - began


def test_polls_that_do_not_wait_leave_a_task_to_the_sweep_that_is_asked_for(made: Polls):
    """If all triggers are dead, requested sweeps run a task that was sent off in vain, although it is polled."""

    async def story() -> float:
        await made.until_unanswered()
        return await swept_while_polled(
            made, 300.0, lambda: new_sweep(made.bench.worker(), [made.objects], seconds=25.0, stands_in=True)
        )

    assert made.bench.do(story()) < 900
    assert len(made.bench.model.calls) == 4


@pytest.mark.parametrize("sent_before", [False, True])
def test_polls_that_do_not_wait_leave_a_task_to_cron_where_routes_refuse(made: Polls, *, sent_before: bool):
    """If routes refuse, cron's sweep runs a polled task itself, as it would without polls."""

    async def refuse(task_key: TaskKey, delay_seconds: float) -> None:
        raise RuntimeError("away")

    async def story() -> float:
        if sent_before:
            await made.until_unanswered()
        else:
            await asyncio.sleep(made.bench.settings.lease_seconds + LATE_SECONDS)
        made.queue.send = made.objects.send = refuse  # type: ignore[method-assign]
        return await swept_while_polled(made, 60.0, lambda: new_sweep(made.bench.worker(), [made.queue, made.objects]))

    assert made.bench.do(story()) < 900
    assert len(made.bench.model.calls) == 4


def test_polls_and_cron_send_no_more_than_once_a_minute_together(made: Polls):
    by_cron = Road()

    async def story() -> None:
        await made.until_unanswered()
        for second in range(3_600):
            if second % 7 == 0:
                await made.poll(0.0)
            if second % 60 == 0:
                await new_sweep(made.bench.worker(), [by_cron]).run()
            await asyncio.sleep(1.0)

    made.bench.do(story())
    sent_at = sorted(made.objects.sent_at + by_cron.sent_at)
    assert all(later - earlier >= LATE_SECONDS - 1 for earlier, later in pairwise(sent_at))
    assert len(sent_at) > 40


def test_a_route_that_refuses_slowly_makes_no_poll_longer(made: Polls):
    async def slow(task_key: TaskKey, delay_seconds: float) -> None:
        await asyncio.sleep(3.0)
        raise RuntimeError("away")

    async def story() -> list[float]:
        made.queue.send = made.objects.send = slow  # type: ignore[method-assign]
        made.bench.model.seconds = lambda number: 100.0
        took = []
        for wait in (10.0, 2.0):
            await asyncio.sleep(10 * made.bench.settings.lease_seconds)
            began = asyncio.get_running_loop().time()
            await made.poll(wait)
            took.append(asyncio.get_running_loop().time() - began)
            await asyncio.wait(made.behind)
        return took

    assert made.bench.do(story()) == [pytest.approx(10.0), pytest.approx(6.0)]
    # Only the first poll's model call failed, since the second poll had no time left for a call.
    (cut,) = made.bench.events("call_failed")
    assert cut["ms"] == pytest.approx(24_000, abs=100)


def test_an_error_of_the_run_is_not_the_polls(made: Polls):
    async def story() -> Task:
        await made.until_unanswered()
        made.bench.database.fail("D1_ERROR: string or blob too big: SQLITE_TOOBIG", passing=1)
        return await made.poll(2.0)

    assert made.bench.do(story()).status is Status.PENDING
    (line,) = made.bench.events("run_failed")
    assert line["error"] == "StoreError"


def test_only_what_was_cut_by_the_poll_counts_as_cut(bench: WorkerBench):
    bench.model.seconds = lambda number: 50.0
    call = ModelCall("do", "x", "model")

    async def outcome(cut_in: float, seconds: float) -> Any:
        now = asyncio.get_running_loop().time()
        caller = BriefCaller(bench.model, 1, now + cut_in)
        (found,) = await caller.call([call], seconds, now + 2.0)
        return found

    assert isinstance(bench.do(outcome(30.0, 10.0)), ModelTimeout)
    assert isinstance(bench.do(outcome(10.0, 30.0)), ModelConnectionLost)
    made = len(bench.model.calls)
    assert bench.do(outcome(0.0, 30.0)).code == "not_started"
    assert len(bench.model.calls) == made


def test_work_goes_on_when_its_request_is_given_up(bench: WorkerBench):
    ended: list[bool] = []
    behind: list[asyncio.Future[None]] = []

    async def work() -> None:
        await asyncio.sleep(5.0)
        ended.append(True)

    async def story() -> None:
        asked = asyncio.ensure_future(
            hold(work(), 20.0, lambda awaitable: behind.append(asyncio.ensure_future(awaitable)))
        )
        await asyncio.sleep(1.0)
        asked.cancel()
        await asyncio.wait(behind)

    bench.do(story())
    assert ended == [True]


def test_a_poll_that_does_not_wait_makes_no_call(made: Polls):
    async def story() -> None:
        await asyncio.sleep(made.bench.settings.lease_seconds + LATE_SECONDS)
        for _ in range(600):
            await made.poll(0.0)
            await asyncio.sleep(1.0)

    made.bench.do(story())
    sent_at = made.objects.sent_at
    assert not made.bench.model.calls
    assert len(sent_at) == 10
    assert all(later - earlier >= LATE_SECONDS for earlier, later in pairwise(sent_at))
