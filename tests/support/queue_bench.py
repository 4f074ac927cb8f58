"""A Worker whose queue delivers one message of a long task, in virtual time, with stand-ins for its coordinator."""

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from src.composition import App, Bindings
from src.kernel.api.base.services import RequestMemory
from src.kernel.calls import wire
from src.kernel.calls.protocol import Health, ModelCall, ModelReply
from src.kernel.calls.wire import Wire
from src.kernel.domain import limits
from src.kernel.domain.ids import TaskKey
from src.kernel.domain.settings import load
from src.kernel.domain.task import Reduce, Task
from src.objects.lane import Lane
from tests.support.store_bench import START_MS, new_task
from tests.support.worker_bench import WorkerBench

TASK = TaskKey("local:0192f0c8-7c00-7000-8000-000000000000")
LONG = limits.LANES_MOST * limits.LANE_CHUNKS
ALONE = limits.LANE_CALLS


@dataclass
class Delivery:
    """The delivery of a message; `acked_at` is the time at which the consumer acknowledged it."""

    bench: WorkerBench
    id: str = "message"
    attempts: int = 1
    body: Any = None
    acked_at: float | None = None
    retried: bool = False

    def ack(self) -> None:
        self.acked_at = self.bench.loop.time()

    def retry(self, options: dict[str, int]) -> None:
        self.retried = True


class Coordinators:
    """Stands in for coordinators and lanes. `most`: the most calls in flight together."""

    name = "counted"
    default_model = "m"

    def __init__(self, bench: WorkerBench) -> None:
        self.bench = bench
        self.groups: list[int] = []
        self.looks = 0  # How often lanes have asked the database whether calls may start.
        self.closed: list[tuple[int, float]] = []
        self.aborted: list[int] = []
        self.signs = 0
        self.breaks: Exception | None = None
        self.unreachable: Exception | None = None
        self.most = 0
        self._now = 0
        self._lanes: list[Lane] = []
        self._busy: set[int] = set()  # The numbers of the lanes that have calls.

    def getByName(self, name: str) -> "Coordinators":  # noqa: N802 - the platform's name
        assert name == TASK
        return self

    async def reach(self) -> None:
        self.signs += 1
        if self.unreachable is not None:
            raise self.unreachable

    async def infer(self, task_key: TaskKey, fence: int, lanes: int, calls: list[Wire], seconds: float) -> list[Wire]:
        self.groups.append(len(calls))
        number = wire.lane_of(calls)
        if number is None:  # the lowest free lane, as the coordinator chooses it
            number = next(free for free in itertools.count(1) if free not in self._busy)
            if number > len(self._lanes):
                self._lanes.append(Lane())
        self._busy.add(number)
        store = SimpleNamespace(may_start=self._may_start)
        worker: Any = SimpleNamespace(store=store, provider=Provider(self), settings=self.bench.settings)
        outcomes = await self._lanes[number - 1].infer(worker, task_key, fence, calls)
        answers = [wire.from_lane(outcome, number) for outcome in outcomes]
        if not any(map(wire.goes_on, answers)):
            self._busy.discard(number)
        return answers

    async def _may_start(self, task_key: TaskKey, fence: int) -> int | None:
        self.looks += 1
        return await self.bench.store.may_start(task_key, fence)

    async def abort(self, task_key: TaskKey, fence: int) -> None:
        self.aborted.append(fence)
        for lane in self._lanes:
            lane.abort(fence)

    async def close(self, fence: int) -> None:
        self.closed.append((fence, self.bench.loop.time()))
        if self.breaks is not None:
            raise self.breaks

    # The model that the consumer and all lanes call.

    async def infer_one(self, call: ModelCall) -> ModelReply:
        self._now += 1
        self.most = max(self.most, self._now)
        try:
            return await self.bench.model.infer(call)
        finally:
            self._now -= 1

    async def probe(self) -> Health:
        return Health("healthy", "")


class Provider:
    """The model of `Coordinators` as a provider of its own, since providers and lanes both have a method `infer`."""

    name = "counted"
    default_model = "m"

    def __init__(self, coordinators: Coordinators) -> None:
        self.infer = coordinators.infer_one
        self.probe = coordinators.probe


class QueueBench:
    """A Worker with a queue, and by default with objects, to which a test delivers one message."""

    def __init__(self, chunks: int = LONG, *, objects: bool = True, **variables: str) -> None:
        self.bench = WorkerBench()
        new = new_task(TASK, chunks, Reduce.CONCAT, START_MS)
        self.bench.do(self.bench.store.insert(new, self.bench.settings.lease_ms))
        self.coordinators = Coordinators(self.bench)
        self.sent: list[object] = []
        self.delivery = Delivery(self.bench, body={"taskId": TASK})
        bound: Any = self.coordinators if objects else None
        queue: Any = self
        self._bindings = Bindings(database=self.bench.database, queue=queue, processors=bound, coordinators=bound)
        self._variables = {"PLAN": "paid", "AI_PROVIDER": "workers-ai", **variables}
        self.lines: list[str] = []

    async def send(self, body: object, *options: object) -> None:
        self.sent.append(body)

    def app(self) -> App:
        runtime: Any = SimpleNamespace(
            chance=lambda: 0.0,
            courier=None,
            entropy=bytes,
            write=self.lines.append,
            now_ms=lambda: START_MS + round(self.bench.loop.time() * 1000),
        )
        provider: Any = Provider(self.coordinators)
        return App(self._bindings, load(self._variables.get), runtime, lambda run: None, RequestMemory(), provider)

    def consume(self, meanwhile: Callable[[], Any] | None = None, after: float = 3.0) -> App:
        app = self.app()
        batch: Any = SimpleNamespace(queue="ai-processing-queue", messages=[self.delivery])

        async def play() -> None:
            consumed = asyncio.ensure_future(app.queue(batch))
            if meanwhile is not None:
                await asyncio.sleep(after)
                await meanwhile()
            await consumed

        self.bench.do(play())
        return app

    @property
    def task(self) -> Task:
        found = self.bench.do(self.bench.store.task(TASK))
        assert isinstance(found, Task)
        return found

    def heard(self, event: str) -> bool:
        return any(f'"event":"{event}"' in line for line in self.lines)
