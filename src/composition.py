"""Makes the parts of the application for one invocation. The Worker and the simulation both use `composition`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from .features import FEATURES, NewTaskFields
from .kernel.api.base.services import Api, BoundRoutes, DayUse, RateLimiter, RequestMemory
from .kernel.api.router import Catalogue
from .kernel.calls.openai import OpenAIProvider
from .kernel.calls.protocol import HttpClient, Provider
from .kernel.calls.workers_ai import AiBinding, WorkersAIProvider
from .kernel.domain import limits
from .kernel.domain.meter import Meter
from .kernel.domain.settings import Settings
from .kernel.domain.task import Route
from .kernel.feature import KindApi
from .kernel.run.allowance import slice_seconds
from .kernel.run.invocation import Courier, Invocation, WaitUntil
from .kernel.run.log import Log
from .kernel.store.d1 import D1, Database
from .kernel.store.hooks import EndHook, Hooks
from .kernel.store.keys import KeyStore
from .kernel.work.dispatch import DirectSender, Dispatcher, Sender
from .kernel.work.rescue import Rescue
from .kernel.work.submission import Submission
from .kernel.work.sweep.duty import Duty
from .kernel.work.sweep.on_request import SweepOnRequest
from .kernel.work.sweep.sweep import Sweep
from .kernel.work.worker import Worker
from .objects.laned_caller import Lanes
from .objects.sender import ObjectSender, ObjectTeller, slots_of
from .objects.stubs import Coordinators, Processors
from .queue.consumer import consume
from .queue.dead_letter import bury
from .queue.messages import DEAD_LETTERS, Queue, QueueBatch, QueueSender

if TYPE_CHECKING:
    from .features.files.blobs.r2 import R2
    from .kernel.work.sweep.resuming import Resuming

CATALOGUE: Final = Catalogue((group for feature in FEATURES for group in feature.groups), NewTaskFields)
ENDS: Final = tuple(feature.ends for feature in FEATURES if feature.ends is not None)
KINDS: Final = dict(feature.kind for feature in FEATURES if feature.kind is not None)
PROMPTS: Final = tuple(feature.prompt for feature in FEATURES if feature.prompt is not None)
RULES: Final = tuple(feature.rule for feature in FEATURES if feature.rule is not None)
FIRST_MOST: Final = next((feature.first_most for feature in FEATURES if feature.first_most is not None), None)
GATE: Final = next((feature.gate for feature in FEATURES if feature.gate is not None), None)
JOINER_OF: Final = next((feature.joiner_of for feature in FEATURES if feature.joiner_of is not None), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bindings:
    """The deployment's bindings. The field of a binding that the deployment lacks is None."""

    database: D1
    queue: Queue | None = None
    dead_letters: object | None = None
    processors: Processors | None = None
    coordinators: Coordinators | None = None
    ai: AiBinding | None = None
    day_use: DayUse | None = None
    rate_limiter: RateLimiter | None = None
    courier: Courier | None = None
    blobs: "R2 | None" = None


class Runtime(Protocol):
    """The isolate's clock, randomness, log output and network, which the platform or the simulation provides."""

    courier: Courier

    @property
    def http(self) -> HttpClient:
        """Return the HTTP client for the model providers of one invocation."""
        ...

    def now_ms(self) -> int:
        """Return the isolate's time, milliseconds since the epoch."""
        ...

    def entropy(self, size: int) -> bytes:
        """Return random bytes of a cryptographic source, which are good enough for ids and secrets."""
        ...

    def chance(self) -> float:
        """Return a random number from 0 to 1."""
        ...

    def write(self, line: str) -> None:
        """Write one line of log."""
        ...


