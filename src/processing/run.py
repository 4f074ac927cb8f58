"""One claim's work: infer, checkpoint, reduce, finish.

A run keeps as many calls out as its caller takes, and writes to D1 in groups: one transaction records the calls that
ended and announces those about to start. Anything may kill the worker between two awaits. The next claim then finds
every finished output that was recorded. It finds the calls that were out as announced ones, and they are in doubt.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial

from ..core import limits
from ..core.errors import CallNotStarted, ModelError, StoreUnavailable
from ..core.settings import Settings
from ..core.states import Status
from ..core.task import Reduce
from ..inference.protocol import ModelCall
from ..store.claims import CallKey, Claim, Continue, Ending, Fail, Finish, Release, Step
from ..store.tasks import TaskStore
from . import clock
from .allowance import Allowance
from .caller import Caller
from .calls import Calls, Finished
from .ledger import Ledger
from .log import Log
from .outcomes import ClaimLost, Ended, Lost, Outcome, Released, crashed
from .plan import Plan
from .terms import OVERDUE, Terms, exhausted


class Run:
    """One claim's work.

    `model` is for a claim that names none. `claim_ms` is how long the claim lasts without renewal. `sweep_soon` says
    whether only the sweep brings a released task back. `announced_at` is the earliest time at which the calls that the
    claim announces were announced. `chance` gives numbers from 0 to 1.
    """

    def __init__(
        self,
        claim: Claim,
        caller: Caller,
        terms: Terms,
        allowance: Allowance,
        *,
        store: TaskStore,
        settings: Settings,
        model: str,
        claim_ms: int,
        sweep_soon: bool,
        announced_at: float,
        chance: Callable[[], float],
        log: Log,
    ) -> None:
        self._claim = claim
        self._caller = caller
        self._terms = terms
        self._allowance = allowance
        self._store = store
        self._settings = settings
        self._model = claim.options.model or model
        self._claim_ms = claim_ms
        self._sweep_soon = sweep_soon
        self._announced_at = announced_at
        self._chance = chance
        self._log = log
        self._plan = Plan(claim)
        self._ledger = Ledger(claim, settings.max_attempts)
        self._texts: dict[CallKey, str] = {}  # outputs of this run, where a merge will want them
        self._calls = Calls(caller, self._message, settings.timeout_seconds)

    async def work(self) -> Outcome:
        """Work, and leave the claim in order whatever ends the work."""
        try:
            return await self._until_end()
        except ClaimLost:
            self._log("claim_lost", in_flight=self._ledger.in_flight)
            status = await self._settle()
            return Lost() if status is None else Ended(status)
        except StoreUnavailable:
            await self._calls.drop()
            raise  # nothing can be written; the lease runs out and the sweep brings the task back
        except Exception:
            await self._calls.drop()
            self._ledger.stalled()
            with suppress(ClaimLost):
                await self._step((), Release(0, self._settings.lease_ms))
            raise

    async def _until_end(self) -> Outcome:
        if self._claim.stalls >= self._settings.max_attempts:
            failure = self._ledger.failure or crashed(self._claim.stalls)
            return await self._end(Fail(self._settings.retention_ms, failure))
        self._ledger.add(self._plan.keys())
        announced = self._ledger.startable(clock.now(), len(self._claim.announced))
        assert set(announced) == self._claim.announced
        self._start(announced)
        await self._advance()
        while True:
            now = clock.now()
            if now >= self._terms.deadline_latest:
                return await self._overdue()
            starting = self._starting(now)
            ending = None if starting or self._ledger.in_flight else self._ending(now)
            if ending is not None:
                return await self._end(ending)
            if starting or self._ledger.unsaved:
                await self._step(starting, Continue(self._claim_ms))
            self._start(starting)
            await self._wait()
            await self._advance()

    async def _overdue(self) -> Outcome:
        """End the task at its deadline. The calls in flight are lost: they were sent, and nobody waits for them."""
        self._log("overdue", in_flight=self._ledger.in_flight)
        status = await self._settle()
        if status is None:  # the database's clock has not come that far: whoever is next looks again
            return await self._end(Release(0, self._settings.lease_ms))
        return Ended(status)

    async def _settle(self) -> Status | None:
        """Drop the calls in flight and settle the bill of a task that others have ended, or its deadline."""
        await self._calls.drop()
        self._ledger.abandon(sent=not self._caller.slack_seconds)
        progress = self._ledger.progress((), self._plan.minimum_calls)
        return await self._store.settle(self._claim, progress, OVERDUE, self._settings.retention_ms)

    def _starting(self, now: float) -> list[CallKey]:
        if self._terms.forbids_start(now):
            return []
        room = self._allowance.room(now, self._calls.free, self._calls.groups_out, self._caller.group_size)
        room = int(min(room, self._terms.calls_left(self._ledger.sent)))
        return self._ledger.startable(now, room) if room > 0 else []

    def _ending(self, now: float) -> Ending | None:
        """Say how the claim ends now that nothing is in flight, or None to sit out a short wait."""
        retention_ms = self._settings.retention_ms
        if self._ledger.failure is not None:
            return Fail(retention_ms, self._ledger.failure)
        next_at = self._ledger.next_at()
        if next_at is None:
            return Finish(retention_ms, self._plan.top)
        if self._claim.options.max_calls is not None and not self._terms.calls_left(self._ledger.sent):
            return Fail(retention_ms, exhausted(self._claim.options.max_calls))
        if self._terms.forbids_start(now):
            return None
        wait = max(0.0, next_at - now)
        # With every lane silent nothing could start after the wait: the next run has fresh ones.
        if (
            wait > 0
            and self._calls.free
            and self._allowance.allows_wait(wait, now)
            and wait < self._settings.lease_seconds / 2
        ):
            return None
        delay_ms = round(wait * 1000)
        return Release(delay_ms, delay_ms + (0 if self._sweep_soon else self._settings.lease_ms))

    async def _end(self, ending: Ending) -> Outcome:
        await self._step((), ending)
        return Released(ending.delay_ms / 1000) if isinstance(ending, Release) else Ended(ending.status)

    async def _step(self, starting: Sequence[CallKey], step: Step) -> None:
        """Write, and insist while the lease lasts: paid outputs are worth waiting for a database."""
        progress = self._ledger.progress(starting, self._plan.minimum_calls)

        def write() -> Awaitable[bool]:
            self._announced_at = clock.now()
            return self._store.step(self._claim, progress, step)

        if not await self._insist(write, clock.now()):
            raise ClaimLost
        self._ledger.saved()

    async def _insist[T](self, ask: Callable[[], Awaitable[T]], leased_at: float) -> T:
        """Ask the database until it answers, or until a lease from that time on is over. Raises StoreUnavailable."""
        pause = limits.STORE_RESEND_SECONDS
        while True:
            try:
                return await ask()
            except StoreUnavailable as error:
                pause = min(2 * pause, limits.INLINE_WAIT_SECONDS_MOST)
                if not error.passing or clock.now() + pause >= leased_at + self._settings.lease_seconds:
                    raise
                self._log("store_unavailable", retry_seconds=pause)
                await asyncio.sleep(pause)

    async def _advance(self) -> None:
        """Plan the next merge level as soon as the one below it is whole."""
        while not self._plan.complete and self._ledger.all_done(self._plan.keys()):
            self._plan.add_level(await self._level_outputs())
            self._ledger.add(self._plan.keys())

    async def _level_outputs(self) -> list[str]:
        """Give the top level's outputs. Before those of earlier runs are read, what this one has paid for is saved."""
        keys = self._plan.keys()
        if any(key not in self._texts for key in keys):
            if self._ledger.unsaved:
                await self._step((), Continue(self._settings.lease_ms))
            read = partial(self._store.level_outputs, self._claim.task_key, self._plan.top)
            stored = await self._insist(read, self._announced_at)
            self._texts.update({CallKey(self._plan.top, position): text for position, text in stored.items()})
            if any(key not in self._texts for key in keys):
                raise ClaimLost  # outputs do not vanish but with their task
        return [self._texts[key] for key in keys]

    # --- calls -------------------------------------------------------------------------------------------

    def _start(self, keys: list[CallKey]) -> None:
        self._ledger.start(keys)
        self._allowance.spend(self._calls.start(keys, self._terms.starts_by(self._announced_at)))

    def _message(self, key: CallKey) -> ModelCall:
        return ModelCall(*self._plan.message(key), self._model)

    async def _wait(self) -> None:
        """Wait for calls to end, for one that may start, or for the deadline."""
        now = clock.now()
        deadline_latest, wake_at = self._terms.deadline_latest, self._ledger.next_at()
        out = self._ledger.in_flight > 0
        if wake_at is None or self._terms.forbids_start(now) or (out and (self._calls.free == 0 or wake_at <= now)):
            wake_at = deadline_latest
        for finished in await self._calls.wait(min(wake_at, deadline_latest)):
            self._book(finished)

    def _book(self, finished: Finished) -> None:
        key, result, seconds = finished
        facts = {"level": key.level, "chunk": key.position, "ms": round(seconds * 1000)}
        if isinstance(result, CallNotStarted):
            self._ledger.not_started(key)
            self._log("call_not_started", **facts)
            return
        if isinstance(result, ModelError):
            self._ledger.failed(key, result, clock.now(), self._chance())
            self._log("call_failed", **facts, code=result.code, error=str(result))
            return
        self._ledger.succeeded(key, result)
        if self._claim.options.reduce is Reduce.MERGE:
            self._texts[key] = result.output
        self._log("call_done", **facts, input_tokens=result.input_tokens, output_tokens=result.output_tokens)
