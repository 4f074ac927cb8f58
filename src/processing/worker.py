"""The behaviour of the task actor, the same for every route: claim, infer, checkpoint, reduce, finish.

A host calls `Worker.run` with a task's id. It takes the claim, keeps up to `AI_CONCURRENCY` calls in flight, and
writes to D1 in groups: one transaction records the calls that ended and announces those about to start. Whatever
kills the worker between two awaits, the next claim finds every finished output, and the calls that were out
as announced ones, in doubt.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from ..core import limits
from ..core.errors import ModelError, StoreUnavailable
from ..core.meter import Meter
from ..core.settings import Settings
from ..core.states import Status
from ..core.task import Reduce, Route
from ..inference.protocol import ModelCall, ModelReply, Provider
from ..store.claims import CallKey, Claim, Continue, Ending, Fail, Finish, Release, Step, Unclaimed
from ..store.tasks import TaskStore
from .budget import Budget
from .crew import Crew, Roster
from .events import Log
from .ledger import Ledger
from .outcomes import ClaimLost, Ended, Lost, Outcome, Released, crashed
from .plan import Plan


@dataclass(frozen=True, slots=True)
class Host:
    """Where a worker runs, and for how long it may. `name` is set for a host that replaces itself, else ''.

    `staff` may give a task of so many chunks a crew; without one, the worker makes the calls itself.
    """

    route: Route
    seconds: float
    name: str = ""
    staff: Callable[[str, int], Crew | None] = lambda task_id, chunks: None


@dataclass(frozen=True, slots=True)
class Worker:
    """Runs tasks with one store and one provider. `chance` gives numbers from 0 to 1, `nonce` fresh names."""

    store: TaskStore
    provider: Provider
    settings: Settings
    meter: Meter
    chance: Callable[[], float]
    nonce: Callable[[], str]
    log: Log

    async def run(self, task_id: str, host: Host) -> Outcome:
        """Work on the task until it ends or the host's allowance does. Raises StoreError, and what is unexpected."""
        budget = Budget(host.seconds, self.settings.subrequests, self.settings.statements, self.meter, _now())
        claim = await self.store.claim(
            task_id,
            holder=self.nonce(),
            host=host.name,
            route=host.route,
            lease_ms=self.settings.lease_ms,
            announce=budget.room(_now(), self.settings.concurrency, 0, 1),
        )
        if isinstance(claim, Unclaimed):
            self.log("unclaimed", task=task_id, route=host.route, standing=claim.standing, left_ms=claim.left_ms)
            return claim
        log = self.log.bind(task=task_id, route=host.route, fence=claim.fence)
        log("claimed", attempt=claim.attempts, done=len(claim.outputs), doubted=len(claim.doubted), stalls=claim.stalls)
        crew = host.staff(task_id, len(claim.cuts)) or Crew(self.provider, self.settings.concurrency)
        run = _Run(self, claim, crew, budget, log, sweep_soon=host.route is Route.DIRECT)
        outcome = await run.guarded()
        log(
            "run_ended",
            outcome=type(outcome).__name__.lower(),
            status=getattr(outcome, "status", None),
            **self.meter.facts(),
        )
        return outcome


class _Finished(NamedTuple):
    """A call that came back, with what it gave."""

    key: CallKey
    result: ModelReply | ModelError
    seconds: float


