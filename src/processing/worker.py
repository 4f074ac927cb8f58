"""The task actor's worker, as its hosts see it: it claims a task and works on it for one run (`run`).

The behaviour is the same for every route. A host calls `Worker.run` with a task's key, and does what the outcome says.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from ..core import limits
from ..core.errors import StoreError
from ..core.ids import TaskKey, split_task_key
from ..core.marks import LAST_STEP, Marks
from ..core.meter import Meter
from ..core.news import ModelNews
from ..core.pace import Latency, start_seconds
from ..core.patience import Patience
from ..core.settings import Settings
from ..core.stalls import rests
from ..core.storage import Storage
from ..core.task import Mark, Route
from ..inference.protocol import Provider
from ..store.claims import Claim, Standing, Unclaimed
from ..store.deliveries import DueDelivery
from ..store.tasks import TaskStore
from . import clock
from .allowance import Allowance
from .caller import Caller, LocalCaller
from .deliveries import Deliverer
from .heartbeats import Sightings
from .log import Log
from .outcomes import Ended, Outcome
from .run.claim_checks import Hint, Looks
from .run.gossip import Hearsay
from .run.ledger import Ledger
from .run.run import Run
from .run.storage_guard import Room
from .run.write_pacer import Pace
from .terms import OVERDUE, Terms


class Host(NamedTuple):
    """Where a worker runs, and for how long it may. `name` is set for a host that replaces itself, else ''.

    `caller_for` may name others who make a task's calls, on a way that takes up to `slack_seconds`. Where it gives
    None, the worker makes the calls itself. `stands_in`: it works in place of a host that did not come. `hint` is given
    when somebody tells the host that its task may have ended. `wrote` is called for each write that has landed, and
    for the end of the work; True: the task has ended.
    """

    route: Route
    seconds: float
    name: str = ""
    caller_for: Callable[[Claim], Caller | None] = lambda claim: None
    slack_seconds: float = 0.0
    stands_in: bool = False
    hint: Hint | None = None
    wrote: Callable[[Mark, bool], None] = lambda mark, ended: None


@dataclass(frozen=True, slots=True)
class Worker:
    """Runs tasks with one store and one provider. `chance` gives numbers from 0 to 1, `nonce` fresh names.

    `latency` and `storage` are what the isolate knows of its database, `news` what it knows of its models, `sightings`
    which triggers it has noted, `marks` how far its workers have come. `deliverer` sends webhooks; None: nobody does.
    """

    store: TaskStore
    provider: Provider
    settings: Settings
    meter: Meter
    chance: Callable[[], float]
    nonce: Callable[[], str]
    log: Log
    latency: Latency = field(default_factory=Latency)
    storage: Storage = field(default_factory=Storage)
    sightings: Sightings = field(default_factory=Sightings)
    news: ModelNews = field(default_factory=ModelNews)
    marks: Marks = field(default_factory=Marks)
    deliverer: Deliverer | None = None

    async def run(self, task_key: TaskKey, host: Host) -> Outcome:
        """Work on the task until it ends or the host's allowance does. Raises StoreError, and what is unexpected."""
        asked_at = clock.now()
        window = start_seconds(self.latency.seconds(asked_at))
        allowance = Allowance(host.seconds, self.settings.subrequests, self.settings.statements, self.meter, asked_at)
        room = allowance.room(asked_at, limits.CHUNKS_MOST, 0, 1)
        concurrency = self.settings.concurrency
        # Calls that are recorded together cost less than the room reckons with: more may start.
        chunks = max(room + concurrency, limits.WINDOW_CHUNKS_LEAST)
        announce = min(room, self._width(task_key, asked_at))
        claim = await self._claim(task_key, host, window, announce, chunks)
        if isinstance(claim, Unclaimed):
            self.log("unclaimed", task=task_key, route=host.route, standing=claim.standing, left_ms=claim.left_ms)
            if claim.standing is Standing.OVERDUE:
                await self.store.expire([task_key], OVERDUE, self.settings.retention_ms)
                self.begin_deliveries()
            return claim
        log = self.log.bind(task=task_key, route=host.route, fence=claim.fence)
        log("claimed", attempt=claim.attempts, done=len(claim.outputs), doubted=len(claim.doubted), stalls=claim.stalls)
        outcome = None
        try:
            self._tell(claim, host, claim.step)
            outcome = await self._run(claim, host, allowance, asked_at, window, log).work()
        finally:
            ended = isinstance(outcome, Ended)
            self.marks.left(task_key, claim.fence, ended=ended)
            host.wrote(Mark(claim.fence, LAST_STEP), ended)
        self.begin_deliveries()
        log(
            "run_ended",
            outcome=type(outcome).__name__.lower(),
            status=getattr(outcome, "status", None),
            **self.meter.facts(),
        )
        return outcome

    def _tell(self, claim: Claim, host: Host, step: int) -> None:
        """Let those who wait for the task nearby know of a write that has landed."""
        mark = Mark(claim.fence, step)
        self.marks.wrote(claim.task_key, mark, clock.now() + self.settings.lease_seconds)
        host.wrote(mark, False)

    def begin_deliveries(self, due: Sequence[DueDelivery] = ()) -> None:
        """Begin to send what this invocation has written into the outbox, and what a sweep found, if there is any."""
        if self.deliverer is not None:
            self.deliverer.begin(due)

    async def may_stand_in(self, task_key: TaskKey) -> bool:
        """Whether it may work on the task in place of a host: not where it waits for a place. Raises StoreError."""
        most = self.settings.objects_at_work_most
        return most is None or await self.store.may_stand_in(task_key, most)

    @property
    def has_room(self) -> bool:
        """Whether enough is left of the invocation's allowance for a run: its claim, a call, and its last write."""
        settings, meter = self.settings, self.meter
        left = min(settings.subrequests - meter.subrequests_taken, settings.statements - meter.statements_taken)
        return left >= limits.RUN_LEAST

    @property
    def _model(self) -> str:
        return self.settings.model or self.provider.default_model

    def _width(self, task_key: TaskKey, now: float) -> int:
        """Return how many calls a fresh task announces with its claim.

        A full database has no room for what they give, and of a model that is away one call asks.
        """
        settings = self.settings
        if self.storage.is_tight(settings.storage_bytes_most):
            return 0
        if not settings.patience_seconds:
            return settings.concurrency
        news = self.news.of(split_task_key(task_key)[0], self._model)
        return 0 if news.is_away(now) else news.width(settings.concurrency, now)

    async def _claim(
        self, task_key: TaskKey, host: Host, window: float, announce: int, chunks: int
    ) -> Claim | Unclaimed:
        asked_at = clock.now()
        seen = self.sightings.wanted(host.route, asked_at)
        try:
            claim = await self.store.claim(
                task_key,
                holder=self.nonce(),
                host=host.name,
                route=host.route,
                lease_ms=self.settings.claim_ms(host.slack_seconds, window),
                start_ms=round(window * 1000),
                announce=announce,
                rests=rests(self.settings.max_attempts),
                stands_in=host.stands_in,
                seen=seen,
                chunks=chunks,
                model=self._model,
            )
        except StoreError:
            self.latency.note_failure(clock.now() - asked_at, clock.now())
            raise
        self.latency.note(clock.now() - asked_at, clock.now())
        if seen is not None:
            self.sightings.noted(seen, asked_at)
        return claim

    def _run(self, claim: Claim, host: Host, allowance: Allowance, asked_at: float, window: float, log: Log) -> Run:
        caller = host.caller_for(claim) or LocalCaller(self.provider, self.settings.concurrency)
        assert caller.slack_seconds <= host.slack_seconds
        lease_seconds, laned = self.settings.lease_seconds, caller.slack_seconds > 0
        pace = Pace(claim, self.latency, lease_seconds=lease_seconds, window=window, laned=laned, log=log)
        model = claim.options.model or self._model
        now = clock.now()
        news = self.news.of(split_task_key(claim.task_key)[0], model)
        hearsay = Hearsay(claim, news, self.store, allowance, self.latency, model=model, granted_at=now, log=log)
        patience = Patience(
            news,
            self.settings.patience_seconds,
            now=now,
            away_for=None if claim.away_ms is None else claim.away_ms / 1000,
            waits=claim.away_waits,
            failed_for=0.0 if claim.last_error is None else (claim.claimed_ms - claim.last_error.at) / 1000,
        )
        return Run(
            claim,
            caller,
            Terms(claim, asked_at, now),
            allowance,
            pace,
            Room(self.storage, self.settings.storage_bytes_most, log),
            Ledger(claim, self.settings.max_attempts, patience, now),
            Looks(claim, self.store, self.settings, allowance, self.latency, host.hint, log),
            hearsay,
            store=self.store,
            settings=self.settings,
            model=model,
            slack_seconds=host.slack_seconds,
            route=host.route,
            announced_at=asked_at,
            chance=self.chance,
            wrote=partial(self._tell, claim, host),
            log=log,
        )