class App:
    """The parts of the application made for one invocation. `isolate` is the memory that outlives it."""

    def __init__(
        self,
        bindings: Bindings,
        settings: Settings,
        runtime: Runtime,
        wait_until: WaitUntil,
        isolate: RequestMemory,
        provider: Provider | None = None,
    ) -> None:
        self._bindings = bindings
        self._runtime = runtime
        self._wait_until = wait_until
        self._isolate = isolate
        self.meter = Meter()
        self.log = Log(runtime.write)
        self.settings = settings
        self.provider = provider or _provider(self.settings, bindings, runtime)
        ends: list[EndHook] = []
        self.worker = Worker(
            database=Database(bindings.database, self.meter, load=isolate.load, storage=isolate.storage),
            settings=settings,
            meter=self.meter,
            chance=runtime.chance,
            nonce=lambda: runtime.entropy(12).hex(),
            log=self.log,
            isolate=isolate,
            courier=bindings.courier or runtime.courier,
            bucket=partial(_bucket, bindings.blobs, self.meter),
            wait_until=wait_until,
            provider=self.provider,
            hooks=Hooks(ends, JOINER_OF),
            kinds=KINDS,
            rules=RULES,
            prompts=PROMPTS,
            gate=GATE,
        )
        ends.extend(make()(self.worker) for make in ENDS)
        self.store = self.worker.store

    def _seconds_after_answer(self) -> float:
        return slice_seconds(self.settings, limits.DIRECT_SLICE_SECONDS, limits.DIRECT_WALL_SECONDS)

    def _dispatcher(self, direct_seconds: float) -> Dispatcher:
        """Make the dispatcher over the deployment's routes, in their order: queue, object, direct."""
        direct = DirectSender(self.worker, lambda: direct_seconds, lambda run: self._wait_until(run()))
        return Dispatcher([*self._senders(), direct], self.meter, self.log)

    def _senders(self) -> list[Sender]:
        queue, processors = self._bindings.queue, self._bindings.processors
        senders: list[Sender] = [] if queue is None else [QueueSender(queue)]
        if processors is not None:
            senders.append(ObjectSender(processors, slots_of(self.worker, processors)))
        return senders

    def api(self) -> Api:
        """Make the services that the API's handlers use."""
        dispatcher = self._dispatcher(self._seconds_after_answer())
        objects = ObjectTeller(self._bindings.processors, self.meter, self.log)
        database = Database(
            self._bindings.database,
            self.meter,
            seconds=limits.STORE_SECONDS_OF_REQUEST,
            load=self._isolate.load,
            storage=self._isolate.storage,
        )
        invocation = self.worker.over(database)
        return Api(
            invocation=invocation,
            settings=self.settings,
            store=invocation.store,
            keys=KeyStore(database),
            kind_apis=kind_apis,
            isolate=self._isolate,
            submission=Submission(
                store=invocation.store,
                dispatcher=dispatcher,
                settings=self.settings,
                now_ms=self._runtime.now_ms,
                entropy=self._runtime.entropy,
                kinds=KINDS,
                first_most=FIRST_MOST and partial(FIRST_MOST, self.settings, self.provider.default_model),
                meter=self.meter,
                storage=self._isolate.storage,
                log=self.log,
                after_answer=self._wait_until,
            ),
            dispatcher=dispatcher,
            rescue=self._rescue(dispatcher),
            sweeps=self._sweeps(),
            tell_object=objects.tell,
            hear_object=objects.hear,
            provider=self.provider,
            bound=bound(self._bindings),
            now_ms=self._runtime.now_ms,
            entropy=self._runtime.entropy,
            meter=self.meter,
            log=self.log,
            day_use=self._bindings.day_use,
            rate_limiter=self._bindings.rate_limiter,
        )

    def _rescue(self, all_routes: Dispatcher) -> Rescue:
        senders = self._senders()
        routes = Dispatcher(senders, self.meter, self.log) if senders else None
        return Rescue(self.worker, routes, all_routes if self._seconds_after_answer() > 0 else routes, self._wait_until)

    def _sweeps(self) -> SweepOnRequest:
        """Make a request's sweeps: after its answer none if it could neither dispatch tasks nor work on one."""
        after_seconds = max(0.0, self._seconds_after_answer())
        senders = self._senders()
        return SweepOnRequest(
            store=self.store,
            heartbeats=self._isolate.heartbeats,
            asked=lambda: Sweep(
                self.worker, senders, duties(self.worker), seconds=limits.ASKED_SWEEP_SECONDS, stands_in=True
            ),
            resuming=self._resuming,
            after_answer=(
                (lambda: Sweep(self.worker, senders, duties(self.worker), seconds=after_seconds, alone=False))
                if senders or after_seconds
                else None
            ),
            wait_until=self._wait_until,
            log=self.log,
        )

    def _resuming(self) -> "Resuming":
        from .kernel.work.sweep.resuming import Resuming  # noqa: PLC0415 - few isolates ever need it

        return Resuming(self.worker, self._dispatcher(limits.PROBE_SLICE_SECONDS))

    async def queue(self, batch: QueueBatch) -> None:
        """Handle a batch of messages of the task queue or of the dead-letter queue."""
        if batch.queue == DEAD_LETTERS:
            await bury(batch, self.store, self.settings, self.log)
            self.worker.begin_after_ends()
            return
        bindings, worker = self._bindings, self.worker
        lanes = Lanes(None if bindings.processors is None else bindings.coordinators, self.log)
        host = lanes.host(worker, Route.QUEUE, limits.QUEUE_SLICE_SECONDS, limits.QUEUE_WALL_SECONDS)
        # If no other route continues the task, it does not run in this invocation, whose allowance is spent.
        await consume(batch, worker, self._dispatcher(0.0), host, partial(lanes.close, meter=self.meter), self.log)

    async def scheduled(self) -> None:
        """Handle a cron trigger by running a sweep."""
        await Sweep(self.worker, self._senders(), duties(self.worker)).run()


