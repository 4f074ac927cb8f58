"""Puts the parts together for one invocation. The Worker and the simulation both start here."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from .core import limits, settings
from .core.meter import Meter
from .core.settings import Settings, Variables
from .core.task import Route
from .http.isolate import Isolate
from .http.ports import Api, Bound, DayUse, RateLimiter
from .inference.demo import DemoProvider
from .inference.openai import OpenAIProvider
from .inference.protocol import HttpClient, Provider
from .inference.workers_ai import AiBinding, WorkersAIProvider
from .objects.lanes import Coordinators
from .objects.sender import ObjectSender, Processors
from .processing.direct import DirectSender
from .processing.dispatch import Dispatcher, Sender
from .processing.events import Log
from .processing.submission import Submission
from .processing.sweep import sweep
from .processing.worker import Host, Worker
from .queue.consumer import consume
from .queue.dead_letter import bury
from .queue.messages import DEAD_LETTERS, Batch
from .queue.producer import Queue, QueueSender
from .store.claims import Due
from .store.database import D1, Database
from .store.keys import KeyStore
from .store.tasks import TaskStore

WaitUntil = Callable[[Awaitable[None]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bindings:
    """What the deployment has bound; None for what it has not."""

    database: D1
    queue: Queue | None = None
    dead_letters: object | None = None
    processors: Processors | None = None
    coordinators: Coordinators | None = None
    ai: AiBinding | None = None
    day_use: DayUse | None = None
    rate_limiter: RateLimiter | None = None


class Runtime(Protocol):
    """Clock, randomness, terminal and network of the isolate."""

    http: HttpClient

    def now_ms(self) -> int:
        """Return the isolate's time, milliseconds since the epoch."""
        ...

    def entropy(self, size: int) -> bytes:
        """Return random bytes of a cryptographic source, fit for ids and keys."""
        ...

    def chance(self) -> float:
        """Return a random number from 0 to 1."""
        ...

    def write(self, line: str) -> None:
        """Write one line of log."""
        ...


class App:
    """One invocation's parts; `isolate` outlives it. Making it raises ConfigurationError for a bad variable."""

    def __init__(
        self,
        bindings: Bindings,
        variables: Variables,
        runtime: Runtime,
        wait_until: WaitUntil,
        isolate: Isolate,
        provider: Provider | None = None,
    ) -> None:
        self._bindings = bindings
        self._runtime = runtime
        self._wait_until = wait_until
        self._isolate = isolate
        self.meter = Meter()
        self.log = Log(runtime.write)
        self.settings = settings.load(variables)
        self._database = Database(bindings.database, self.meter)
        self.store = TaskStore(self._database)
        self.provider = provider or _provider(self.settings, bindings, runtime)

    def worker(self) -> Worker:
        """Make the task actor's behaviour."""
        return Worker(
            store=self.store,
            provider=self.provider,
            settings=self.settings,
            meter=self.meter,
            chance=self._runtime.chance,
            nonce=lambda: self._runtime.entropy(12).hex(),
            log=self.log,
        )

    def dispatcher(self) -> Dispatcher:
        """Make the dispatcher over the routes that are bound, in the order of preference."""
        host = Host(Route.DIRECT, limits.DIRECT_SLICE_SECONDS)
        return self._dispatcher(DirectSender(self.worker(), host, self._wait_until))

    def _dispatcher(self, direct: DirectSender) -> Dispatcher:
        senders: list[Sender] = []
        if self._bindings.queue is not None:
            senders.append(QueueSender(self._bindings.queue))
        if self._bindings.processors is not None:
            senders.append(ObjectSender(self._bindings.processors))
        return Dispatcher([*senders, direct], self.meter, self.log)

    def api(self) -> Api:
        """Make what the HTTP layer uses."""
        dispatcher = self.dispatcher()
        return Api(
            settings=self.settings,
            store=self.store,
            keys=KeyStore(self._database),
            isolate=self._isolate,
            submission=Submission(
                store=self.store,
                dispatcher=dispatcher,
                settings=self.settings,
                now_ms=self._runtime.now_ms,
                entropy=self._runtime.entropy,
                meter=self.meter,
                log=self.log,
            ),
            dispatcher=dispatcher,
            provider=self.provider,
            bound=bound(self._bindings),
            now_ms=self._runtime.now_ms,
            entropy=self._runtime.entropy,
            log=self.log,
            day_use=self._bindings.day_use,
            rate_limiter=self._bindings.rate_limiter,
        )

    async def queue(self, batch: Batch) -> None:
        """Handle a batch of either queue."""
        if batch.queue == DEAD_LETTERS:
            await bury(batch, self.store, self.settings, self.log)
            return
        host = Host(Route.QUEUE, limits.QUEUE_SLICE_SECONDS)
        await consume(batch, self.worker(), self.dispatcher(), host, self.log)

    async def scheduled(self) -> None:
        """Sweep. Where runs are direct ones, do them here, one after the other, as long as the allowance lasts."""
        dispatcher = self.dispatcher()
        if dispatcher.first_route is Route.DIRECT:
            await self._sweep_and_run()
            return
        due = await self.store.due(limits.SWEEP_TASKS_MOST)
        if not due.empty:
            await sweep(self.store, dispatcher, self.settings, self.log, due)

    async def _sweep_and_run(self) -> None:
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + limits.SWEEP_SLICE_SECONDS
        parts: list[Due] = []
        while self._may_run(ends_at - loop.time()):
            parts = parts or (await self.store.due(limits.SWEEP_TASKS_MOST, served=1)).parts()
            if not parts:
                return
            # One task by one: what this run has no time for must not count as dispatched.
            runs: list[Awaitable[None]] = []
            direct = DirectSender(self.worker(), Host(Route.DIRECT, ends_at - loop.time()), runs.append)
            await sweep(self.store, self._dispatcher(direct), self.settings, self.log, parts.pop(0))
            for run in runs:
                await run

    def _may_run(self, seconds_left: float) -> bool:
        left = self.settings.subrequests - self.meter.subrequests
        statements = self.settings.statements - self.meter.statements
        return seconds_left > 0 and min(left, statements) >= limits.SWEEP_RUN_LEAST


def bound(bindings: Bindings) -> Bound:
    """Say which bindings there are."""
    return Bound(
        queue=bindings.queue is not None,
        dead_letter_queue=bindings.dead_letters is not None,
        objects=bindings.processors is not None and bindings.coordinators is not None,
    )


def _provider(settings: Settings, bindings: Bindings, runtime: Runtime) -> Provider:
    match settings.provider:
        case "demo":
            return DemoProvider()
        case "openai":
            assert settings.base_url is not None
            return OpenAIProvider(
                runtime.http,
                base_url=settings.base_url,
                api_key=settings.api_key,
                model=settings.model,
                timeout_seconds=settings.timeout_seconds,
            )
        case _:
            return WorkersAIProvider(bindings.ai, model=settings.model, timeout_seconds=settings.timeout_seconds)
