"""The Worker's own code, plugged into the simulated platform just as `src/entry.py` plugs it into the real one."""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from simulator.engine.scope import SCOPE
from simulator.platform.app import Env, ScheduledController, WorkerContext
from simulator.platform.binding_port import Pending
from simulator.platform.d1 import Database, Statement
from simulator.platform.isolate import Invocation
from simulator.platform.object_instance import ObjectContext
from simulator.platform.queues import Batch
from src.composition import App, Bindings
from src.http.isolate import Isolate
from src.http.ports import BodyTooLarge, Reply
from src.http.router import handle
from src.inference.protocol import HttpClient
from src.inference.wire import Wire
from src.objects.ai_processor import Processor
from src.objects.batch_coordinator import Coordinator
from src.objects.lane import infer_all
from src.platform.bindings import BoundRateLimiter
from src.processing.log import Log
from src.processing.worker import Worker

# Events that carry the type of an error which the Worker caught as a last resort.
MISTAKES = ('"event":"run_failed"', '"event":"slice_failed"', '"event":"unexpected"', '"event":"database_error"')
FORGIVEN = ("StoreUnavailable", "JsError")


class SimulatedRuntime:
    """`composition.Runtime` over the simulated platform. `mistakes` collects what must never be logged."""

    http: HttpClient

    def __init__(self, env: Env, mistakes: list[str]) -> None:
        platform = env.platform
        self.now_ms = platform.now_ms
        self.entropy = platform.entropy
        self.chance = platform.random.random
        self._log = platform.log
        self._mistakes = mistakes

    def write(self, line: str) -> None:
        """Take one line of log."""
        self._log(line)
        if any(mark in line for mark in MISTAKES) and json.loads(line)["error"] not in FORGIVEN:
            self._mistakes.append(line)


