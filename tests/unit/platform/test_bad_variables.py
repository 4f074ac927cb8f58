"""Bad variables, work behind an answer, and waits under the hosted clock: nothing is lost and all ends."""

import asyncio
import json
import sys
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import simulator.platform.sdk  # noqa: F401 - stands in for the SDK that the classes below import
from src.kernel.api.base.services import RequestMemory
from src.kernel.calls import wire
from src.kernel.calls.protocol import ModelCall
from src.kernel.domain import limits
from src.kernel.domain.errors import CallNotStarted, ConfigurationError
from src.kernel.domain.ids import TaskKey
from src.kernel.run.context import Ended
from src.kernel.run.log import Log
from src.platform.durable_objects import AIProcessor
from src.platform.surroundings import SURROUNDINGS, Background, Surroundings
from src.platform.worker_entrypoint import Default
from src.queue.messages import DEAD_LETTERS, QUEUE
from tests.api.test_events import Scene, Stream
from tests.support import api_bench, worker_bench
from tests.support.hosted_loop import HAIR_SECONDS, HostedLoop
from tests.support.sqlite_d1 import SqliteD1
from tests.support.worker_bench import WorkerBench

TASK = "t:01999999-0000-7000-8000-000000000000"


class Message:
    def __init__(self, attempts: int) -> None:
        self.id = "message"
        self.body = {"taskId": TASK}
        self.attempts = attempts
        self.end: object = None

    def ack(self) -> None:
        self.end = self.end or "ack"

    def retry(self, options: dict[str, int]) -> None:
        self.end = self.end or options["delaySeconds"]


class Storage:
    def __init__(self) -> None:
        self.values: dict[str, object] = {"task": TASK}
        self.alarms: list[int] = []

    async def get(self, key: str) -> object:
        return self.values.get(key)

    async def put(self, key: str, value: object) -> None:
        self.values[key] = value

    async def setAlarm(self, at_ms: int) -> None:  # noqa: N802 - the platform's name
        self.alarms.append(at_ms)

    async def deleteAll(self) -> None:  # noqa: N802 - the platform's name
        self.values.clear()


