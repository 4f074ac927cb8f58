"""Connects the Worker that `src/entry.py` exports to the simulated platform, and observes it."""

import asyncio
import copy
import json
from collections.abc import Callable
from typing import Any

from simulator.campaign.subject.arrivals import Arrival, ClientRequest, StreamedReply, Watcher, watched
from simulator.campaign.subject.receivers import Receivers, SimulatedCourier
from simulator.engine.chat import content_of
from simulator.platform.app import Env, ScheduledController, WorkerContext
from simulator.platform.object_instance import ObjectContext
from simulator.platform.queues import DeliveredBatch
from simulator.platform.streams import IdentityTransformStream
from src import entry
from src.kernel.api.base.messages import Reply
from src.kernel.api.base.services import RequestMemory
from src.kernel.calls.protocol import HttpClient
from src.kernel.calls.wire import Wire
from src.kernel.domain import limits
from src.kernel.domain.ids import TaskKey
from src.kernel.run.invocation import Courier
from src.platform.surroundings import SURROUNDINGS, Surroundings

# Log events that name the type of an error that only the Worker's last handler caught.
MISTAKES = (
    '"event":"run_failed"',
    '"event":"slice_failed"',
    '"event":"unexpected"',
    '"event":"database_error"',
    '"event":"delivery_failed"',
)
# The Worker may log errors of the types in `FORGIVEN`, because the database or a binding causes them. With hundreds of
# tasks a full database refuses even claims.
FORGIVEN = ("StoreUnavailable", "StoreSilent", "StoreFull", "JsError")


class SimulatedRuntime:
    """The simulated platform as a `composition.Runtime`.

    The runtime passes each line of the Worker's log to the app, and collects the Worker's mistakes in the app.
    """

    http: HttpClient
    courier: Courier

    def __init__(self, env: Env, app: "Onceover") -> None:
        platform = env.platform
        self.now_ms = platform.now_ms
        self.entropy = platform.entropy
        self.chance = platform.random.random
        self.courier = SimulatedCourier(env, lambda: app.receivers)
        self._log = platform.log
        self._app = app

    def write(self, line: str) -> None:
        """Write one line of the Worker's log, and add it to the app's mistakes if only a bug explains its error."""
        self._log(line)
        self._app.hears(line)
        if any(mark in line for mark in MISTAKES) and json.loads(line)["error"] not in FORGIVEN:
            self._app.mistakes.append(line)


class WatchedCoordinators:
    """The binding `BATCH_COORDINATOR` for a task's host, and the stub of the task's coordinator."""

    def __init__(self, coordinators: Any, app: "Onceover") -> None:
        self._coordinators = coordinators
        self._app = app

    def getByName(self, name: str) -> "WatchedCoordinators":  # noqa: N802 - the platform's name
        """Return the stub of the coordinator of that name."""
        return WatchedCoordinators(self._coordinators.getByName(name), self._app)

    async def reach(self) -> Any:
        """Ask the coordinator for a sign of life."""
        return await self._coordinators.reach()

    async def infer(self, task_key: TaskKey, fence: int, lanes: int, calls: list[Wire], seconds: float) -> Any:
        """Let lanes make calls, and report outputs to the app that come before the host stops waiting."""
        loop = asyncio.get_running_loop()
        patient_until = loop.time() + seconds + limits.LANE_SLACK_SECONDS
        answers = await self._coordinators.infer(task_key, fence, lanes, calls, seconds)
        if loop.time() < patient_until:
            self._app.lane_answered(task_key, [_output(answer) for answer in answers if "output" in answer])
        return answers

    async def abort(self, task_key: TaskKey, fence: int) -> Any:
        """Make the task's lanes abort their calls."""
        return await self._coordinators.abort(task_key, fence)

    async def close(self, fence: int) -> Any:
        """Make the coordinator forget everything."""
        return await self._coordinators.close(fence)


class Onceover:
    """The Worker as the simulated platform's app. `mistakes` has the log lines of errors that only a bug explains.

    `hears` is called with each log line, and `lane_answered` with the outputs that lanes returned to a host in time.
    """

    watcher: Watcher
    receivers: Receivers | None = None

    def __init__(self) -> None:
        self.mistakes: list[str] = []
        self.hears: Callable[[str], None] = lambda _line: None
        self.lane_answered: Callable[[TaskKey, list[str]], None] = lambda _task_key, _outputs: None

    def make_isolate(self, env: Env) -> "WorkerIsolate":
        """Return the Worker's handlers in a new isolate."""
        return WorkerIsolate(env, self)

    def make_object(self, class_name: str, ctx: ObjectContext, env: Env) -> Any:
        """Return an instance of a Durable Object class, found by its name in `src/entry.py` as on the platform."""
        SURROUNDINGS.set(self.surroundings(env))
        return getattr(entry, class_name)(ctx, _with_watched_lanes(env, self))

    def surroundings(self, env: Env) -> Surroundings:
        """Return the services that one isolate provides to the Worker's code."""
        return Surroundings(runtime=SimulatedRuntime(env, self), memory=RequestMemory(), provider=env.platform.provider)


class WorkerIsolate:
    """The Worker's handlers in one isolate. As on the platform, each invocation gets its own `entry.Default`."""

    def __init__(self, env: Env, app: Onceover) -> None:
        self._env = env
        self._app = app
        self._surroundings = app.surroundings(env)

    async def fetch(self, request: ClientRequest, ctx: WorkerContext) -> Reply:
        """Answer one HTTP request."""
        watcher = self._app.watcher
        arrival = Arrival(request, watcher)
        watcher.arrived(arrival)
        response = await self._worker(watched(self._env, arrival, watcher), ctx).fetch(arrival.request())
        if isinstance(response.body, IdentityTransformStream):
            streamed = StreamedReply(response.status, headers=response.headers, stream=response.body)
            watcher.answered(arrival, streamed)
            return streamed
        reply = Reply(response.status, await response.text(), response.headers)
        watcher.answered(arrival, reply)
        return reply

    async def queue(self, batch: DeliveredBatch, ctx: WorkerContext) -> None:
        """Handle the messages of one batch."""
        await self._worker(_with_watched_lanes(self._env, self._app), ctx).queue(batch)

    async def scheduled(self, controller: ScheduledController, ctx: WorkerContext) -> None:
        """Handle a cron trigger."""
        await self._worker(self._env, ctx).scheduled(controller)

    def _worker(self, env: Env, ctx: WorkerContext) -> Any:  # The stand-ins for the SDK do not have its types.
        SURROUNDINGS.set(self._surroundings)
        return entry.Default(ctx, env)


def _with_watched_lanes(env: Env, app: Onceover) -> Env:
    """Return an isolate's `env` with watched lanes, for an object or a queue's consumer that works on tasks."""
    if not env.has("BATCH_COORDINATOR"):
        return env
    seen = copy.copy(env)
    vars(seen).update(BATCH_COORDINATOR=WatchedCoordinators(env.BATCH_COORDINATOR, app))
    return seen


def _output(answer: Wire) -> str:
    """Return the model's output in an answer of a lane. A line of a batch gets the model's whole answer."""
    return content_of(json.loads(str(answer["answer"]))) if "answer" in answer else str(answer["output"])
