"""A waiting request gets notice of its task's end from a worker in its isolate or from the task's object."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from src.composition import CATALOGUE
from src.kernel.api.base.messages import Reply
from src.kernel.api.router import handle
from src.kernel.domain import limits
from src.kernel.domain.marks import LAST_STEP, Marks
from src.kernel.domain.task import Mark, Route, Status
from src.kernel.run.invocation import Memory
from src.kernel.store import events, views
from src.kernel.store.claims import Claim
from src.kernel.work.worker import Host, Worker
from src.objects.audience import Audience
from tests.api.test_events import PAID, Stream, numbered
from tests.support.api_bench import ApiBench, BenchRequest, data, key
from tests.support.worker_bench import Script

LOOKS = {views.TASK.sql: "task", views.STATUS.sql: "status", events.LOOK.sql: "look"}


class Scene:
    """A task of three chunks, and the source of notices: a worker here, its object, or a silent one."""

    def __init__(self, near: str, seconds: float, plan: str = "paid") -> None:
        self.bench = ApiBench(settings=replace(PAID, plan=plan, timeout_seconds=100.0), routes=(Route.DURABLE_OBJECT,))
        self.task = self.bench.submit()
        self.at_work = True
        self.audience = Audience(lambda: self.at_work)
        if near == "object":
            self.bench.audience = self.audience
        self.marks = self.bench.api.isolate.marks if near == "isolate" else Marks()
        self.model = Script()
        self.model.seconds = lambda number: seconds
        self.looks: list[tuple[float, str]] = []
        self.ended_at: float | None = None
        prepare = self.bench.database.prepare

        def noted(sql: str) -> Any:
            self.looks += [(self.bench.loop.time(), LOOKS[sql])] if sql in LOOKS else []
            return prepare(sql)

        self.bench.database.prepare = noted  # type: ignore[method-assign]

    def claim(self) -> Claim:
        store, task_key = self.bench.store, key(self.task["id"])
        claiming = store.claim(task_key, holder="h", host="", route=Route.DURABLE_OBJECT, lease_ms=180_000)
        claim: Claim = self.bench.run(claiming)
        self.marks.wrote(task_key, Mark(claim.fence, claim.step), until=1e9)
        self.audience.tell(Mark(claim.fence, claim.step), False)
        return claim

    async def work(self) -> None:
        isolate = Memory()
        isolate.marks = self.marks
        worker: Worker = replace(self.bench.api.rescue.worker, provider=self.model, isolate=isolate)
        host = Host(Route.DURABLE_OBJECT, 600.0, wrote=self.audience.tell)
        await worker.run(key(self.task["id"]), host)
        self.ended_at = self.bench.loop.time()
        self.at_work = False
        self.audience.look_up()

    def wait(self, *acts: tuple[float, Callable[[], Any]], seconds: float = 25.0) -> Any:
        """Let a request wait while acts happen at their times, and return the task from its answer."""

        async def play() -> Reply:
            for at, act in acts:
                self.bench.loop.call_later(at, lambda act=act: self._do(act))
            request = BenchRequest("GET", f"http://h{self.task['links']['self']}?wait={seconds}")
            return await handle(request, self.bench.api, CATALOGUE)

        return data(self.bench.run(play()))

    def _do(self, act: Callable[[], Any]) -> None:
        if asyncio.iscoroutine(made := act()):
            self.bench.loop.create_task(made)

    @property
    def kinds(self) -> list[str]:
        return [kind for _, kind in self.looks]


@pytest.fixture
def scene() -> Iterator[Callable[..., Scene]]:
    made: list[Scene] = []

    def build(near: str, seconds: float = 3.3, plan: str = "paid") -> Scene:
        made.append(Scene(near, seconds, plan))
        return made[-1]

    yield build
    for each in made:
        each.bench.close()


@pytest.mark.parametrize(
    ("near", "plan", "looks", "late"),
    [
        ("nobody", "paid", ["task", *["status"] * 7, "task"], 0.5),
        ("object", "paid", ["task", "task"], 0.0),
        ("isolate", "paid", ["task", "task"], 0.1),
        ("nobody", "free", ["task", "task", "task", "task"], 6.0),
        ("object", "free", ["task", "task"], 0.0),
        ("isolate", "free", ["task", "task"], 0.21),
    ],
)
def test_a_wait_ends_with_its_task(scene: Any, near: str, plan: str, looks: list[str], late: float):
    """With notices a wait makes two reads: one at the beginning, and one of the result."""
    made = scene(near, plan=plan)
    shown = made.wait((0.1, made.work))
    assert shown["status"] == "completed"
    assert made.kinds == looks, made.looks
    assert made.bench.loop.time() - made.ended_at <= late + 1e-6
    # The waiting request asked its task's object once, with the state that the request had read. An object that cannot
    # send notices was asked only once in each state.
    assert [since for _, since in made.bench.asked] == [Mark(0, 0), Mark(1, 0)][: 2 if near == "nobody" else 1]


@pytest.mark.parametrize("near", ["isolate", "object"])
def test_an_end_between_the_read_and_the_listening_is_heard(scene: Any, near: str):
    made = scene(near)
    task_id = made.task["id"]
    batch = made.bench.database.batch

    async def overtaken(statements: Any) -> Any:
        answer = await batch(statements)
        if views.TASK.sql in {statement.sql for statement in statements} and made.ended_at is None:
            made.ended_at = 0.0
            await made.work()
        return answer

    made.model.seconds = lambda number: 0.0
    made.bench.database.batch = overtaken
    assert made.wait()["id"] == task_id
    assert made.kinds == ["task", "task"]
    assert made.bench.loop.time() <= 0.1


@pytest.mark.parametrize("near", ["isolate", "object"])
def test_a_word_that_is_lost_is_made_up_for(scene: Any, near: str):
    """A waiting request finds its task's end within five seconds although no notice of it comes."""
    made = scene(near)
    bench, task_key = made.bench, key(made.task["id"])
    made.claim()
    shown = made.wait((7.3, lambda: bench.store.cancel(task_key, 1_000_000)))
    assert shown["status"] == "cancelled"
    assert bench.loop.time() == pytest.approx(10.0)