class Deployment:
    """A deployment whose AI_TIMEOUT_SECONDS is no number. `lines` is its log."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.database = SqliteD1()
        self.env: Any = SimpleNamespace(DB=self.database, AI_TIMEOUT_SECONDS="soon")
        self.storage = Storage()
        self.ctx: Any = SimpleNamespace(waitUntil=None, storage=self.storage)
        runtime: Any = SimpleNamespace(write=self.lines.append, now_ms=lambda: 0, http=None, courier=None)
        SURROUNDINGS.set(Surroundings(runtime=runtime, memory=RequestMemory()))

    def events(self) -> list[dict[str, Any]]:
        assert not any("soon" in line for line in self.lines)
        return [json.loads(line) for line in self.lines]


@pytest.fixture
def deployment() -> Iterator[Deployment]:
    token = SURROUNDINGS.set(SURROUNDINGS.get())
    made = Deployment()
    yield made
    SURROUNDINGS.reset(token)
    made.database.close()


@pytest.mark.parametrize("queue", [QUEUE, DEAD_LETTERS])
def test_messages_are_put_off_and_end_in_no_dead_letter(deployment: Deployment, queue: str) -> None:
    messages = [Message(attempts) for attempts in range(1, limits.QUEUE_DELIVERIES + 1)]
    batch: Any = SimpleNamespace(queue=queue, messages=messages)
    asyncio.run(Default(deployment.ctx, deployment.env).queue(batch))
    assert [message.end for message in messages] == [30, 30, "ack"]
    assert {(line["event"], line["variable"], line["message"]) for line in deployment.events()} == {
        ("bad_configuration", "AI_TIMEOUT_SECONDS", "message")
    }
    assert deployment.database.batches == 0


def test_the_cron_trigger_fails_and_takes_nothing_on(deployment: Deployment) -> None:
    with pytest.raises(ConfigurationError):
        asyncio.run(Default(deployment.ctx, deployment.env).scheduled(None))
    assert [line["variable"] for line in deployment.events()] == ["AI_TIMEOUT_SECONDS"]
    assert deployment.database.batches == 0


def test_an_object_comes_back_for_its_task(deployment: Deployment) -> None:
    """An alarm with a bad variable raises nothing, as six repetitions would drop it, and is set again."""
    made = AIProcessor(deployment.ctx, deployment.env)
    asyncio.run(made.alarm())
    assert deployment.storage.values["task"] == TASK
    assert deployment.storage.alarms[-1] > 0
    assert [line["variable"] for line in deployment.events()] == ["AI_TIMEOUT_SECONDS"]


def test_a_lane_says_that_it_started_nothing(deployment: Deployment) -> None:
    calls = [wire.write_call(ModelCall("do", text, "m")) for text in "ab"]
    answers = asyncio.run(AIProcessor(deployment.ctx, deployment.env).infer(TaskKey(TASK), 1, calls))
    assert [type(wire.read_outcome(answer)) for answer in answers] == [CallNotStarted] * 2
    assert [line["variable"] for line in deployment.events()] == ["AI_TIMEOUT_SECONDS"]
    assert deployment.database.batches == 0


class Resolvers:
    """A JavaScript promise, and the function that fulfils it."""

    def __init__(self) -> None:
        self.promise = asyncio.get_running_loop().create_future()

    def resolve(self) -> None:
        self.promise.set_result(None)


class Promise:
    withResolvers = Resolvers  # noqa: N815 - JavaScript's name


class ObjectContext:
    def __init__(self) -> None:
        self.promises: list[asyncio.Future[None]] = []

    def waitUntil(self, promise: Any) -> None:  # noqa: N802 - JavaScript's name
        assert isinstance(promise, asyncio.Future)
        self.promises.append(promise)


class Bench:
    """The code that starts work in the background, with its context and its log."""

    def __init__(self) -> None:
        self.context = ObjectContext()
        self.lines: list[dict[str, Any]] = []
        log = Log(lambda line: self.lines.append(json.loads(line)))
        self.background = Background(self.context, log)

    def until_quiet(self, act: Callable[[], Any]) -> None:
        async def play() -> None:
            act()
            await asyncio.wait(self.context.promises)

        asyncio.run(play())


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    module = ModuleType("js")
    vars(module).update(Promise=Promise)
    monkeypatch.setitem(sys.modules, "js", module)
    return Bench()


def test_work_runs_to_its_end_and_the_platform_waits_for_it(bench: Bench):
    ended: list[int] = []

    async def work(turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        ended.append(turns)

    def act() -> None:
        bench.background(work(20))
        bench.background(work(3))

    bench.until_quiet(act)
    assert ended == [3, 20]
    assert bench.lines == []


class Overrun(BaseException):
    """The error that the platform raises when the CPU time is nearly used up."""


@pytest.mark.parametrize("error", [ValueError("the work's own"), Overrun()])
def test_an_error_is_logged_and_ends_the_wait(bench: Bench, error: BaseException):
    """No code awaits background work, and its promise is fulfilled, so that the platform ends."""

    async def work() -> None:
        raise error

    bench.until_quiet(lambda: bench.background(work()))
    assert bench.lines == [{"event": "background_failed", "error": type(error).__name__}]


# The times in this list are no whole milliseconds, like those of `?wait=1.2342` and of measurements.
ODD = (1.2342, 0.0017, 0.9999999, 2.0501, 0.00031)
LATE = 0.006

LoopMaker = Callable[..., HostedLoop]


@pytest.fixture(params=["stock", "stock, a hair early", "ours", "ours, a hair early"])
def make_loop(request: pytest.FixtureRequest) -> LoopMaker:
    stock, hair_seconds = request.param.startswith("stock"), HAIR_SECONDS if "hair" in request.param else 0.0
    return lambda **_options: HostedLoop(stock=stock, hair_seconds=hair_seconds)  # type: ignore[abstract]


@pytest.fixture
def loop(make_loop: LoopMaker) -> Iterator[HostedLoop]:
    made = make_loop()
    yield made
    made.close()


@pytest.mark.parametrize("seconds", ODD)
@pytest.mark.parametrize("near", ["nobody", "object", "isolate"])
def test_a_request_waits_as_long_as_it_asks(
    make_loop: LoopMaker, monkeypatch: pytest.MonkeyPatch, near: str, seconds: float
):
    monkeypatch.setattr(api_bench, "Loop", make_loop)
    scene = Scene(near, seconds=60.0)
    assert scene.wait((0.0, scene.work), seconds=round(seconds, 4))["status"] in {"pending", "processing"}
    assert scene.bench.loop.time() == pytest.approx(seconds, abs=2 * LATE)
    scene.bench.close()


def test_a_stream_has_its_comments(make_loop: LoopMaker, monkeypatch: pytest.MonkeyPatch):
    """A stream sends its comments on time, whether their moment comes during a read or between reads."""
    monkeypatch.setattr(api_bench, "Loop", make_loop)
    scene = Scene("nobody", seconds=60.0)
    scene.bench.pass_seconds(0.0013)
    stream = Stream(scene.bench, scene.task)
    scene.bench.pass_seconds(30.0)
    assert sum(part.startswith(":") for _, part in stream.came) >= 4
    scene.bench.close()


def test_a_task_of_odd_calls_ends(make_loop: LoopMaker, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(worker_bench, "Loop", make_loop)
    bench = WorkerBench()
    bench.model.seconds = lambda number: ODD[number % len(ODD)] + 0.00021 * number
    bench.insert(24)
    assert isinstance(bench.run(), Ended)
    bench.close()
