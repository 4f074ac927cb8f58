"""The interface between a Worker and the simulated platform: what the Worker must provide, and what it receives.

An adapter implements `DeployedWorker`. The world calls `make_isolate(env)` once for each isolate and keeps the
handlers. The world calls `make_object(class_name, ctx, env)` for each instance of a Durable Object, which has its own
isolate and `env`. Objects that the adapter builds must not be shared by two `env`s, because each `env` belongs to
another process.

`env` has the deployment's bindings under their names (`DB`; `AI_QUEUE`, `AI_DLQ`; `AI_PROCESSOR`,
`BATCH_COORDINATOR`; `RATE_LIMITER`; `BLOBS`), the variables as strings, and `env.platform`: clock, randomness and model
for the adapter's runtime. To read a name that is not bound raises AttributeError, so use `getattr(env, name, None)` or
`env.has(name)`.

Binding calls take effect when they are called, not when they are awaited, and raise `JsError`. Code in an isolate may
use all of asyncio, but it may await only its bindings, `platform.sleep` and its own tasks.
"""

import asyncio
from collections.abc import Awaitable
from random import Random
from typing import Any, Protocol

from simulator.engine.scope import SCOPE
from simulator.platform.isolate import Isolate, SimulatedInvocation
from simulator.platform.model import ModelProvider
from simulator.platform.object_instance import ObjectContext
from simulator.platform.queues import DeliveredBatch


class Platform:
    """A stand-in for JavaScript's globals in an isolate."""

    def __init__(self, isolate: Isolate, rng: Random, provider: ModelProvider) -> None:
        self.isolate = isolate
        self.random = rng
        self.provider = provider
        self.now_ms = isolate.now_ms  # The isolate's wall clock in ms, which may be wrong and may jump.
        self.monotonic = isolate.monotonic  # The isolate's steady clock in seconds, for durations.
        self.sleep = asyncio.sleep
        self.logs: list[str] = []

    def entropy(self, count: int) -> bytes:
        """Return random bytes, for ids."""
        return self.random.randbytes(count)

    def log(self, line: str) -> None:
        """Keep a log line. At most the last 200 lines are kept, for failure reports."""
        self.logs.append(line)
        if len(self.logs) > 200:
            del self.logs[:100]


class Env:
    """The Worker's `env` in one isolate."""

    platform: Platform

    def __init__(self, bindings: dict[str, Any], variables: dict[str, str], platform: Platform) -> None:
        self.__dict__.update(variables)
        self.__dict__.update(bindings)
        self.platform = platform

    def has(self, name: str) -> bool:
        """Whether a binding or variable of the given name exists."""
        return name in self.__dict__

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"no binding or variable {name}")


class WorkerContext:
    """The `ctx` of a Worker's invocation."""

    def waitUntil(self, awaitable: Awaitable[Any]) -> None:  # noqa: N802 - the platform's name
        """Continue `awaitable` after the handler has returned, for 30 s at most."""
        invocation = SCOPE.get()
        assert isinstance(invocation, SimulatedInvocation), "waitUntil outside an invocation"
        invocation.wait_until(awaitable)


class ScheduledController:
    """The argument that a cron trigger passes to its handler."""

    def __init__(self, cron: str, scheduled_ms: int) -> None:
        self.cron = cron
        self.scheduledTime = scheduled_ms


class Handlers(Protocol):
    """The Worker's handlers in one isolate."""

    async def fetch(self, request: Any, ctx: WorkerContext) -> Any:
        """Answer a request. The adapter and its clients choose the types of requests and answers."""
        ...

    async def queue(self, batch: DeliveredBatch, ctx: WorkerContext) -> None:
        """Consume a batch of messages of the main queue or the dead-letter queue:

        The attribute `batch.queue` is the queue's name.
        """
        ...

    async def scheduled(self, controller: ScheduledController, ctx: WorkerContext) -> None:
        """Handle a cron trigger."""
        ...


class DeployedWorker(Protocol):
    """A Worker that can be simulated."""

    def make_isolate(self, env: Env) -> Handlers:
        """Return the handlers of a new isolate."""
        ...

    def make_object(self, class_name: str, ctx: ObjectContext, env: Env) -> Any:
        """Return an instance of a Durable Object class.

        Stubs can call the instance's methods, and the platform calls `alarm(info)`.
        """
        ...