class _Run:
    """One claim's work."""

    def __init__(self, worker: Worker, claim: Claim, crew: Crew, budget: Budget, log: Log, *, sweep_soon: bool) -> None:
        self._worker = worker
        self._settings = worker.settings
        self._claim = claim
        self._crew = crew
        self._budget = budget
        self._log = log
        self._sweep_soon = sweep_soon
        self._roster = Roster(crew)
        self._plan = Plan(claim)
        self._ledger = Ledger(claim, worker.settings.max_attempts)
        self._texts: dict[CallKey, str] = {}  # outputs of this run, where a merge will want them
        self._out: dict[asyncio.Task[_Finished], CallKey] = {}

    async def guarded(self) -> Outcome:
        """Work, and leave the claim in order whatever ends the work."""
        try:
            return await self._work()
        except ClaimLost:
            self._log("claim_lost", in_flight=self._ledger.in_flight)
            self._drop_calls()
            self._ledger.abandon(sent=not self._crew.slack_seconds)
            await self._worker.store.settle_cancelled(self._claim, self._ledger.progress((), self._plan.minimum_calls))
            return Lost()
        except StoreUnavailable:
            self._drop_calls()
            raise  # nothing can be written; the lease runs out and the sweep brings the task back
        except Exception:
            self._drop_calls()
            self._ledger.stalled()
            with suppress(ClaimLost):
                await self._step((), Release(0, self._settings.lease_ms))
            raise

    async def _work(self) -> Outcome:
        if self._claim.stalls >= self._settings.max_attempts:
            return await self._end(Fail(self._settings.retention_ms, crashed(self._claim.stalls)))
        self._ledger.add(self._plan.keys())
        announced = self._ledger.startable(_now(), len(self._claim.announced))
        assert set(announced) == self._claim.announced
        self._start(announced)
        await self._advance()
        while True:
            now = _now()
            starting = self._starting(now)
            ending = None if starting or self._ledger.in_flight else self._ending(now)
            if ending is not None:
                return await self._end(ending)
            if starting or self._ledger.unsaved:
                await self._step(starting, Continue(self._settings.lease_ms))
            self._start(starting)
            await self._wait()
            await self._advance()

    def _starting(self, now: float) -> list[CallKey]:
        room = self._budget.room(now, self._roster.free, self._roster.groups, self._crew.group)
        return self._ledger.startable(now, room) if room > 0 else []

    def _ending(self, now: float) -> Ending | None:
        """Say how the claim ends now that nothing is in flight, or None to sit out a short wait."""
        retention_ms = self._settings.retention_ms
        if self._ledger.failure is not None:
            return Fail(retention_ms, self._ledger.failure)
        next_at = self._ledger.next_at()
        if next_at is None:
            return Finish(retention_ms, self._plan.top)
        wait = max(0.0, next_at - now)
        # With every lane silent nothing could start after the wait: the next run has fresh ones.
        if (
            wait > 0
            and self._roster.free
            and self._budget.allows_wait(wait, now)
            and wait < self._settings.lease_seconds / 2
        ):
            return None
        delay_ms = round(wait * 1000)
        return Release(delay_ms, delay_ms + (0 if self._sweep_soon else self._settings.lease_ms))

    async def _end(self, ending: Ending) -> Outcome:
        await self._step((), ending)
        match ending:
            case Release(delay_ms, _):
                return Released(delay_ms / 1000)
            case Finish():
                return Ended(Status.COMPLETED)
            case Fail():
                return Ended(Status.FAILED)

    async def _step(self, starting: tuple[CallKey, ...] | list[CallKey], step: Step) -> None:
        """Write, and insist while the lease lasts: paid outputs are worth waiting for a database."""
        progress = self._ledger.progress(starting, self._plan.minimum_calls)
        deadline = _now() + self._settings.lease_seconds
        pause = limits.STORE_RESEND_SECONDS
        while True:
            try:
                kept = await self._worker.store.step(self._claim, progress, step)
                break
            except StoreUnavailable as error:
                pause = min(2 * pause, limits.INLINE_WAIT_SECONDS_MOST)
                if not error.passing or _now() + pause >= deadline:
                    raise
                self._log("store_unavailable", retry_seconds=pause)
                await asyncio.sleep(pause)
        if not kept:
            raise ClaimLost
        self._ledger.saved()

    async def _advance(self) -> None:
        """Plan the next merge level as soon as the one below it is whole."""
        while not self._plan.complete and self._ledger.all_done(self._plan.keys()):
            self._plan.add_level(await self._level_outputs())
            self._ledger.add(self._plan.keys())

    async def _level_outputs(self) -> list[str]:
        keys = self._plan.keys()
        if any(key not in self._texts for key in keys):
            stored = await self._worker.store.level_outputs(self._claim.task_id, self._plan.top)
            # Outputs of this run may not be stored yet, but what is stored is what was accepted.
            self._texts.update({CallKey(self._plan.top, position): text for position, text in stored.items()})
            if any(key not in self._texts for key in keys):
                raise ClaimLost  # outputs do not vanish but with their task
        return [self._texts[key] for key in keys]

    # --- calls -------------------------------------------------------------------------------------------

    def _start(self, keys: list[CallKey]) -> None:
        self._ledger.start(keys)
        self._worker.meter.spend(self._roster.start(keys))
        for key in keys:
            self._out[asyncio.create_task(self._call(key))] = key

    async def _call(self, key: CallKey) -> _Finished:
        started = _now()
        system, user = self._plan.message(key)
        model = self._claim.model or self._settings.model or self._crew.provider.default_model
        result = await self._crew.call(ModelCall(system, user, model), self._settings.timeout_seconds)
        return _Finished(key, result, _now() - started)

    async def _wait(self) -> None:
        """Wait for calls to end, or for one that may start; let calls that end together be written together."""
        now = _now()
        wake_at = self._ledger.next_at()
        full = self._roster.free == 0
        timeout = None if wake_at is None or full or wake_at <= now else wake_at - now
        if not self._out:
            assert wake_at is not None  # otherwise the claim would have ended
            await asyncio.sleep(wake_at - now)
            return
        done, pending = await asyncio.wait(self._out, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if done and pending:
            linger = limits.LINGER_FRACTION * max(task.result().seconds for task in done)
            more, _ = await asyncio.wait(pending, timeout=min(linger, limits.LINGER_SECONDS_MOST))
            done |= more
        # In the order of the calls, so that what is written does not hang on a set's order.
        for task in sorted(done, key=self._out.__getitem__):
            self._book(task.result())
            del self._out[task]

    def _book(self, finished: _Finished) -> None:
        key, result, seconds = finished
        self._roster.end(key, result)
        facts = {"level": key.level, "chunk": key.position, "ms": round(seconds * 1000)}
        if isinstance(result, ModelError):
            self._ledger.failed(key, result, _now(), self._worker.chance())
            self._log("call_failed", **facts, code=result.code, error=str(result))
            return
        self._ledger.succeeded(key, result)
        if self._claim.reduce is Reduce.MERGE:
            self._texts[key] = result.output
        self._log("call_done", **facts, input_tokens=result.input_tokens, output_tokens=result.output_tokens)

    def _drop_calls(self) -> None:
        for task in self._out:
            task.cancel()
        self._out.clear()


def _now() -> float:
    """Return the event loop's steady clock, in seconds: on Workers it stands still between awaits."""
    return asyncio.get_running_loop().time()
