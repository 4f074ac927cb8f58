"""The world: one simulated account with a Worker in it, whose whole course depends on one seed.

    world = World(seed, app, template, faults="swarm")
    result = world.run(scenario)      # scenario: async (world) -> anything
    world.trace_digest                # equal for equal seeds

A scenario runs outside the Worker: it sends requests with `world.fetch`, changes deployments, kills isolates, and reads
the database and the model's records directly. No fault strikes the scenario's own code.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from simulator.engine.errors import SimulationError
from simulator.engine.loop import Loop
from simulator.engine.turns import Turns
from simulator.platform.app import DeployedWorker, Env, Handlers, Platform, ScheduledController, WorkerContext
from simulator.platform.binding_port import Network, Port, entry_failure
from simulator.platform.choices import TOP, Deployment, Faults, Scheduling, make_plan, make_policy
from simulator.platform.invocation_limits import HANDLER_SECONDS_MOST, WAIT_UNTIL_SECONDS_MOST, InvocationLimits, Plan
from simulator.platform.isolate import InvocationEnd, Isolate, SimulatedInvocation
from simulator.platform.model import ModelProvider
from simulator.platform.object_instance import ObjectContext
from simulator.platform.queues import DeliveredBatch, QueueSettings
from simulator.platform.rate_limits import RateLimit
from simulator.platform.servers import Servers
from simulator.platform.shared_database import Sharing
from simulator.platform.sqlite_database import Template

EPOCH_MS = 1_790_000_000_000


class ClientError(Exception):
    """Raised when a client gets no reply. The client cannot know whether its request was carried out."""


# Events other than HTTP requests can fail at entry, before any code of the Worker runs (cloudflare/workerd 6624).
_DEAD = {"queue": "queue_dead", "scheduled": "cron_dead"}


async def _fails_at_entry(*_arguments: object) -> None:
    raise entry_failure()


class NotQuiet(SimulationError):
    """Raised when work continues although faults have stopped and the time for it is over."""


@dataclass(slots=True)
class _Slot:
    isolate: Isolate
    handlers: Handlers
    deployment: Deployment


class World:
    """A whole simulated account, whose course depends only on `seed` and the other arguments.

    `faults` is "none", "everything", "swarm", a dict of rates by kind, or a fault plan. `latency_seconds` scales the
    network's latencies; with 0 only the scheduler decides the order of events. `slots` is how many isolates take
    requests at a time. With `strict_gates=False` events may run between a storage operation and the code that awaited
    it: the documentation says otherwise, but this may happen on Python's own event loop. `limits` applies the limits of
    a plan to each invocation; `network.limits` then has what they spent and what was refused. `rate_limit` binds the
    limiter of requests. `sharing` is drawn from the seed if it is None and the fault `d1_shared` may strike.
    """

    isolate_memory_bytes: int | None = None  # What the buffers of an isolate may have; None for any number.

    def __init__(
        self,
        seed: int | str,
        app: DeployedWorker,
        template: Template,
        *,
        faults: Faults = "none",
        scheduling: Scheduling = "random",
        deployment: Deployment = TOP,
        variables: dict[str, str] | None = None,
        latency_seconds: float = 0.008,
        queue_settings: QueueSettings | None = None,
        model_seconds: tuple[float, float] = (0.1, 2.0),
        slots: int = 3,
        strict_gates: bool = True,
        limits: Plan | None = None,
        rate_limit: RateLimit | None = None,
        sharing: Sharing | None = None,
        keep_timeline: bool = False,
        max_steps: int = 1_000_000,
    ) -> None:
        self.seed = seed
        self.app = app
        self.deployment = deployment
        self.variables = variables or {}
        self.epoch_ms = EPOCH_MS
        self.faults = make_plan(faults, self._rng("faults"), keep_timeline=keep_timeline)
        self.loop = Loop(policy=make_policy(scheduling, self._rng("schedule")), max_steps=max_steps)  # type: ignore[abstract]
        self.faults.clock = self.loop.now
        self.loop.turns = Turns(self.faults, self._rng("turns"))
        self.network = Network(self.loop, self.faults, self._rng("latency"), scale_seconds=latency_seconds)
        if sharing is None and self.faults.tallies["d1_shared"].rate:
            sharing = Sharing.drawn(self._rng("shared database"))
        self.network.limits = InvocationLimits(limits) if limits is not None else None
        self.servers = Servers(
            self.network,
            self,
            template,
            self.now_ms,
            queue_settings=queue_settings,
            model_seconds=model_seconds,
            strict_gates=strict_gates,
            rate_limit=rate_limit,
            limiter_rng=self._rng("rate limiter"),
            sharing=sharing,
        )
        self.servers.consume_with(self._consume)
        self.database = self.servers.database
        self.model = self.servers.model
        self.queue, self.dlq = self.servers.queue, self.servers.dlq
        self.rate_limiter = self.servers.rate_limiter
        self.namespaces = self.servers.namespaces
        self.isolates: list[Isolate] = []
        self.invocations_started = 0
        self._slots: list[_Slot | None] = [None] * slots
        self._pick = self._rng("isolates").random
        self._births = 0
        self._cron_every: float | None = None
        self.deployed_at = -math.inf  # When the last deployment or restart of the world was (virtual seconds).
        self._closed = False

    # -- running ---------------------------------------------------------------------------------------

    def run[T](self, scenario: Callable[["World"], Awaitable[T]]) -> T:
        """Run a scenario to its end and close the world. Raises the error that the scenario or an observer raised."""

        async def main() -> T:
            return await scenario(self)

        try:
            result: T = self.loop.run(main())
        finally:
            self.close()
        return result

    def close(self) -> None:
        """Kill all isolates, close all coroutines, and give the database back."""
        if self._closed:
            return
        self._closed = True
        for isolate in self.isolates:
            isolate.kill()
        self.loop.close()
        self.database.close()

    @property
    def trace_digest(self) -> str:
        """The digest of all scheduling choices, times and database changes so far."""
        return self.loop.trace.digest()

    def now_ms(self) -> int:
        """Return the true time in milliseconds since the epoch. The clocks of isolates and the database may differ."""
        return self.epoch_ms + int(self.loop.now() * 1000)

    def _rng(self, stream: str) -> Random:
        return Random(f"{self.seed}/{stream}")

    # -- clients, cron, operators ----------------------------------------------------------------------

    async def fetch(self, request: Any) -> Any:
        """Send a request to a random isolate, and return the response. Raises ClientError if no response comes."""
        faults = self.faults
        if faults.fires("client_repeated", "client"):
            self._start("fetch", lambda handlers, ctx: handlers.fetch(request, ctx))
        invocation = self._start("fetch", lambda handlers, ctx: handlers.fetch(request, ctx))
        outcome: InvocationEnd = await invocation.outcome
        if outcome.kind == "raised":
            raise ClientError(f"the Worker threw {type(outcome.error).__name__}: {outcome.error}")
        if outcome.kind == "died" or faults.fires("client_reply_lost", "client"):
            raise ClientError("connection lost")
        return outcome.value

    def tick(self) -> SimulatedInvocation:
        """Fire the cron trigger once."""
        controller = ScheduledController("* * * * *", self.now_ms())
        return self._start("scheduled", lambda handlers, ctx: handlers.scheduled(controller, ctx))

    def start_cron(self, every_seconds: float = 60) -> None:
        """From now on, fire the cron trigger at this interval."""
        self._cron_every = every_seconds
        self.loop.call_later(every_seconds, self._cron, context=self.loop.outside)

    def _cron(self) -> None:
        if self._cron_every is not None:
            self.tick()
            self.loop.call_later(self._cron_every, self._cron, context=self.loop.outside)

    def deploy(self, deployment: Deployment, *, lose_queue: bool = False, kill: bool = False) -> None:
        """Put another deployment in place. Running invocations end on the old deployment, unless `kill` kills them.

        Objects restart with the new code. Messages stay in their queue, except with `lose_queue`, which imitates the
        local runtime's simulator of queues.
        """
        self.faults.record("operator", "deploys", deployment.name or "top level")
        self.deployment, self.deployed_at = deployment, self.loop.now()
        for at, slot in enumerate(self._slots):
            if slot is not None and kill:
                slot.isolate.kill()
            self._slots[at] = None
        self.servers.redeploy(lose_queue=lose_queue)

    def restart(self, *, lose_queue: bool = True) -> None:
        """Kill all isolates, as a SIGKILL of the local runtime does, and start again with the same stored data."""
        self.faults.record("operator", "kills all", "")
        for isolate in list(self.isolates):
            isolate.kill()
        self.deploy(self.deployment, lose_queue=lose_queue)

    def is_quiet(self) -> bool:
        """Whether no code runs, no message waits in a queue and no alarm is set. Cron may still fire."""
        self.isolates = [isolate for isolate in self.isolates if not isolate.dead]
        running = any(
            invocation.label != "constructor" for isolate in self.isolates for invocation in isolate.invocations
        )
        return not running and self.servers.is_quiet(self.deployment)

    async def quiet(self, within_seconds: float, *, look_every: float = 5.0) -> None:
        """Wait until the world is quiet. Raises NotQuiet if the world is not quiet within this many seconds."""
        deadline = self.loop.now() + within_seconds
        while not self.is_quiet():
            if self.loop.now() > deadline:
                raise NotQuiet(f"still busy after {within_seconds} s")
            await asyncio.sleep(look_every)

    # -- isolates --------------------------------------------------------------------------------------

    def _start(self, label: str, call: Callable[[Handlers, WorkerContext], Awaitable[Any]]) -> SimulatedInvocation:
        slot = self._slot()
        self.invocations_started += 1
        if label in _DEAD and self.faults.fires(_DEAD[label], slot.isolate.name):
            call = _fails_at_entry
        invocation = slot.isolate.start(label, call, slot.handlers, WorkerContext())
        invocation.outcome.add_done_callback(lambda _outcome: self._after_reply(invocation), context=self.loop.outside)
        return invocation

    def _after_reply(self, invocation: SimulatedInvocation) -> None:
        if invocation.ended():
            return
        cut = self.faults.fires("wait_until_cut", invocation.isolate.name)
        waits = invocation.label == "scheduled" or self.queue.settings.waits_for_background
        most = HANDLER_SECONDS_MOST if waits and invocation.label != "fetch" else WAIT_UNTIL_SECONDS_MOST
        seconds = self.faults.between(0, WAIT_UNTIL_SECONDS_MOST) if cut else most
        self.loop.call_later(seconds, _cut_short, invocation, context=self.loop.outside)

    def _slot(self) -> _Slot:
        at = int(self._pick() * len(self._slots))
        slot = self._slots[at]
        if slot is None or slot.isolate.dead:
            self._births += 1
            isolate = self._isolate(f"w{self._births}")
            slot = _Slot(isolate, self.app.make_isolate(self._env(isolate)), self.deployment)
            self._slots[at] = slot
        return slot

    def _isolate(self, name: str) -> Isolate:
        skewed = self.faults.fires("clock_skewed", name)
        skew_ms = self.faults.between(-120_000, 120_000) if skewed else 0.0
        assert self.loop.turns is not None
        clock = self.loop.turns.clock(name, self.epoch_ms, self.loop.now())
        isolate = Isolate(self.loop, name, epoch_ms=self.epoch_ms, skew_ms=skew_ms, clock=clock)
        isolate.memory_bytes = self.isolate_memory_bytes
        self.isolates.append(isolate)
        return isolate

    def _env(self, isolate: Isolate) -> Env:
        port = Port(isolate, self.network)
        platform = Platform(isolate, self._rng(isolate.name), ModelProvider(self.model, port))
        return Env(self.servers.bindings(self.deployment, port), self.variables, platform)

    def _consume(self, batch: DeliveredBatch) -> SimulatedInvocation | None:
        if not self.deployment.queue:
            return None
        return self._start("queue", lambda handlers, ctx: handlers.queue(batch, ctx))

    # -- the host of objects -------------------------------------------------------------------------------

    def has_objects(self) -> bool:
        """Whether the present deployment binds Durable Objects."""
        return self.deployment.objects

    def start_object(self, class_name: str, name: str) -> Isolate:
        """Return a new isolate for one instance of an object."""
        return self._isolate(name)

    def make_object(self, class_name: str, ctx: ObjectContext, isolate: Isolate) -> Any:
        """Return the Worker's own object for an instance, in the instance's isolate."""
        return self.app.make_object(class_name, ctx, self._env(isolate))


def _cut_short(invocation: SimulatedInvocation) -> None:
    if not invocation.ended():
        invocation.kill()