class ClientRequest:
    """An HTTP request. `body` is asked for each time the request arrives, so that a repeated one can be told apart."""

    def __init__(
        self,
        method: str,
        path: str,
        body: Callable[[], dict[str, Any]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.headers = headers or {}
        self.method = method
        self.url = f"http://onceover{path}"
        self._body = body

    async def read(self, most: int) -> bytes:
        """Give the body; it arrives in one piece."""
        raw = b"" if self._body is None else json.dumps(self._body()).encode()
        if len(raw) > most:
            raise BodyTooLarge
        return raw


class Arrival:
    """A request as it arrived once, with the body that was read of it. `retries`: see `Watch.arrived`.

    Where the limiter of requests is bound, `asked_at` is when it was asked (seconds), `allowed` what it said in time,
    and `sent` what went to D1 so far, the statements of each call.
    """

    retries = 0
    asked_at: float | None = None
    allowed: bool | None = None

    def __init__(self, request: ClientRequest, watcher: "Watcher") -> None:
        self.method, self.url, self.headers = request.method, request.url, request.headers
        self.body: dict[str, Any] = {}
        self.sent: list[list[str]] = []
        self._request = request
        self._watcher = watcher

    @property
    def calls(self) -> int:
        """How many calls its invocation has made."""
        invocation = SCOPE.get()
        assert isinstance(invocation, Invocation)
        return invocation.calls

    async def read(self, most: int) -> bytes:
        """Read the request's body."""
        raw = await self._request.read(most)
        self.body = json.loads(raw)
        self._watcher.read(self)
        return raw


class Watcher(Protocol):
    """Sees each request as it arrives and each answer as the Worker gives it, whatever becomes of it on its way."""

    def arrived(self, arrival: Arrival) -> None:
        """Note a request."""
        ...

    def read(self, arrival: Arrival) -> None:
        """Note that its body was read."""
        ...

    def counting(self, arrival: Arrival) -> None:
        """Note that the limiter of requests is asked."""
        ...

    def answered(self, arrival: Arrival, reply: Reply) -> None:
        """Judge an answer."""
        ...


class WatchedRateLimiter(BoundRateLimiter):
    """The Worker's own limiter, for one request."""

    def __init__(self, binding: Any, arrival: Arrival, watcher: Watcher) -> None:
        super().__init__(binding)
        self._arrival = arrival
        self._watcher = watcher

    async def allows(self, key: str) -> bool:
        """Count the request."""
        self._watcher.counting(self._arrival)
        allowed = self._arrival.allowed = await super().allows(key)
        return allowed


class WatchedDatabase(Database):
    """The binding `DB`, for one request."""

    def __init__(self, database: Database, arrival: Arrival) -> None:
        super().__init__(database._server, database._port)
        self._sent = arrival.sent

    def send(self, label: str, statements: list[Statement], shape: Callable[[Any], Any]) -> Pending:
        """Send statements as one call."""
        self._sent.append([statement.sql for statement in statements])
        return super().send(label, statements, shape)


class Onceover:
    """The app. `mistakes` holds log lines of errors that nothing outside the Worker explains."""

    watcher: Watcher

    def __init__(self) -> None:
        self.mistakes: list[str] = []

    def make_isolate(self, env: Env) -> "Default":
        """The Worker's handlers in a new isolate."""
        return Default(env, self)

    def make_object(self, class_name: str, ctx: ObjectContext, env: Env) -> Any:
        """An instance of one of the two Durable Object classes."""
        return {"AIProcessor": AIProcessor, "BatchCoordinator": BatchCoordinator}[class_name](ctx, env, self.mistakes)


def _app(
    env: Env,
    mistakes: list[str],
    wait_until: Callable[[Awaitable[None]], None],
    isolate: Isolate,
    rate_limiter: WatchedRateLimiter | None = None,
    database: Database | None = None,
) -> App:
    def get(name: str) -> Any:
        return getattr(env, name, None)

    bindings = Bindings(
        database=database or env.DB,
        queue=get("AI_QUEUE"),
        dead_letters=get("AI_DLQ"),
        processors=get("AI_PROCESSOR"),
        coordinators=get("BATCH_COORDINATOR"),
        rate_limiter=rate_limiter,
    )
    return App(bindings, get, SimulatedRuntime(env, mistakes), wait_until, isolate, env.platform.provider)


class Default:
    """`entry.Default`: parts are made anew for each invocation."""

    def __init__(self, env: Env, app: Onceover) -> None:
        self._env = env
        self._onceover = app
        self._mistakes = app.mistakes
        self._isolate = Isolate()

    async def fetch(self, request: ClientRequest, ctx: WorkerContext) -> Reply:
        """Answer one HTTP request."""
        watcher = self._onceover.watcher
        arrival = Arrival(request, watcher)
        watcher.arrived(arrival)
        env, limiter, database = self._env, None, None
        if env.has("RATE_LIMITER"):
            limiter = WatchedRateLimiter(env.RATE_LIMITER, arrival, watcher)
            database = WatchedDatabase(env.DB, arrival)
        app = _app(env, self._mistakes, ctx.waitUntil, self._isolate, limiter, database)
        reply = await handle(arrival, app.api())
        watcher.answered(arrival, reply)
        return reply

    async def queue(self, batch: Batch, ctx: WorkerContext) -> None:
        """Handle the messages of one batch."""
        await _app(self._env, self._mistakes, ctx.waitUntil, self._isolate).queue(batch)

    async def scheduled(self, controller: ScheduledController, ctx: WorkerContext) -> None:
        """Handle a cron trigger."""
        await _app(self._env, self._mistakes, ctx.waitUntil, self._isolate).scheduled()


class AIProcessor:
    """`entry.AIProcessor`."""

    def __init__(self, ctx: ObjectContext, env: Env, mistakes: list[str]) -> None:
        self._ctx = ctx
        self._env = env
        self._mistakes = mistakes
        self._isolate = Isolate()
        runtime = SimulatedRuntime(env, mistakes)
        coordinators = getattr(env, "BATCH_COORDINATOR", None)
        self._processor = Processor(ctx.storage, self._worker, coordinators, runtime.now_ms, Log(runtime.write))

    async def start(self, task_key: str, delay_seconds: float) -> None:
        """Take on a task."""
        await self._processor.start(task_key, delay_seconds)

    async def infer(self, task_key: str, fence: int, calls: list[Wire]) -> list[Wire]:
        """Make a group of calls as a lane."""
        return await infer_all(self._worker(), task_key, fence, calls)

    async def alarm(self, info: Any = None) -> None:
        """Work one slice."""
        await self._processor.alarm()

    def _worker(self) -> Worker:
        return _app(self._env, self._mistakes, self._ctx.waitUntil, self._isolate).worker()


class BatchCoordinator:
    """`entry.BatchCoordinator`."""

    def __init__(self, ctx: ObjectContext, env: Env, mistakes: list[str]) -> None:
        runtime = SimulatedRuntime(env, mistakes)
        self._coordinator = Coordinator(ctx.storage, env.AI_PROCESSOR, runtime.now_ms, Log(runtime.write))

    async def infer(self, task_key: str, fence: int, lanes: int, calls: list[Wire], seconds: float) -> list[Wire]:
        """Have a lane make a group of calls."""
        return await self._coordinator.infer(task_key, fence, lanes, calls, seconds)

    async def close(self) -> None:
        """Forget everything."""
        await self._coordinator.close()

    async def alarm(self, info: Any = None) -> None:
        """Clean up."""
        await self._coordinator.alarm()
