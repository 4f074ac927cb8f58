"""A bench for the task actor: a scripted model, a database, workers and lanes, in virtual time."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from simulator.engine.loop import Loop
from src.kernel.calls import wire
from src.kernel.calls.pace import Latency
from src.kernel.calls.protocol import Health, ModelCall, ModelReply
from src.kernel.calls.wire import Wire
from src.kernel.domain import limits
from src.kernel.domain.database_state import StorageUse
from src.kernel.domain.errors import CallAborted, ModelError
from src.kernel.domain.ids import TaskKey
from src.kernel.domain.meter import Meter
from src.kernel.domain.settings import Settings
from src.kernel.domain.task import Failure, Reduce, Route, Task
from src.kernel.run.context import Hint, RunOutcome
from src.kernel.run.log import Log
from src.kernel.store.claims import Claim
from src.kernel.store.d1 import Database
from src.kernel.work.worker import Host, Worker
from src.objects.laned_caller import LanedCaller
from tests.support.invocations import new_worker, task_store
from tests.support.sqlite_d1 import SqliteD1
from tests.support.store_bench import START_MS, new_task

HOST = Host(Route.QUEUE, 600.0)


class Script:
    """A provider whose calls take a second and end as `act` says; it records their times."""

    name = "script"
    default_model = "script-1"

    def __init__(self, act: Callable[[ModelCall, int], Any] = lambda call, number: None) -> None:
        self.act = act
        self.seconds: Callable[[int], float] = lambda number: 1.0
        self.calls: list[tuple[float, ModelCall]] = []

    async def infer(self, call: ModelCall) -> ModelReply:
        self.calls.append((asyncio.get_running_loop().time(), call))
        number = len(self.calls)
        await asyncio.sleep(self.seconds(number))
        result = self.act(call, number)
        if isinstance(result, Exception):
            raise result
        return result if isinstance(result, ModelReply) else ModelReply(result or f"<{call.user}>", 10, 5)

    async def probe(self) -> Health:
        return Health("healthy", "")


class OneLaneEach:
    """A coordinator with a lane for each group, whose calls the scripted model makes."""

    def __init__(self, model: Script, *, deaf: bool = False) -> None:
        self._model = model
        self._deaf = deaf
        self._out: set[asyncio.Task[Wire]] = set()
        self._lanes = 0

    async def reach(self) -> None:
        """Answer that the coordinator is alive."""

    async def infer(self, task_key: TaskKey, fence: int, lanes: int, calls: list[Wire], seconds: float) -> list[Wire]:
        self._lanes += 1
        lane = self._lanes
        out = [asyncio.create_task(self._make(call)) for call in calls]
        self._out.update(out)
        await asyncio.wait(out)
        self._out.difference_update(out)
        aborted = wire.write_outcome(CallAborted("aborted"))
        return [wire.from_lane(aborted if made.cancelled() else made.result(), lane) for made in out]

    async def abort(self, task_key: TaskKey, fence: int) -> None:
        """Abort the calls in flight. A `deaf` coordinator raises instead, as if the RPC were lost."""
        if self._deaf:
            raise ConnectionError
        for made in self._out:
            made.cancel()

    async def close(self, fence: int) -> None:
        """Do nothing, because this coordinator has no state to clean up."""

    async def _make(self, call: Wire) -> Wire:
        try:
            return wire.write_outcome(await self._model.infer(wire.read_call(call)))
        except ModelError as error:
            return wire.write_outcome(error)


class WorkerBench:
    """One database, one model, and workers over them, in virtual time."""

    def __init__(self, **settings: Any) -> None:
        self.loop = Loop(max_steps=10_000_000)  # type: ignore[abstract]
        self.database = SqliteD1(now_ms=lambda: START_MS + round(self.loop.time() * 1000))
        self.store = task_store(Database(self.database, Meter()))
        self.model = Script()
        self.settings = Settings(plan="paid", **settings)
        self.lines: list[dict[str, Any]] = []
        self.latency = Latency()  # All workers run in one isolate.
        self.storage = StorageUse()
        self._nonces = 0

    def insert(self, chunks: int, reduce: Reduce = Reduce.CONCAT, **terms: Any) -> None:
        self.do(self.store.insert(new_task("task", chunks, reduce, START_MS, **terms), self.settings.lease_ms))

    def do(self, coroutine: Any) -> Any:
        return self.loop.run_until_complete(coroutine)

    def worker(self, **fields: Any) -> Worker:
        made: dict[str, Any] = {
            "provider": self.model,
            "settings": self.settings,
            "nonce": self._nonce,
            "log": Log(lambda line: self.lines.append(json.loads(line))),
            "latency": self.latency,
            "storage": self.storage,
        }
        return new_worker(self.database, **made | fields)

    def _nonce(self) -> str:
        self._nonces += 1
        return f"holder-{self._nonces}"

    def run(self, host: Host = HOST) -> RunOutcome:
        return self.do(self.worker().run(TaskKey("task"), host))

    def task(self) -> Task:
        return self.do(self.store.task(TaskKey("task")))

    @property
    def failure(self) -> Failure:
        found = self.task().failure
        assert found is not None
        return found

    def laned_host(self, *, deaf: bool = False, hint: Hint | None = None) -> Host:
        """Return an object's host with two lanes of six calls. `deaf` lanes never learn of the end."""
        coordinator = OneLaneEach(self.model, deaf=deaf)

        def caller_for(claim: Claim) -> LanedCaller:
            log = Log(lambda line: None)
            return LanedCaller(coordinator, claim, self.model, Meter(), lanes=2, group_size=6, log=log)

        return Host(Route.DURABLE_OBJECT, 3600.0, "object/task", caller_for, limits.LANE_SLACK_SECONDS, hint=hint)

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == name]

    def close(self) -> None:
        self.loop.close()
        self.database.close()