def kind_apis() -> Sequence[KindApi]:
    """Import and make what features add to the calls of tasks."""
    return [feature.api() for feature in FEATURES if feature.api is not None]


def with_features(worker: Worker) -> Worker:
    """Return a worker that knows the kinds and rules of features, and whose stores do what features add to them."""
    ends: list[EndHook] = []
    made = replace(worker, hooks=Hooks(ends, JOINER_OF), kinds=KINDS, rules=RULES, prompts=PROMPTS, gate=GATE)
    ends.extend(make()(made) for make in ENDS)
    return made


def duties(invocation: Invocation) -> Sequence[Duty]:
    """Make the duties that features add to a sweep."""
    return [feature.duty()(invocation) for feature in FEATURES if feature.duty is not None]


def _bucket(binding: "R2 | None", meter: Meter) -> object:
    if binding is None:
        return None
    from .features.files.blobs.r2 import R2Bucket  # noqa: PLC0415 - seldom used, so an isolate's start does not import it

    return R2Bucket(binding, meter)


def bound(bindings: Bindings) -> BoundRoutes:
    """Return which bindings the deployment has."""
    return BoundRoutes(
        queue=bindings.queue is not None,
        dead_letter_queue=bindings.dead_letters is not None,
        objects=bindings.processors is not None and bindings.coordinators is not None,
    )


def _provider(settings: Settings, bindings: Bindings, runtime: Runtime) -> Provider:
    match settings.provider:
        case "demo":
            # The demo provider takes a twentieth of the whole import's time, and only trials use it. The modules that
            # an isolate imports at its start serve every request: see docs/decisions/python.md#d0033.
            from .features.demo.demo import DemoProvider  # noqa: PLC0415

            return DemoProvider()
        case "openai":
            assert settings.base_url is not None
            return OpenAIProvider(
                runtime.http, base_url=settings.base_url, api_key=settings.api_key, model=settings.model
            )
        case _:
            seconds, gateway = settings.timeout_seconds, settings.gateway
            return WorkersAIProvider(bindings.ai, model=settings.model, timeout_seconds=seconds, gateway=gateway)