@pytest.mark.parametrize("near", ["isolate", "object"])
@pytest.mark.parametrize("plan", ["free", "paid"])
def test_a_false_word_costs_one_read(scene: Any, near: str, plan: str):
    """A wrong notice costs a waiting request one additional read and causes no loop."""
    made = scene(near, seconds=60.0, plan=plan)
    task_key = key(made.task["id"])

    def lie() -> None:
        made.marks.left(task_key, 9, ended=True)
        made.audience.tell(Mark(9, LAST_STEP), True)

    shown = made.wait((0.0, made.work), *((at, lie) for at in (1.0, 2.0, 3.0)))
    assert shown["status"] == "processing"
    assert made.bench.loop.time() <= 25.0 + 1e-6
    assert len(made.looks) <= (limits.WAIT_READS_FREE if plan == "free" else 36), made.looks
    # A request without notices reads every half second, and each wrong notice adds one read.
    assert sum(1.0 <= at <= 3.1 for at, _ in made.looks) <= 4 + 3, made.looks


def test_an_object_that_is_not_at_work_is_asked_once(scene: Any):
    """An idle object is asked once in each state of the task, since a call wakes it, which costs money."""
    made = scene("object", seconds=3.0)
    made.at_work = False

    async def work() -> None:
        made.at_work = True
        await made.work()

    assert made.wait((4.0, work))["status"] == "completed"
    assert [since for _, since in made.bench.asked] == [Mark(0, 0), Mark(1, 0)]
    assert made.bench.loop.time() == pytest.approx(7.0, abs=0.01)


def test_a_task_that_was_given_back_wakes_no_object(scene: Any):
    made = scene("object")
    made.bench.run(made.bench.store.claim(key(made.task["id"]), holder="h", host="", route=Route.QUEUE, lease_ms=1))
    made.bench.database.rows("UPDATE tasks SET status = 'pending', holder = NULL, route = 'durable-object'")
    made.wait(seconds=2.0)
    assert made.bench.asked == []


@pytest.mark.parametrize(("near", "looks"), [("nobody", 40), ("object", 7), ("isolate", 7)])
def test_a_stream_looks_when_something_was_written(scene: Any, near: str, looks: int):
    """With a source of notices, a stream of a task with calls of eight seconds makes one read for each write."""
    made = scene(near, seconds=8.0)
    made.bench.limit(concurrency=1)
    worker = made.bench.api.rescue.worker
    made.bench.api = replace(
        made.bench.api,
        rescue=replace(made.bench.api.rescue, worker=replace(worker, settings=replace(worker.settings, concurrency=1))),
    )
    stream = Stream(made.bench, made.task)
    working = made.bench.loop.create_task(made.work())
    made.bench.run(stream.reading)
    made.bench.run(working)
    assert [each for _, each in numbered(stream)][-1] == Status.COMPLETED
    assert sum(kind == "look" for kind in made.kinds) <= looks
    if near != "nobody":
        came = [at for at, part in stream.came if part.startswith("event: chunk")]
        assert came == pytest.approx([8.0, 16.0, 24.0], abs=0.15)


def test_a_word_of_an_earlier_life_is_nothing(scene: Any):
    """A notice of an end that happened before a retry does not make a waiting request read the task."""
    made = scene("isolate", seconds=60.0)
    bench, task_key = made.bench, key(made.task["id"])
    made.wait((0.0, made.work), seconds=1.0)
    assert bench.call("POST", made.task["links"]["cancel"]).status == 200
    assert bench.call("POST", made.task["links"]["retry"], {}).status == 202
    bench.run(bench.store.claim(task_key, holder="next", host="", route=Route.QUEUE, lease_ms=180_000))
    made.looks.clear()
    assert made.wait((1.0, lambda: made.marks.left(task_key, 1, ended=True)), seconds=2.0)["status"] == "processing"
    assert made.kinds == ["task", "status", "status", "status", "task"]
