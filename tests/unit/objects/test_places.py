"""MAX_OBJECTS_AT_WORK limits how many tasks objects work on at once; these tests say how other tasks wait."""

import asyncio
from collections.abc import Awaitable
from types import SimpleNamespace
from typing import Any

import pytest

from src.composition import App, Bindings
from src.kernel.api.base.services import RequestMemory
from src.kernel.domain.ids import TaskKey
from src.kernel.domain.settings import load
from src.kernel.domain.task import Route, Status, Task, TaskOptions
from src.kernel.store.claims import Release
from src.kernel.work.submission import Submitted, TaskRequest
from tests.conformance.cases.steps import progress
from tests.support.store_bench import START_MS
from tests.support.worker_bench import WorkerBench


class Objects:
    """A namespace whose objects note their starts, or cannot be reached."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.queued: list[str] = []
        self.unreachable = False

    def getByName(self, name: str) -> "Objects":  # noqa: N802 - the platform's name
        return self

    async def start(self, task_key: TaskKey, delay_seconds: float) -> None:
        if self.unreachable:
            raise ConnectionError
        self.started.append(task_key)


class Deployment:
    """A Worker over one database, with objects, and with a queue if the test gives one."""

    def __init__(self, most: int | None, queue: Any = None) -> None:
        self.bench = WorkerBench()
        self.objects = Objects()
        self.waited: list[Awaitable[None]] = []
        self._entropy = 0
        objects: Any = self.objects
        self._bindings = Bindings(database=self.bench.database, queue=queue, processors=objects)
        self._variables = {"PLAN": "free", "AI_TIMEOUT_SECONDS": "2"}
        if most is not None:
            self._variables["MAX_OBJECTS_AT_WORK"] = str(most)

    def app(self) -> App:
        runtime: Any = SimpleNamespace(
            chance=lambda: 0.0,
            courier=None,
            entropy=self._random,
            write=self.bench.lines.append,
            now_ms=lambda: START_MS + round(self.bench.loop.time() * 1000),
        )
        return App(
            self._bindings, load(self._variables.get), runtime, self.waited.append, RequestMemory(), self.bench.model
        )

    def _random(self, size: int) -> bytes:
        self._entropy += 1
        return self._entropy.to_bytes(size, "big")

    def submit(self, tasks: int, tenant: str = "t") -> list[TaskKey]:
        made: list[Submitted] = []
        for _ in range(tasks):
            self.bench.do(asyncio.sleep(0.001))  # ids sort by their milliseconds, so each task gets its own millisecond
            submission = self.app().api().submission
            made.append(self.bench.do(submission.submit(tenant, TaskRequest(text="x", options=TaskOptions()))))
            self.bench.do(self.waited.pop())  # a task is sent off after its submission's answer
        return [one.task.task_key for one in made]

    def sweep(self, seconds: float = 60) -> App:
        self.bench.do(asyncio.sleep(seconds))
        app = self.app()
        self.bench.do(app.scheduled())
        assert app.meter.subrequests <= app.settings.subrequests
        assert app.meter.statements <= app.settings.statements
        return app

    def end(self, key: str) -> None:
        self.bench.do(self.bench.store.cancel(TaskKey(key), 1_000_000))

    def places(self) -> int:
        return len(self.bench.database.rows("SELECT id FROM object_places"))


@pytest.fixture
def deploy():
    made: list[Deployment] = []

    def build(most: int | None, queue: Any = None) -> Deployment:
        made.append(Deployment(most, queue))
        return made[-1]

    yield build
    for one in made:
        one.bench.close()


def test_the_sweep_sends_one_for_each_that_ends(deploy):
    made = deploy(2)
    keys = made.submit(5)
    for _ in range(60):
        made.sweep()
    assert set(made.objects.started) == set(keys[:2])
    for ended in (0, 1, 2):
        made.end(made.objects.started[-1] if ended else keys[0])
        before = len(made.objects.started)
        made.sweep()
        assert len(set(made.objects.started[before:]) - set(keys[:2])) == 1
        assert made.places() == 2
    assert set(made.objects.started) == set(keys)


def test_a_lost_task_with_a_place_is_reached_behind_those_that_wait(deploy):
    """In this test the sweep finds sixty waiting tasks before it finds the lost task."""
    made = deploy(1)
    keys = made.submit(61)
    assert made.objects.started == keys[:1]
    made.bench.database.rows("UPDATE tasks SET wake_at = wake_at + 1000 WHERE id = ?", keys[0])
    for _ in range(10):
        made.sweep()
    assert set(made.objects.started) == {keys[0]}
    assert len(made.objects.started) > 1


@pytest.mark.parametrize("minutes", [0, 4, 90])
def test_a_backlog_keeps_nobody_elses_task_waiting(deploy, minutes: int):
    """In this test two hundred tasks of one tenant wait for an object slot."""
    made = deploy(2)
    backlog = made.submit(202)
    for _ in range(minutes):
        made.sweep()
    (other,) = made.submit(1, "other")
    assert set(made.objects.started) == set(backlog[:2])
    made.end(backlog[0])
    made.sweep()
    assert made.objects.started[-1] == other
    made.end(backlog[1])
    made.sweep()
    assert made.objects.started[-1] == backlog[2]  # then the oldest


def test_a_place_goes_to_the_tenant_with_the_fewest_then_to_the_oldest_task(deploy):
    made = deploy(4)
    first = made.submit(4, "a")
    kept = {tenant: made.submit(3, tenant) for tenant in ("c", "a", "b")}
    made.bench.database.rows("UPDATE tasks SET wake_at = wake_at + 7200000 WHERE tenant = 'b'")
    given = []
    for key in (*first, *kept["c"], *kept["b"]):
        made.end(key)
        known = len(made.objects.started)
        made.sweep(1)
        given += made.objects.started[known:]
    # At first neither tenant c nor tenant b has a slot; c's task is older, so it comes first, and b's comes next. After
    # these two sends the tenants c and b have one slot each, and c's task is the oldest. By the fourth send tenant a
    # has no slot, so a's task comes.
    assert given[:4] == [kept["c"][0], kept["b"][0], kept["c"][1], kept["a"][0]]
    assert set(given) == {key for keys in kept.values() for key in keys}
    assert made.places() <= 4


def test_a_submission_takes_no_place_that_another_task_waits_for(deploy):
    made = deploy(1)
    first, waiting = made.submit(2, "a")
    made.end(first)
    (other,) = made.submit(1, "b")  # neither tenant has a slot, and tenant a's task `waiting` is older
    assert (made.objects.started, made.places()) == ([first, waiting], 1)
    made.end(waiting)
    made.sweep()
    assert made.objects.started == [first, waiting, other]


def test_a_task_that_got_a_place_unheard_is_told_by_the_sweep(deploy):
    """In this test a submission gave a slot to a waiting task, whose object could not be reached."""
    made = deploy(1)
    first, waiting, *_ = made.submit(40, "a")
    for _ in range(30):
        made.sweep()
    made.end(first)
    made.objects.unreachable = True
    made.submit(1, "a")
    made.objects.unreachable = False
    known = len(made.objects.started)
    made.sweep(1)
    assert made.objects.started[known:] == [waiting]


@pytest.mark.slow
def test_who_waits_costs_less_and_less(deploy):
    """A task that waits for an object slot is written only when the sweep checks it, which becomes rarer and rarer."""
    made = deploy(1)
    made.submit(11)
    rows = sum(made.sweep().meter.rows_written for _ in range(24 * 60))
    samples = 24 * 12  # samples of the backlog are written in any case
    assert rows - samples < 11 * 100


def test_without_the_variable_no_row_is_written_and_nothing_is_asked(deploy):
    made = deploy(None)
    keys = made.submit(5)
    assert made.objects.started == keys
    made.sweep(180)
    assert made.places() == 0
    assert not made.bench.database.rows("SELECT id FROM tasks WHERE dispatches = 0")


def test_a_place_is_free_again_when_the_task_has_ended_or_goes_another_way(deploy):
    """A task keeps one slot while it waits for its object or is worked on."""
    made = deploy(None)
    store = made.bench.store
    first, second, third = made.submit(3)

    async def take(key: TaskKey, most: int) -> bool:
        return (await store.take_slot(key, most))[0]

    assert [made.bench.do(take(key, 1)) for key in (first, first, second)] == [True, True, False]
    claim = store.claim(first, holder="h", host="o", route=Route.DURABLE_OBJECT, lease_ms=1)
    made.bench.do(claim)
    assert [made.bench.do(take(key, 1)) for key in (second, first)] == [False, True]
    made.bench.do(asyncio.sleep(1))
    made.bench.do(store.claim(first, holder="i", host="", route=Route.QUEUE, lease_ms=1))
    assert [made.bench.do(take(key, 1)) for key in (second, third)] == [True, False]
    made.end(second)
    assert [made.bench.do(take(key, 1)) for key in (second, third)] == [False, True]


def waits(made: Deployment, key: TaskKey, seconds: float) -> None:
    claim = made.bench.do(made.bench.store.claim(key, holder=key, host=key, route=Route.DURABLE_OBJECT, lease_ms=9_000))
    back = Release(round(seconds * 1000), round(seconds * 1000) + 9_000)
    assert made.bench.do(made.bench.store.step(claim, progress(claim), back))


def test_a_task_that_only_waits_has_no_place(deploy):
    made = deploy(2)
    keys = made.submit(2, "greedy")
    for key in keys:
        waits(made, key, 300)
    (other,) = made.submit(1, "other")
    assert made.objects.started == [*keys, other]
    made.bench.do(asyncio.sleep(300))
    taken = [made.bench.do(made.bench.store.take_slot(key, 2))[0] for key in keys]
    assert taken == [True, False]  # one slot is left, and the other task of the tenant waits for its turn
    assert made.places() == 2


def test_tenants_take_permits_though_the_tasks_of_one_come_back(deploy):
    made = deploy(1)
    keys = made.submit(4, "greedy")
    for key in keys:
        made.bench.do(made.bench.store.take_slot(key, 1))
        waits(made, key, 10)
    made.bench.do(asyncio.sleep(9))
    (other,) = made.submit(1, "other")
    made.end(other)
    made.bench.do(asyncio.sleep(2))  # all tasks of the first tenant are due
    waiting = made.submit(2, "other")
    assert made.objects.started[-1] == keys[0]
    waits(made, keys[0], 10)
    made.sweep(1)
    assert made.objects.started[-1] == waiting[0]


class Behind(list[Any]):
    """A stand-in for `waitUntil` that runs the work that continues after answers."""

    def append(self, work: Awaitable[None]) -> None:
        super().append(asyncio.ensure_future(work))


def poll(made: Deployment, key: TaskKey) -> Task:
    async def read() -> Task:
        task = await made.bench.store.task(key)
        assert task is not None
        return task

    async def story() -> Task:
        await asyncio.sleep(60)
        task = await read()
        if task.late or task.unanswered:
            await made.app().api().rescue.help(task, 10.0)
        return await read()

    return made.bench.do(story())


def test_who_waits_for_a_place_is_not_run_by_whoever_asks(deploy):
    made = deploy(1)
    made.waited = Behind()
    first, second = made.submit(2)
    made.bench.do(made.bench.store.claim(first, holder="h", host="o", route=Route.DURABLE_OBJECT, lease_ms=9_000_000))
    polled = [poll(made, second) for _ in range(10)]
    assert polled[-1].unanswered
    assert {task.status for task in polled} == {Status.PENDING}
    for _ in range(10):
        made.bench.do(asyncio.sleep(600))
        swept = made.bench.do(made.app().api().sweeps.ask())
        assert (swept.dispatched, swept.worked) == (0, 0)
    assert (made.objects.started, made.bench.model.calls) == ([first], [])
    made.end(first)
    made.sweep()
    assert made.objects.started == [first, second]
    assert (poll(made, second).status, made.bench.model.calls) == (Status.PENDING, [])
    assert made.objects.started == [first, second, second]


@pytest.mark.parametrize("swept", [False, True])
def test_a_place_whose_object_does_not_come_keeps_nobody_waiting(deploy, *, swept: bool):
    """If a task with a slot is late because its object never comes, polls run the task that waits for a slot."""
    made = deploy(1)
    made.waited = Behind()
    _, second = made.submit(2)
    polls = 0
    while poll(made, second).status is not Status.COMPLETED:
        polls += 1
        assert polls < 15
        if swept:
            made.sweep(1)
    assert len(made.bench.model.calls) == 1


def test_a_place_of_an_overdue_task_keeps_nobody_waiting(deploy):
    made = deploy(1)
    first, second = made.submit(2)
    store = made.bench.store
    assert not made.bench.do(store.may_stand_in(second, 1))
    made.bench.database.rows("UPDATE tasks SET deadline_ms = 1, deadline_at = created_at WHERE id = ?", first)
    assert made.bench.do(store.may_stand_in(second, 1))


def test_a_task_that_began_on_the_queue_waits_for_no_place(deploy):
    queue = SimpleNamespace(send=None)

    async def send(body: Any, options: Any) -> None:
        """Deliver it nowhere."""

    queue.send = send
    made = deploy(1, queue)
    made.waited = Behind()
    first, second = made.submit(2)
    assert made.bench.do(made.bench.store.take_slot(first, 1))[0]
    made.bench.do(made.bench.store.claim(first, holder="h", host="o", route=Route.DURABLE_OBJECT, lease_ms=9_000_000))
    polls = 0
    while poll(made, second).status is not Status.COMPLETED:
        polls += 1
        assert polls < 15
